use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use super::*;
use crate::client::simulated::SimulatedCluster;
use crate::headers::Headers;
use crate::offsets::PartitionOffset;
use crate::record::OutgoingRecord;

const TOPIC: &str = "predictions";

/// A producer and a member of a group, on a simulated cluster whose answers the test sets.
struct Mock {
    cluster: SimulatedCluster,
    producer: TransactionalProducer,
    consumer: BaseConsumer,
}

impl Mock {
    fn new() -> Self {
        Self::with_brokers(1)
    }

    fn with_brokers(brokers: i32) -> Self {
        let cluster = SimulatedCluster::new(brokers, &[TOPIC, "input"]);
        let settings = &cluster.settings;
        let mut producer = TransactionalProducer::new(settings, "test", "id").unwrap();
        producer.call_timeout = Duration::from_secs(2);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &settings.bootstrap_servers)
            .set("group.id", "group")
            .create()
            .unwrap();
        Self {
            cluster,
            producer,
            consumer,
        }
    }

    fn answer(&self, api: Api, answers: &[Answer]) {
        self.cluster.brokers.request_errors(api, answers);
    }

    fn prepare(&mut self) -> Result<bool, Fault> {
        self.producer
            .prepare(&CancellationToken::new(), &mut |_| ())
    }

    /// Commits a transaction of one record and one offset.
    fn transact(&mut self) -> Result<(), Fault> {
        self.producer.begin()?;
        self.producer.send(OutgoingRecord {
            topic: TOPIC,
            partition: Some(0),
            timestamp: None,
            key: None,
            value: Some(b"a prediction"),
            headers: Headers::default(),
        })?;
        self.producer.drain_with(Progress {
            topic: "input",
            positions: &[(0, 1)].into(),
            topic_id: None,
            group: self.consumer.group_metadata().unwrap(),
        })?;
        self.producer.commit()
    }

    /// Settles the topic and the offsets of the group.
    fn settle(&mut self) -> Result<bool, Fault> {
        let progress = Progress {
            topic: "input",
            positions: &[(0, 0)].into(),
            topic_id: None,
            group: self.consumer.group_metadata().unwrap(),
        };
        self.producer.settle(&[TOPIC], Some(progress))
    }

    /// Returns the fault of a transaction whose requests of one kind get these answers.
    fn fault(&mut self, api: Api, answers: &[Answer]) -> Fault {
        assert_eq!(self.prepare(), Ok(true));
        self.answer(api, answers);
        self.transact().unwrap_err()
    }

    /// Aborts as the fault requires; then the old producer or a new one commits a transaction.
    fn recovers(&mut self, fault: &Fault, keeps_producer: bool) {
        for api in [Api::Produce, Api::TxnOffsetCommit, Api::EndTxn] {
            self.cluster.brokers.clear_request_errors(api);
        }
        self.producer.abort(fault);
        let is_kept = matches!(self.producer.state, ProducerState::Ready(_));
        assert_eq!(is_kept, keeps_producer, "{fault}");
        assert_eq!(self.prepare(), Ok(true));
        assert_eq!(self.transact(), Ok(()));
    }
}

#[test]
fn a_producer_commits_one_transaction_after_another() {
    let mut mock = Mock::new();
    assert_eq!(mock.prepare(), Ok(true));
    for _ in 0..3 {
        assert_eq!(mock.transact(), Ok(()));
        assert!(matches!(mock.producer.state, ProducerState::Ready(_)));
    }
}

