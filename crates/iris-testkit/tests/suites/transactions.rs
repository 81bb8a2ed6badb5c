//! Open transactions: listed with their producers, ended once they are named exactly, and refused without the rights.

use bytes::{Bytes, BytesMut};
use iris_contract::rights::{Operation, Pattern, ResourceKind};
use iris_kafka::{Headers, KafkaSettings, OutgoingRecord, TransactionalProducer};
use iris_testkit::{
    Acl, Authority, Ended, Fixture, GuardedBroker, SharedBroker, TIMEOUT, USER, eventually, get,
    local_tool,
};
use iris_transactions::{Cluster, Connection};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, GroupId, InitProducerIdRequest, ProduceRequest, ProducerId, TopicName,
    TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The user that runs the command.
const OPERATOR: &str = "operator";

/// When the producer of the hanging transaction wrote its record.
const SINCE_MS: i64 = 1_700_000_000_000;

/// A broker with a user that has no rights, and topics.
struct Guarded {
    broker: GuardedBroker,
    fixture: Fixture,
    _directory: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = GuardedBroker::start(directory.path(), &[OPERATOR.to_owned()]).unwrap();
        let mut fixture = Fixture::for_broker(&broker.open_address()).unwrap();
        fixture.topics.partitions = 2;
        eventually("the topics to be created", TIMEOUT, || {
            fixture.create_topics().ok()
        })
        .unwrap();
        Self {
            broker,
            fixture,
            _directory: directory,
        }
    }

    /// Runs the command as the user.
    fn run(&self, args: &str) -> Ended {
        let args: Vec<&str> = ["transactions"]
            .into_iter()
            .chain(args.split_whitespace())
            .collect();
        let mut command = self.fixture.command("iris-admin", &args);
        self.broker.log_in(&mut command, OPERATOR);
        let output = command.output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn grant(&self, kind: ResourceKind, name: &str, operation: Operation) {
        let acl = Acl {
            user: OPERATOR.to_owned(),
            kind,
            name: name.to_owned(),
            pattern: Pattern::Literal,
            operation,
        };
        self.broker.grant(&[acl]).unwrap();
    }

    /// The command fails and names a right.
    #[track_caller]
    fn lacks(&self, args: &str, right: &str) {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for part in [
            &format!("user `{OPERATOR}` lacks the right {right}"),
            "`iris-admin acls --for admin-transactions --principal User:operator`",
        ] {
            assert!(ended.stderr.contains(part), "no {part} in {}", ended.stderr);
        }
    }

    /// Returns the output of the command as JSON.
    #[track_caller]
    fn json(&self, args: &str) -> Value {
        let ended = self.run(&format!("{args} --json"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// Returns how many committed records of a partition can be read.
    fn readable(&self, topic: &str, partition: i32) -> usize {
        let records = self.fixture.records(topic).unwrap();
        records
            .iter()
            .filter(|record| record.partition == partition)
            .count()
    }

    fn send(&self, topic: &str, partition: i32) {
        let headers = Headers::default();
        let values: [Option<&[u8]>; 1] = [Some(b"after")];
        self.fixture
            .produce(topic, partition, None, &values, &headers)
            .unwrap();
    }
}

/// Writes a record in a transaction that stays open.
fn leave_open(
    kafka: &KafkaSettings,
    id: &str,
    topic: &str,
    partition: i32,
) -> TransactionalProducer {
    let mut kafka = kafka.clone();
    let timeout = ("transaction.timeout.ms".to_owned(), "600000".to_owned());
    kafka.librdkafka.extend([timeout]);
    let mut producer = TransactionalProducer::new(&kafka, "iris-testkit", id).unwrap();
    producer
        .prepare(&CancellationToken::new(), &mut |_| ())
        .unwrap();
    producer.begin().unwrap();
    producer
        .send(OutgoingRecord {
            topic,
            partition: Some(partition),
            timestamp: None,
            key: None,
            value: Some(b"open"),
            headers: Headers::default(),
        })
        .unwrap();
    producer
}

/// Writes a record with the mark of a transaction of which the coordinator has no record, as a producer did whose coordinator
/// had forgotten it. Brokers accept that only if they do not ask the coordinator. Returns the producer's id.
fn hang(kafka: &KafkaSettings, topic: &str, partition: i32) -> i64 {
    let name = "transaction.partition.verification.enable=false";
    local_tool(&[
        "kafka-configs",
        "--bootstrap-server",
        &kafka.bootstrap_servers,
        "--alter",
        "--entity-type",
        "brokers",
        "--entity-default",
        "--add-config",
        name,
    ])
    .unwrap();
    let mut cluster = Cluster::connect(kafka, "iris-testkit").unwrap();
    let connection = cluster.any().unwrap();
    let id = TransactionalId(StrBytes::from_static_str("forgotten"));
    let (ProducerId(producer_id), epoch) = producer_id(connection, &id, 60_000);
    write(connection, id, batch(producer_id, epoch), topic, partition);
    producer_id
}

/// Returns a producer id and its epoch for a transactional id.
fn producer_id(
    connection: &mut Connection,
    id: &TransactionalId,
    timeout_ms: i32,
) -> (ProducerId, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id.clone()))
        .with_transaction_timeout_ms(timeout_ms);
    eventually("a producer id", TIMEOUT, || {
        let answer = connection.send(&request).unwrap();
        (answer.error_code == 0).then_some((answer.producer_id, answer.producer_epoch))
    })
    .unwrap()
}

fn batch(producer_id: i64, producer_epoch: i16) -> Bytes {
    let record = Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: 0,
        timestamp: SINCE_MS,
        key: None,
        value: Some(Bytes::from_static(b"hanging")),
        headers: Default::default(),
    };
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, [&record], &options).unwrap();
    batch.freeze()
}

