//! A member of a group that was frozen and replaced commits nothing that the other member has processed.
//!
//! A broker rejects offsets from an unknown member or an old generation, but accepts a transaction's offsets that name neither.
//! A consumer names neither if it learns first that its generation is over and then that it is not a member any more, while the
//! application does not poll. This test causes that as a network with delays does: a request to join, on which the client has
//! timed out, reaches the broker late and starts a generation that the client does not know; then the client is frozen for
//! longer than its session timeout.

use std::time::Duration;

use fastrand::Rng;
use iris_kafka::{GroupOffsets, Headers, Positions, TopicEnds, is_settled};
use iris_testkit::ledger::{
    CommittedRecords, ExpectedOutcomes, FindingCounts, Ledger, Row, audit_summaries,
};
use iris_testkit::{Cluster, Fixture, Running, TIMEOUT, eventually};
use rustix::process::Signal;
use tempfile::TempDir;

/// Many times the time that it takes a member to learn of a generation.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of frozen members that must be about to commit, without being a member, when they continue.
const WANTED: usize = 3;

/// The largest number of rounds.
const MAX_ROUNDS: usize = 8;

/// The settings of both members: a short session timeout.
const SESSION: &str = "\"session.timeout.ms\" = 2000\n\"heartbeat.interval.ms\" = 100\n";

/// The settings of a member that does not poll for seconds: it sends the records of one batch one by one.
const SLOW: &str = "\"queue.buffering.max.messages\" = 1\n\
                    [classifier]\nworkers = 1\ncommit_interval_ms = 5000\n\
                    [telemetry]\nlog = \"info,record=off\"\n";

/// A pipeline on a broker of its own, behind a proxy.
struct Pipeline {
    cluster: Cluster,
    fixture: Fixture,
    rows: Vec<Row>,
    _directory: TempDir,
}

impl Pipeline {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cluster = Cluster::start_one(directory.path()).unwrap();
        let fixture = Fixture::for_broker(&cluster.outside().bootstrap_servers).unwrap();
        fixture.create_topics().unwrap();
        Self {
            cluster,
            fixture,
            rows: Row::iris().unwrap(),
            _directory: directory,
        }
    }

    /// Starts a classifier with the session's settings and `more`.
    fn start(&self, more: &str) -> Running {
        let settings = format!("[kafka.librdkafka]\n{SESSION}{more}");
        self.fixture.set(&settings).unwrap();
        self.fixture.start("iris-classifier", &[]).unwrap()
    }

    /// Sends every row of the dataset to one partition: a member reads them as one batch, and does not poll within it.
    fn send_rows(&self) {
        let topic = &self.fixture.topics.input;
        let values = self.rows.iter().map(|row| Some(row.value.as_slice()));
        let values: Vec<Option<&[u8]>> = values.collect();
        self.fixture
            .produce(topic, 0, None, &values, &Headers::default())
            .unwrap();
    }

    /// Starts a member. Freezes it when it has appended predictions to an open transaction and has then learned that its
    /// generation is over, but has not polled.
    fn freeze_a_member(&self, random: &mut Rng) -> Running {
        let requests = self.cluster.group_requests();
        let mut kafka = self.cluster.inside();
        let isolation = ("isolation.level".to_owned(), "read_uncommitted".to_owned());
        kafka.librdkafka.extend([isolation]);
        let ends = TopicEnds::open(&kafka, &self.fixture.topics.predictions).unwrap();
        let appended = || ends.offsets().unwrap().values().sum::<i64>();

        let heard = requests.heartbeats_without_generation();
        let held = requests.hold_join(1);
        let wanted = appended() + random.i64(4..=20);
        let member = self.start(SLOW);
        eventually("records of an open transaction", TIMEOUT, || {
            (appended() >= wanted).then_some(())
        })
        .unwrap();
        assert!(held.is_held(), "the member must have joined twice");
        held.release();
        // A member that polls at that moment rejoins; then it is only frozen, and the round does not count.
        let _ = eventually(
            "the member to learn of a generation",
            HEARTBEAT_TIMEOUT,
            || (requests.heartbeats_without_generation() > heard).then_some(()),
        );
        member.signal(Signal::STOP).unwrap();
        member
    }

    /// Starts another member, and waits until it has processed all records. Returns it, and the end offsets.
    fn start_replacement(&self) -> (Running, Positions) {
        let (kafka, topic) = (self.cluster.inside(), &self.fixture.topics.input);
        let other = self.start("");
        let group = self.fixture.classifier_group();
        let offsets = GroupOffsets::open(&kafka, &group, topic).unwrap();
        let end = TopicEnds::open(&kafka, topic).unwrap().offsets().unwrap();
        // Nothing is committed in the others.
        let end: Positions = end.iter().filter(|&(_, end)| end > 0).collect();
        eventually("the other member to process all records", TIMEOUT, || {
            (offsets.committed().ok()? == end).then_some(())
        })
        .unwrap();
        (other, end)
    }

    /// Lets the frozen member continue, and waits for the end of its transaction.
    fn thaw(&self, frozen: &Running) {
        frozen.signal(Signal::CONT).unwrap();
        let (kafka, topic) = (self.cluster.inside(), &self.fixture.topics.predictions);
        eventually("the frozen member's transaction to end", TIMEOUT, || {
            is_settled(&kafka, topic).ok()?.then_some(())
        })
        .unwrap();
    }

    fn records(&self) -> CommittedRecords {
        let topics = &self.fixture.topics;
        let kafka = self.cluster.inside();
        let read = |topic: &str| self.fixture.records_from(&kafka, topic);
        CommittedRecords::read(topics, read(&topics.input).unwrap(), read).unwrap()
    }
}

#[test]
fn a_frozen_and_replaced_member_commits_nothing() {
    let pipeline = Pipeline::new();
    let outcomes = ExpectedOutcomes::of_the_paper(&pipeline.rows).unwrap();
    let ledger = Ledger::new(&pipeline.fixture.topics.input, outcomes);
    let mut random = pipeline.fixture.random().unwrap();
    let mut met = 0;
    for round in 1..=MAX_ROUNDS {
        pipeline.send_rows();
        let mut frozen = pipeline.freeze_a_member(&mut random);
        let (mut other, end) = pipeline.start_replacement();
        pipeline.thaw(&frozen);
        assert!(frozen.terminate(TIMEOUT).unwrap().success());
        assert!(other.terminate(TIMEOUT).unwrap().success());
        let records = pipeline.records();
        let mut findings = ledger.audit(&records, &end);
        findings.extend(audit_summaries(&records, &end));
        let counts = findings.counts();
        assert_eq!(
            counts,
            FindingCounts::default(),
            "round {round}\n{findings}"
        );

        let refusal = "the group has removed this consumer";
        met += usize::from(frozen.lines().iter().any(|line| line.contains(refusal)));
        if met == WANTED {
            println!("{met} of {round} frozen members were about to commit");
            return;
        }
    }
    panic!("only {met} of {MAX_ROUNDS} frozen members were about to commit");
}