#[test]
fn temporary_errors_are_retried() {
    use Answer::*;
    let mut mock = Mock::new();
    mock.answer(
        Api::InitProducerId,
        &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE],
    );
    assert_eq!(mock.prepare(), Ok(true));
    mock.answer(
        Api::AddPartitionsToTxn,
        &[RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS],
    );
    mock.answer(Api::Produce, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
    mock.answer(Api::TxnOffsetCommit, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
    mock.answer(
        Api::EndTxn,
        &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
    );
    assert_eq!(mock.transact(), Ok(()));
}

#[test]
fn an_abortable_error_aborts_and_keeps_the_producer() {
    use Answer::*;
    let cases = [
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
    ];
    for (api, answer) in cases {
        let mut mock = Mock::new();
        let fault = mock.fault(api, &[answer]);
        assert!(
            matches!(fault, Fault::Abortable(_)),
            "{answer:?}: {fault:?}"
        );
        mock.recovers(&fault, true);
    }
}

#[test]
fn a_refused_record_aborts_and_the_producer_stays_usable() {
    let mut mock = Mock::new();
    let refusal = [Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE];
    let fault = mock.fault(Api::Produce, &refusal);
    assert!(matches!(fault, Fault::Abortable(_)), "{fault:?}");
    let refused: Vec<PartitionOffset> = mock.producer.take_refused().into_keys().collect();
    assert_eq!(refused, [PartitionOffset::new(0, 0)]);
    mock.producer.abort(&fault);
    // librdkafka notices the gap in its sequence numbers in the next transaction, and fixes it by its abort.
    if let Err(fault) = mock.transact() {
        mock.recovers(&fault, true);
    }
}

#[test]
fn an_abort_that_fails_replaces_the_producer() {
    use Answer::*;
    let mut mock = Mock::new();
    let fault = mock.fault(
        Api::TxnOffsetCommit,
        &[RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION],
    );
    mock.answer(Api::EndTxn, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
    mock.producer.abort(&fault);
    assert!(matches!(mock.producer.state, ProducerState::Absent));
    assert_eq!(mock.prepare(), Ok(true));
    assert_eq!(mock.transact(), Ok(()));
}

#[test]
fn a_fatal_error_replaces_the_producer() {
    use Answer::*;
    let cases = [
        (Api::EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE),
        (
            Api::TxnOffsetCommit,
            RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        ),
        (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
    ];
    for (api, answer) in cases {
        let mut mock = Mock::new();
        let fault = mock.fault(api, &[answer]);
        assert!(matches!(fault, Fault::Lost(_)), "{answer:?}: {fault:?}");
        mock.recovers(&fault, false);
    }
}

#[test]
fn a_commit_that_is_not_answered_in_time_replaces_the_producer() {
    let mut mock = Mock::new();
    let never = [Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 100_000];
    let fault = mock.fault(Api::EndTxn, &never);
    let text = "commit_transaction: the brokers did not answer in time";
    assert_eq!(fault, Fault::Lost(text.to_owned()));
    mock.recovers(&fault, false);
}

#[test]
fn positions_are_added_while_the_brokers_acknowledge_records() {
    const ROUND_TRIP: Duration = Duration::from_millis(1500);
    const LEADER: i32 = 1;
    const GROUP_COORDINATOR: i32 = 3;
    let mut mock = Mock::with_brokers(3);
    mock.producer.call_timeout = 20 * ROUND_TRIP;
    let brokers = &mock.cluster.brokers;
    brokers.partition_leader(TOPIC, 0, Some(LEADER)).unwrap();
    for (coordinator, broker) in [
        (MockCoordinator::Transaction("id".to_owned()), 2),
        (
            MockCoordinator::Group("group".to_owned()),
            GROUP_COORDINATOR,
        ),
    ] {
        brokers.coordinator(coordinator, broker).unwrap();
    }
    assert_eq!(mock.prepare(), Ok(true));
    assert_eq!(mock.transact(), Ok(()));
    for broker in [LEADER, GROUP_COORDINATOR] {
        let brokers = &mock.cluster.brokers;
        brokers.broker_round_trip_time(broker, ROUND_TRIP).unwrap();
    }
    let began = Instant::now();
    assert_eq!(mock.transact(), Ok(()));
    let took = began.elapsed();
    assert!(ROUND_TRIP <= took && took < 2 * ROUND_TRIP, "{took:?}");
}

/// librdkafka waits indefinitely for a coordinator that is down, whatever the timeout.
#[test]
fn a_call_that_does_not_return_replaces_the_producer() {
    let mut mock = Mock::with_brokers(2);
    let (group, id) = ("group".to_owned(), "id".to_owned());
    mock.cluster
        .brokers
        .partition_leader(TOPIC, 0, Some(1))
        .unwrap();
    mock.cluster
        .brokers
        .coordinator(MockCoordinator::Transaction(id), 1)
        .unwrap();
    mock.cluster
        .brokers
        .coordinator(MockCoordinator::Group(group), 2)
        .unwrap();
    assert_eq!(mock.prepare(), Ok(true));
    assert_eq!(mock.transact(), Ok(()));
    mock.cluster.brokers.broker_down(2).unwrap();
    let began = Instant::now();
    let fault = mock.transact().unwrap_err();
    let text = "send_offsets_to_transaction: the client did not return";
    assert_eq!(fault, Fault::Lost(text.to_owned()));
    assert!(began.elapsed() < Duration::from_secs(10));
    mock.cluster.brokers.broker_up(2).unwrap();
    mock.recovers(&fault, false);
}

#[test]
fn records_that_are_not_acknowledged_in_time_replace_the_producer() {
    let mut mock = Mock::new();
    assert_eq!(mock.prepare(), Ok(true));
    assert_eq!(mock.transact(), Ok(()));
    mock.cluster
        .brokers
        .broker_round_trip_time(1, Duration::from_secs(60))
        .unwrap();
    let fault = mock.transact().unwrap_err();
    assert!(matches!(fault, Fault::Lost(_)), "{fault:?}");
    mock.producer.abort(&fault);
    assert!(matches!(mock.producer.state, ProducerState::Absent));
}

#[test]
fn a_missing_permission_is_reported_and_not_retried() {
    use Answer::*;
    let mut mock = Mock::new();
    mock.answer(
        Api::InitProducerId,
        &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
    );
    assert!(matches!(mock.prepare(), Err(Fault::NotAuthorised(_))));
    let cases = [
        (
            Api::AddPartitionsToTxn,
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        ),
        (
            Api::TxnOffsetCommit,
            RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        ),
    ];
    for (api, answer) in cases {
        let fault = Mock::new().fault(api, &[answer]);
        assert!(
            matches!(fault, Fault::NotAuthorised(_)),
            "{answer:?}: {fault:?}"
        );
    }
}

#[test]
fn queued_records_do_not_delay_an_abort() {
    let mut mock = Mock::new();
    assert_eq!(mock.prepare(), Ok(true));
    mock.producer.begin().unwrap();
    for _ in 0..10_000 {
        let record = OutgoingRecord {
            topic: TOPIC,
            partition: Some(0),
            timestamp: None,
            key: None,
            value: Some(b"x"),
            headers: Headers::default(),
        };
        mock.producer.send(record).unwrap();
    }
    mock.recovers(&Fault::Abortable("lost the partition".to_owned()), true);
}

#[test]
fn an_abort_without_a_producer_leaves_none() {
    let settings = KafkaSettings::default();
    let mut producer = TransactionalProducer::new(&settings, "test", "id").unwrap();
    producer.abort(&Fault::Abortable("x".to_owned()));
    assert!(matches!(producer.begin(), Err(Fault::Lost(_))));
    assert!(!producer.is_open());
}

#[test]
fn a_new_producer_settles_once_in_a_cluster_of_one_broker_and_then_commits() {
    let mut mock = Mock::new();
    assert!(matches!(mock.settle(), Err(Fault::Lost(_))));
    for _ in 0..2 {
        assert_eq!(mock.prepare(), Ok(true));
        assert_eq!(mock.settle(), Ok(true));
        assert_eq!(mock.settle(), Ok(false));
        assert_eq!(mock.transact(), Ok(()));
        mock.producer.abort(&Fault::Lost("by a test".to_owned()));
    }
}

#[test]
fn nothing_is_aborted_in_a_cluster_of_several_brokers() {
    let mut mock = Mock::with_brokers(2);
    assert_eq!(mock.prepare(), Ok(true));
    assert_eq!(mock.settle(), Ok(false));
    assert_eq!(mock.transact(), Ok(()));
}

#[test]
fn a_producer_that_cannot_settle_is_replaced() {
    use Answer::*;
    let mut mock = Mock::new();
    assert_eq!(mock.prepare(), Ok(true));
    mock.answer(Api::EndTxn, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH]);
    assert!(matches!(mock.settle(), Err(Fault::Lost(_))));
    assert!(matches!(mock.producer.state, ProducerState::Absent));
    assert_eq!(mock.prepare(), Ok(true));
    assert_eq!(mock.settle(), Ok(true));
    assert_eq!(mock.transact(), Ok(()));
}