fn write(
    connection: &mut Connection,
    id: TransactionalId,
    batch: Bytes,
    topic: &str,
    partition: i32,
) {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(Some(id))
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    let answer = connection.send(&request).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// Returns the flags that name a listed transaction.
fn flags(listed: &Value) -> String {
    format!(
        "--abort --topic {} --partition {} --producer-id {} --start-offset {}",
        listed["topic"].as_str().unwrap(),
        listed["partition"],
        listed["producer_id"],
        listed["start_offset"]
    )
}

#[test]
fn open_transactions_are_listed_and_ended_with_the_rights_for_it() {
    use ResourceKind::{Cluster as TheCluster, Topic, TransactionalId};
    let guarded = Guarded::start();
    let (kafka, topics) = (&guarded.fixture.kafka, &guarded.fixture.topics);
    let mut killed = leave_open(kafka, "killed", &topics.feedback, 1);
    let hanging_id = eventually("the open transaction to be written", TIMEOUT, || {
        let listed = iris_transactions::open_transactions(
            &mut Cluster::connect(kafka, "iris-testkit").unwrap(),
            std::slice::from_ref(&topics.feedback),
        );
        listed.is_ok_and(|listed| !listed.is_empty()).then_some(())
    })
    .map(|()| hang(kafka, &topics.predictions, 0))
    .unwrap();
    guarded.send(&topics.predictions, 0);
    guarded.send(&topics.feedback, 1);
    assert_eq!(guarded.readable(&topics.predictions, 0), 0);

    // Each missing right is named.
    let every = [
        &topics.input,
        &topics.predictions,
        &topics.feedback,
        &topics.dead_letters,
        &topics.models,
        &topics.labels,
        &topics.trainer_state,
        &topics.summaries,
    ];
    for topic in every {
        guarded.grant(Topic, topic, Operation::Describe);
    }
    guarded.lacks("", &format!("Read on topic `{}`", topics.input));
    for topic in every {
        guarded.grant(Topic, topic, Operation::Read);
    }
    guarded.lacks("", "Describe on topic `__transaction_state`");
    guarded.grant(Topic, "__transaction_state", Operation::Describe);
    guarded.lacks("", "Describe on transactional id `*`");
    // A right on one transactional id does not show the others.
    guarded.grant(TransactionalId, "killed", Operation::Describe);
    guarded.lacks("", "Describe on transactional id `*`");
    guarded.grant(TransactionalId, "*", Operation::Describe);

    let listed = guarded.json("");
    let listed = listed["transactions"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    let of = |topic: &str| listed.iter().find(|open| open["topic"] == topic).unwrap();
    let (hanging, ongoing) = (of(&topics.predictions), of(&topics.feedback));
    for (field, expected) in [
        ("state", Value::from("hanging")),
        ("producer_id", hanging_id.into()),
        ("producer_epoch", 0.into()),
        ("start_offset", 0.into()),
        ("last_stable_offset", 0.into()),
        ("high_watermark", 2.into()),
        ("since_ms", SINCE_MS.into()),
    ] {
        assert_eq!(hanging[field], expected, "{field}");
    }
    assert_eq!(ongoing["state"], "ongoing");
    assert_eq!(ongoing["transactional_id"], "killed");
    assert_eq!(ongoing["timeout_ms"], 600_000);
    let text = guarded.run("").stdout;
    assert!(text.contains(&flags(hanging)), "{text}");
    assert!(text.contains("1 hanging, 1 ongoing, 0 ending"), "{text}");

    // The hanging one.
    let name = flags(hanging);
    guarded.lacks(&name, "Alter on the cluster");
    guarded.grant(TheCluster, "kafka-cluster", Operation::Alter);
    let wrong = guarded.run(&name.replace("--start-offset 0", "--start-offset 1"));
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("nothing was changed"),
        "{}",
        wrong.stderr
    );
    assert_eq!(guarded.readable(&topics.predictions, 0), 0);
    let aborted = guarded.json(&name);
    assert_eq!(aborted["state"], "hanging");
    assert_eq!(aborted["last_stable_offset"], 3);
    assert_eq!(guarded.readable(&topics.predictions, 0), 1);
    let again = guarded.run(&name);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("it has ended"), "{}", again.stderr);

    // The one of a producer that the coordinator knows.
    let name = flags(ongoing);
    let refused = guarded.run(&name.replace("--abort", "--commit"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("only its producer can commit it"),
        "{refused:?}"
    );
    guarded.lacks(&name, "Write on transactional id `killed`");
    assert_eq!(guarded.readable(&topics.feedback, 1), 0);
    guarded.grant(TransactionalId, "*", Operation::Write);
    let aborted = guarded.run(&name);
    assert_eq!(aborted.code, Some(0), "{}", aborted.stderr);
    assert!(
        aborted.stdout.contains("fenced the producer"),
        "{}",
        aborted.stdout
    );
    assert_eq!(guarded.readable(&topics.feedback, 1), 1);
    assert!(killed.commit().is_err(), "the producer is fenced");
    let none = guarded.json("");
    assert_eq!(none["transactions"], serde_json::json!([]));

    // One whose end was lost after it was committed in other partitions.
    hang(kafka, &topics.predictions, 1);
    guarded.send(&topics.predictions, 1);
    assert_eq!(guarded.readable(&topics.predictions, 1), 0);
    let listed = guarded.json("");
    let name = flags(&listed["transactions"][0]);
    let committed = guarded.json(&name.replace("--abort", "--commit"));
    assert_eq!(committed["result"], "committed");
    assert_eq!(guarded.readable(&topics.predictions, 1), 2);
}

#[test]
fn the_command_connects_with_encryption_a_certificate_and_a_password() {
    let shared = SharedBroker::obtain().unwrap();
    let mut fixture = Fixture::for_broker(&shared.broker.inside().bootstrap_servers).unwrap();
    fixture.create_topics().unwrap();
    let inside = shared.broker.inside();
    let id = format!("{}-open", fixture.name());
    let _producer = leave_open(&inside, &id, &fixture.topics.feedback, 0);
    let directory = fixture.directory().to_owned();
    Authority::write(&[&shared.authority], &directory.join("ca.pem")).unwrap();
    let identity = shared.authority.issue("client").unwrap();
    identity.write(&directory, "client").unwrap();
    fixture.kafka.bootstrap_servers = shared.broker.address();
    let path = |name: &str| directory.join(name).display().to_string();
    let security = |password: &str| {
        format!(
            "[kafka.security]\nprotocol = \"sasl_ssl\"\nusername = \"{USER}\"\npassword = \"{password}\"\nca = \"{}\"\n\
             certificate = \"{}\"\nkey = \"{}\"\n",
            path("ca.pem"),
            path("client.pem"),
            path("client.key")
        )
    };
    fixture.set(&security(&shared.password)).unwrap();
    let listed = eventually("the open transaction to be written", TIMEOUT, || {
        let ended = fixture
            .run("iris-admin", &["transactions", "--json"])
            .unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let listed: Value = serde_json::from_str(&ended.stdout).unwrap();
        listed["transactions"].get(0).cloned()
    })
    .unwrap();
    assert_eq!(listed["transactional_id"], id);
    let name = flags(&listed);
    let args: Vec<&str> = ["transactions"]
        .into_iter()
        .chain(name.split(' '))
        .collect();
    let aborted = fixture.run("iris-admin", &args).unwrap();
    assert_eq!(aborted.code, Some(0), "{}", aborted.stderr);

    let other =
        security(&shared.password) + "[kafka.librdkafka]\n\"ssl.cipher.suites\" = \"DEFAULT\"\n";
    fixture.set(&other).unwrap();
    let refused = fixture.run("iris-admin", &["transactions"]).unwrap();
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("ssl.cipher.suites"),
        "{}",
        refused.stderr
    );
}

