//! Any answer to a produce request leaves the partition moving, with one outcome for each record.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::simulated::{PATIENCE, SimulatedCluster};
use crate::consume::consumer::Start;
use crate::exactly_once::error::WorkerError;
use crate::exactly_once::refused::Refused;
use crate::exactly_once::worker::Worker;
use crate::headers::Headers;
use crate::record::InputRecord;

const INPUT: &str = "input";
const OUTPUT: &str = "output";

/// The number of answers that are tried at the same time; most of the time of each is waiting.
const THREADS: usize = 160;

/// The number of input records.
const RECORDS: usize = 3;

/// The outcome of a record: itself or a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Copy(i64),
    DeadLetter(i64),
}

/// Copies each record, and shares its committed outcomes.
#[derive(Default)]
struct Copies {
    open: Vec<Outcome>,
    committed: Arc<Mutex<Vec<Outcome>>>,
}

impl Copies {
    fn send(
        &mut self,
        value: Option<&[u8]>,
        outcome: Outcome,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        self.open.push(outcome);
        outcomes.send(OutgoingRecord {
            topic: OUTPUT,
            partition: Some(0),
            timestamp: None,
            key: None,
            value,
            headers: Headers::default(),
        })
    }
}

impl Processor for Copies {
    fn process(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        self.send(record.value, Outcome::Copy(record.offset), outcomes)
    }

    fn dead_letter(
        &mut self,
        record: &InputRecord<'_>,
        refusal: Refusal<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        let Refused { topic, error, .. } = refusal.refused;
        assert_eq!(topic, OUTPUT);
        assert!(!error.is_empty());
        self.send(None, Outcome::DeadLetter(record.offset), outcomes)
    }

    fn committed(&mut self, _: Duration) {
        self.committed.lock().append(&mut self.open);
    }

    fn aborted(&mut self, _: &Fault) {
        self.open.clear();
    }
}

/// How a worker continues after the answers to its produce requests.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It has committed these outcomes.
    Committed(Vec<Outcome>),
    /// It stopped, because it lacks a permission.
    NotAuthorised,
}

/// Processes three records while the next produce requests get the same answer this many times.
fn work(answer: Answer, times: usize) -> End {
    let cluster = SimulatedCluster::new(1, &[INPUT, OUTPUT]);
    let copies = Copies::default();
    let committed = Arc::clone(&copies.committed);
    let start = Start {
        topic: INPUT.to_owned(),
        group_id: "group".to_owned(),
        partitions: Some(vec![0]),
        instance: None,
    };
    let policy = CommitPolicy {
        commit_interval: Duration::from_millis(100),
        linger: Duration::ZERO,
        max_records: 50,
        idle_timeout: None,
    };
    let mut worker = Worker::start(&cluster.settings, "test", start, "id", policy, copies).unwrap();
    cluster.append(INPUT, RECORDS);
    cluster
        .brokers
        .request_errors(Api::Produce, &vec![answer; times]);
    let deadline = Instant::now() + PATIENCE * 3;
    while committed.lock().len() < RECORDS {
        if let Err(error) = worker.step(&CancellationToken::new(), &mut |_| ()) {
            assert!(
                matches!(error, WorkerError::NotAuthorised { .. }),
                "{answer:?}: {error:?}"
            );
            return End::NotAuthorised;
        }
        let found = committed.lock();
        assert!(Instant::now() < deadline, "{answer:?}: {found:?}");
    }
    End::Committed(committed.lock().clone())
}

/// Every error that a broker may answer.
fn answers() -> impl Iterator<Item = Answer> {
    (-1..1_000)
        .filter_map(|code| Answer::try_from(code).ok())
        .filter(|&answer| answer != Answer::RD_KAFKA_RESP_ERR_NO_ERROR)
}

/// Checks that each record has one outcome after an answer, and that only a verdict on a record leads to a dead letter.
fn check(answer: Answer) {
    let cause = Cause::of(answer.into());
    // A verdict is repeated until the record is dead-lettered, an unexplained one more often.
    let times = match cause {
        Some(Cause::Unexplained) => 9,
        Some(_) => 4,
        None => 2,
    };
    let found = match work(answer, times) {
        End::Committed(found) => found,
        End::NotAuthorised => {
            let text = format!("{answer:?}");
            assert!(text.contains("AUTHORIZATION_FAILED"), "{text}");
            return;
        }
    };
    let offsets: Vec<i64> = found
        .iter()
        .map(|&(Outcome::Copy(offset) | Outcome::DeadLetter(offset))| offset)
        .collect();
    assert_eq!(offsets, [0, 1, 2], "{answer:?}");
    let is_dead_letter = |outcome: &Outcome| matches!(outcome, Outcome::DeadLetter(_));
    let has_letters = found.iter().any(is_dead_letter);
    assert_eq!(has_letters, cause.is_some(), "{answer:?}: {found:?}");
}

#[test]
fn any_answer_to_a_produce_request_leaves_one_outcome_for_each_record() {
    assert!(answers().count() > 100);
    let answers = Mutex::new(answers());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let next = answers.lock().next();
                    let Some(answer) = next else { break };
                    check(answer);
                }
            });
        }
    });
}
