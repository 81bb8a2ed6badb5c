//! Services with little to do: they answer what arrives at once, however many partitions they watch.

use std::time::{Duration, Instant};

use iris_kafka::{Headers, Positions, Read, TopicReader};
use iris_testkit::ledger::Row;
use iris_testkit::{Fixture, TIMEOUT};

/// So many that requests for one partition after the other would take long.
const PARTITIONS: i32 = 60;

/// How long nothing is sent between two records. In that time, an idle worker checks its partitions.
const PAUSE: Duration = Duration::from_millis(3_300);

/// How long a prediction may take, and the end of a worker, also on a busy machine.
const SOON: Duration = Duration::from_secs(3);

#[test]
fn an_idle_worker_of_many_partitions_classifies_a_record_at_once_and_ends_at_once() {
    let mut fixture = Fixture::new().unwrap();
    fixture.topics.partitions = PARTITIONS;
    fixture.set("[classifier]\nworkers = 1\n").unwrap();
    fixture.create_topics().unwrap();
    let (input, predictions) = (&fixture.topics.input, &fixture.topics.predictions);
    let start: Positions = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut reader = TopicReader::resume(&fixture.kafka, predictions, &start, None).unwrap();
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    let rows = Row::iris().unwrap();
    for (row, partition) in rows.iter().zip([0, 59, 30, 7, 44]) {
        let value = [Some(row.value.as_slice())];
        fixture
            .produce(input, partition, None, &value, &Headers::default())
            .unwrap();
        let sent = Instant::now();
        let deadline = sent + TIMEOUT;
        while !matches!(
            reader.read(Duration::from_millis(50)).unwrap(),
            Some(Read::Record(_))
        ) {
            assert!(Instant::now() < deadline, "no prediction");
        }
        // The first record waits until the worker has its partitions.
        assert!(
            partition == 0 || sent.elapsed() < SOON,
            "{:?}",
            sent.elapsed()
        );
        while sent.elapsed() < PAUSE {
            reader.read(Duration::from_millis(50)).unwrap();
        }
    }
    assert!(classifier.terminate(SOON).unwrap().success());
}