/// Commits an offset of a group in a transaction that stays open.
fn leave_offset_open(fixture: &Fixture, id: &str, group: &str) {
    let mut cluster = Cluster::connect(&fixture.kafka, "iris-testkit").unwrap();
    let connection = cluster.any().unwrap();
    let id = TransactionalId(StrBytes::from_string(id.to_owned()));
    let group = GroupId(StrBytes::from_string(group.to_owned()));
    let (producer_id, epoch) = producer_id(connection, &id, 600_000);
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id.clone())
        .with_producer_id(producer_id)
        .with_producer_epoch(epoch)
        .with_group_id(group.clone());
    eventually("the group to be in the transaction", TIMEOUT, || {
        let answer = connection.send(&request).unwrap();
        (answer.error_code == 0).then_some(())
    })
    .unwrap();
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_string(
            fixture.topics.input.clone(),
        )))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id)
        .with_group_id(group)
        .with_producer_id(producer_id)
        .with_producer_epoch(epoch)
        .with_topics(vec![topic]);
    eventually("the offset to be in the transaction", TIMEOUT, || {
        let answer = connection.send(&request).unwrap();
        (answer.topics[0].partitions[0].error_code == 0).then_some(())
    })
    .unwrap();
}

#[test]
fn a_classifier_names_the_transaction_that_holds_back_its_offsets() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let records: [Option<&[u8]>; 2] = [Some(b"first"), Some(b"second")];
    let input = &fixture.topics.input;
    fixture
        .produce(input, 0, None, &records, &Headers::default())
        .unwrap();
    let id = format!("{}-other", fixture.name());
    leave_offset_open(&fixture, &id, &fixture.classifier_group());
    let port = fixture.set_with_endpoint("").unwrap();
    let _classifier = fixture.start("iris-classifier", &[]).unwrap();
    let command = "iris-admin transactions --topic __consumer_offsets";
    eventually("the command", TIMEOUT, || {
        let (status, body) = get(port, "/readyz")?;
        (status == 503 && body.contains(command)).then_some(())
    })
    .unwrap();

    let args: Vec<&str> = command.split(' ').skip(1).chain(["--json"]).collect();
    let listed = fixture.run("iris-admin", &args).unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).expect(&listed.stderr);
    let listed = listed["transactions"].as_array().unwrap();
    let open = listed.iter().find(|open| open["transactional_id"] == id);
    let name = format!("transactions {}", flags(open.unwrap()));
    let args: Vec<&str> = name.split(' ').collect();
    let aborted = fixture.run("iris-admin", &args).unwrap();
    assert_eq!(aborted.code, Some(0), "{}", aborted.stderr);
    eventually("the classifier to be ready", TIMEOUT, || {
        (get(port, "/readyz")?.0 == 200).then_some(())
    })
    .unwrap();
    eventually("the dead letters", TIMEOUT, || {
        let records = fixture.records(&fixture.topics.dead_letters).unwrap();
        (records.len() == 2).then_some(())
    })
    .unwrap();
}
