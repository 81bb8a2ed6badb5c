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
use crate::exactly_once::refused::Refused;
use crate::exactly_once::worker::Worker;
use crate::headers::Headers;
use crate::record::InputRecord;

const INPUT: &str = "input";
const OUTPUT: &str = "output";

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

/// Returns the outcomes of three records if the next produce requests get the same answer this many times.
fn outcomes(answer: Answer, times: usize) -> Vec<Outcome> {
    let cluster = SimulatedCluster::new(1, &[INPUT, OUTPUT]);
    let copies = Copies::default();
    let committed = Arc::clone(&copies.committed);
    let start = Start {
        topic: INPUT.to_owned(),
        group_id: "group".to_owned(),
        partitions: Some(vec![0]),
    };
    let policy = CommitPolicy {
        commit_interval: Duration::from_millis(100),
        max_records: 50,
        idle_timeout: None,
    };
    let mut worker = Worker::start(&cluster.settings, "test", start, "id", policy, copies).unwrap();
    cluster.append(INPUT, RECORDS);
    cluster
        .brokers
        .request_errors(Api::Produce, &vec![answer; times]);
    let deadline = Instant::now() + PATIENCE * 2;
    while committed.lock().len() < RECORDS {
        worker.step(&CancellationToken::new(), &mut |_| ()).unwrap();
        let found = committed.lock();
        assert!(Instant::now() < deadline, "{answer:?}: {found:?}");
    }
    committed.lock().clone()
}

#[test]
fn any_answer_to_a_produce_request_leaves_one_outcome_for_each_record() {
    use Answer::*;
    let verdicts = [
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
        RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
        RD_KAFKA_RESP_ERR_INVALID_RECORD,
        RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
    ];
    let others = [
        RD_KAFKA_RESP_ERR_UNKNOWN,
        RD_KAFKA_RESP_ERR_INVALID_REQUEST,
        RD_KAFKA_RESP_ERR_INVALID_MSG,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE,
        RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING,
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    ];
    let refused = verdicts.into_iter().map(|answer| (answer, 4));
    let failed = others.into_iter().map(|answer| (answer, 2));
    thread::scope(|scope| {
        for (answer, times) in refused.chain(failed) {
            scope.spawn(move || {
                let found = outcomes(answer, times);
                let offsets: Vec<i64> = found
                    .iter()
                    .map(|&(Outcome::Copy(offset) | Outcome::DeadLetter(offset))| offset)
                    .collect();
                assert_eq!(offsets, [0, 1, 2], "{answer:?}");
                let is_dead_letter = |outcome: &Outcome| matches!(outcome, Outcome::DeadLetter(_));
                let has_letters = found.iter().any(is_dead_letter);
                let is_verdict = verdicts.contains(&answer);
                assert_eq!(has_letters, is_verdict, "{answer:?}: {found:?}");
            });
        }
    });
}
