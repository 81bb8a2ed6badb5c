//! A pipeline in a storm, and whether it kept its promises.
//!
//! One run: records stream in, one in a hundred of them poison, while processes are killed, frozen and replaced, brokers
//! bounced and frozen, connections slowed and cut, and commits delayed and cut off. Then the ledger compares what came
//! out with what went in.

mod plan;
mod storm;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use fastrand::Rng;
use futures_util::TryStreamExt;
use iris_feedback_store::FeedbackReader;
use iris_kafka::{
    GroupOffsets, Headers, KafkaSettings, Offsets, OutgoingRecord, Producer, StoredRecord,
    TopicReader, is_settled,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use plan::{Action, Mode, Plan, Role, SESSION_TIMEOUT, STORM, Step};
pub use storm::Faults;

use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::fixture::{Fixture, MustDeliver, runtime};
use crate::ledger::outcomes::{Outcomes, Row};
use crate::ledger::{Books, Counts, Findings, Kind, Ledger, audit_rows, audit_summaries};
use crate::wait::eventually;
use storm::Storm;

/// How long the pipeline may take to be done once the storm is over. A killed producer's transaction stays open for 15 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the last records take to be sent, while everything is killed once more.
const FLURRY: Duration = Duration::from_secs(4);

/// One in so many records is poison.
const POISON_EVERY: usize = 100;

/// Where a storm rages.
#[derive(Debug)]
pub enum Ground {
    /// A cluster that can be broken.
    Cluster(Cluster),
    /// A broker that can not: only the pipeline's own processes suffer.
    Broker(Broker),
}

impl Ground {
    /// A cluster of local processes; or, where `KAFKA_BOOTSTRAP` names a broker or there can be no local processes, what
    /// [`Broker::obtain`] finds.
    ///
    /// # Errors
    /// If nothing can be had.
    pub fn obtain(directory: &Path) -> anyhow::Result<Self> {
        if Broker::can_be_local() && !Broker::is_named() {
            Ok(Self::Cluster(Cluster::start(directory)?))
        } else {
            Ok(Self::Broker(Broker::obtain(directory)?))
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::Cluster(_) => {
                "three Apache Kafka brokers as local processes, replication 3, behind proxies"
                    .to_owned()
            }
            Self::Broker(broker) => {
                format!("{}; brokers and network are left alone", broker.description)
            }
        }
    }

    /// How the pipeline reaches the cluster.
    fn outside(&self) -> KafkaSettings {
        match self {
            Self::Cluster(cluster) => cluster.outside(),
            Self::Broker(broker) => broker.settings(),
        }
    }

    /// How the ledger does.
    fn inside(&self) -> KafkaSettings {
        match self {
            Self::Cluster(cluster) => cluster.inside(),
            Self::Broker(broker) => broker.settings(),
        }
    }

    fn cluster(&mut self) -> Option<&mut Cluster> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            Self::Broker(_) => None,
        }
    }

    fn commit_counts(&self) -> (u64, u64) {
        match self {
            Self::Cluster(cluster) => cluster.commit_faults().counts(),
            Self::Broker(_) => (0, 0),
        }
    }
}

/// What came of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the storm was drawn from.
    pub seed: u64,
    /// How the classifiers shared the partitions.
    pub mode: &'static str,
    /// Input records.
    pub records: usize,
    /// Predictions.
    pub predictions: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Feedback records.
    pub feedback: usize,
    /// Rows in the store.
    pub stored: usize,
    /// What was done to the pipeline.
    pub faults: Faults,
    /// What was found.
    pub findings: Counts,
    /// Services that ended by themselves or not well.
    pub misbehaviour: Vec<String>,
    /// From the first process to the verdict.
    pub elapsed_s: f64,
    /// The findings, for people.
    #[serde(skip)]
    pub details: String,
}

impl Report {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings == Counts::default() && self.misbehaviour.is_empty()
    }
}

/// Runs one storm. The services' logs are kept below `directory`.
///
/// # Errors
/// If the test itself cannot go on; a broken promise is not an error but in the report.
pub fn run(
    ground: &mut Ground,
    directory: &Path,
    seed: u64,
    records: usize,
) -> anyhow::Result<Report> {
    let began = Instant::now();
    let plan = Plan::draw(seed);
    let _ = fs::remove_dir_all(directory);
    let (outside, inside) = (ground.outside(), ground.inside());
    let mut fixture = Fixture::for_broker(&outside.bootstrap_servers)?;
    if let Ground::Cluster(_) = ground {
        fixture.topics.replication_factor = 3;
    }
    // Records are accounted for by the ledger; a line for each would be most of the work.
    fixture.set(&format!(
        "{}\n[telemetry]\nlog = \"info,record=off\"\n",
        plan::SESSION_SETTINGS
    ))?;
    fixture.create_topics()?;
    let before = ground.commit_counts();

    let stop = CancellationToken::new();
    let (mut values, outcomes) = values(seed, records)?;
    let rest = values.split_off(records - records / 8);
    let sending = |values: Vec<Option<Vec<u8>>>, over| {
        let (kafka, topic) = (outside.clone(), fixture.topics.input.clone());
        let partitions = fixture.topics.partitions;
        thread::spawn(move || produce(&kafka, &topic, partitions, &values, over))
    };
    let sent = |sending: thread::JoinHandle<anyhow::Result<()>>| {
        sending
            .join()
            .map_err(|_| anyhow!("the producer panicked"))?
    };
    let topics = [
        &fixture.topics.predictions,
        &fixture.topics.feedback,
        &fixture.topics.dead_letters,
    ];
    let watching = topics.map(|topic| watch(&inside, topic, &stop));
    let ledger = Ledger::new(&fixture.topics.input, outcomes);
    let scene = Scene {
        kafka: &inside,
        fixture: &fixture,
        mode: plan.mode,
    };

    let first = sending(values, STORM);
    let mut storm = Storm::start(&fixture, ground.cluster(), plan.mode, directory)?;
    storm.rage(&plan)?;
    sent(first)?;
    let mut findings = scene.await_all_classified("after the storm", &mut storm)?;

    // In the midst of work everything is killed: what is there is what the committed offsets say, no more and no less.
    let done = scene.committed()?;
    let second = sending(rest, FLURRY);
    eventually("work to be in progress", PATIENCE, || {
        storm.attend().ok()?;
        (scene.committed().ok()? != done).then_some(())
    })?;
    storm.kill_classifiers();
    sent(second)?;
    scene.await_settled()?;
    let (books, committed) = (scene.books()?, scene.committed()?);
    findings.extend(ledger.audit(&books, &committed));
    findings.extend(audit_summaries(&books, &committed));

    // And everything comes to its end.
    storm.start_classifiers()?;
    findings.extend(scene.await_all_classified("at the end", &mut storm)?);
    let rows = match scene.await_rows(&mut storm) {
        Some(rows) => rows,
        None => scene.rows()?,
    };
    storm.terminate();
    scene.await_settled()?;
    let books = scene.books()?;
    let end = end_of(&books.input);
    findings.extend(ledger.audit(&books, &end));
    findings.extend(audit_summaries(&books, &end));
    findings.extend(audit_rows(&books.feedback, &rows));
    stop.cancel();
    let outcomes = [&books.predictions, &books.feedback, &books.dead_letters];
    for ((topic, watching), records) in topics.into_iter().zip(watching).zip(outcomes) {
        let seen = watching
            .join()
            .map_err(|_| anyhow!("a reader panicked"))??;
        findings.extend(vanished(topic, &seen, records));
    }
    if books.input.len() != records {
        findings.note(
            Kind::Wrong,
            format!(
                "{records} records were sent, and {} are there",
                books.input.len()
            ),
        );
    }
    let (mut faults, misbehaviour) = (storm.faults, storm.misbehaviour);
    let after = ground.commit_counts();
    faults.commits_delayed = after.0 - before.0;
    faults.commits_cut = after.1 - before.1;
    fixture.delete_topics(&inside)?;
    Ok(Report {
        seed,
        mode: match plan.mode {
            Mode::Group => "group",
            Mode::Listed => "listed",
        },
        records: books.input.len(),
        predictions: books.predictions.len(),
        dead_letters: books.dead_letters.len(),
        feedback: books.feedback.len(),
        stored: rows.len(),
        faults,
        findings: findings.counts(),
        misbehaviour,
        elapsed_s: began.elapsed().as_secs_f64(),
        details: findings.to_string(),
    })
}

/// The records of a run: the dataset's rows over and over, one in a hundred replaced by poison. And what they have to
/// become.
fn values(seed: u64, count: usize) -> anyhow::Result<(Vec<Option<Vec<u8>>>, Outcomes)> {
    let rows = Row::iris()?;
    let mut outcomes = Outcomes::of_the_paper(&rows)?;
    let mut rng = Rng::with_seed(seed);
    let mut values: Vec<Option<Vec<u8>>> = (0..count)
        .map(|position| Some(rows[position % rows.len()].value.clone()))
        .collect();
    let mut poisoned = BTreeSet::new();
    while poisoned.len() < count / POISON_EVERY {
        poisoned.insert(rng.usize(..count));
    }
    for position in poisoned {
        let (value, reason) = poison(&mut rng);
        outcomes.reject(value.as_deref(), reason);
        values[position] = value;
    }
    Ok((values, outcomes))
}

/// A record that cannot be classified, and the reason.
fn poison(rng: &mut Rng) -> (Option<Vec<u8>>, &'static str) {
    let (text, reason) = match rng.u8(..10) {
        0 => return (None, "no_value"),
        1 => {
            let bytes = (0..rng.usize(1..200)).map(|_| rng.u8(128..)).collect();
            return (Some(bytes), "not_json");
        }
        2 => ("x".repeat(rng.usize(1..50_000)), "not_json"),
        3 => ("[1, 2]".to_owned(), "not_an_object"),
        4 => (r#"{"SepalLengthCm":5.1}"#.to_owned(), "missing_feature"),
        5 => (measured(r#""wide""#), "feature_not_a_number"),
        6 => (measured("1e999"), "feature_out_of_range"),
        7 => (measured(r#"5.1,"PetalWidthCm":1"#), "duplicate_field"),
        8 => (measured(r#"5.1,"Species":false"#), "label_not_a_string"),
        _ => (String::new(), "not_json"),
    };
    (Some(text.into_bytes()), reason)
}

/// A record with this text where the sepal's length belongs.
fn measured(length: &str) -> String {
    format!(r#"{{"SepalLengthCm":{length},"SepalWidthCm":3,"PetalLengthCm":1,"PetalWidthCm":1}}"#)
}

/// Sends the records evenly over a time.
fn produce(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: i32,
    values: &[Option<Vec<u8>>],
    over: Duration,
) -> anyhow::Result<()> {
    const BURST: usize = 50;
    let producer = Producer::start(kafka, "iris-testkit", MustDeliver)?;
    let began = Instant::now();
    let mut partition = (0..partitions).cycle();
    for (position, value) in values.iter().enumerate() {
        if position.is_multiple_of(BURST) {
            let due = over.mul_f64(position as f64 / values.len() as f64);
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let partition = partition.next();
        let record = || OutgoingRecord {
            topic,
            partition,
            timestamp: None,
            key: None,
            value: value.as_deref(),
            headers: Headers::default(),
        };
        while !producer.try_send(record())? {
            producer.wait_for_room();
        }
    }
    match producer.wait(PATIENCE) {
        0 => Ok(()),
        waiting => Err(anyhow!("{waiting} input records are not delivered")),
    }
}

/// Reads a topic's committed records while they come, until `stop`. Returns their places.
fn watch(
    kafka: &KafkaSettings,
    topic: &str,
    stop: &CancellationToken,
) -> thread::JoinHandle<anyhow::Result<Vec<(i32, i64)>>> {
    let (kafka, topic, stop) = (kafka.clone(), topic.to_owned(), stop.clone());
    thread::spawn(move || {
        let mut reader = TopicReader::open(&kafka, &topic)?;
        let mut seen = Vec::new();
        while !stop.is_cancelled() {
            if let Some(record) = reader.next(Duration::from_millis(100))? {
                seen.push((record.partition(), record.offset()));
            }
        }
        Ok(seen)
    })
}

/// Records that a reader was shown as committed during the storm, and that are not there after it.
fn vanished(topic: &str, seen: &[(i32, i64)], records: &[StoredRecord]) -> Findings {
    let there: BTreeSet<(i32, i64)> = records
        .iter()
        .map(|record| (record.partition, record.offset))
        .collect();
    let mut findings = Findings::default();
    for (partition, offset) in seen.iter().filter(|place| !there.contains(place)) {
        findings.note(
            Kind::Lost,
            format!("{topic} had a record at {partition}/{offset}"),
        );
    }
    findings
}

/// The offset after the last record of each partition.
fn end_of(records: &[StoredRecord]) -> Offsets {
    records
        .iter()
        .map(|record| (record.partition, record.offset + 1))
        .collect()
}

/// What is looked at from outside of the storm.
struct Scene<'a> {
    kafka: &'a KafkaSettings,
    fixture: &'a Fixture,
    mode: Mode,
}

impl Scene<'_> {
    /// Waits until no transaction is open, nor being ended.
    fn await_settled(&self) -> anyhow::Result<()> {
        let topics = &self.fixture.topics;
        for topic in [&topics.predictions, &topics.feedback, &topics.dead_letters] {
            eventually(&format!("{topic} to settle"), PATIENCE, || {
                is_settled(self.kafka, topic).ok()?.then_some(())
            })?;
        }
        Ok(())
    }

    /// Waits until the classifiers have committed an outcome for every input. What they do not get done is lost.
    fn await_all_classified(&self, when: &str, storm: &mut Storm<'_>) -> anyhow::Result<Findings> {
        let input = &self.fixture.topics.input;
        let end = end_of(&self.fixture.records_from(self.kafka, input)?);
        let is_done = eventually("every record to be classified", PATIENCE, || {
            storm.attend().ok()?;
            self.committed().ok().filter(|offsets| *offsets == end)
        });
        let mut findings = Findings::default();
        if is_done.is_err() {
            let committed = self.committed()?;
            for (partition, end) in &end {
                let committed = committed.get(partition).copied().unwrap_or(0);
                if committed < *end {
                    let text = format!(
                        "{when} partition {partition} gets no further than offset {committed} of {end}"
                    );
                    findings.note(Kind::Lost, text);
                }
            }
        }
        Ok(findings)
    }

    /// The classifiers' committed offsets.
    fn committed(&self) -> anyhow::Result<Offsets> {
        let topic = &self.fixture.topics.input;
        let committed =
            |group: &str| Ok(GroupOffsets::open(self.kafka, group, topic)?.committed()?);
        match self.mode {
            Mode::Group => committed(&self.fixture.classifier_group()),
            Mode::Listed => {
                let mut all = Offsets::new();
                for partition in 0..self.fixture.topics.partitions {
                    all.extend(committed(&format!(
                        "unique_group_for_demo2_partition_{partition}"
                    ))?);
                }
                Ok(all)
            }
        }
    }

    fn books(&self) -> anyhow::Result<Books> {
        let topics = &self.fixture.topics;
        let records = |topic| self.fixture.records_from(self.kafka, topic);
        // Outcomes first: an input that came in meanwhile is not missed then.
        let (predictions, feedback) = (records(&topics.predictions)?, records(&topics.feedback)?);
        let dead_letters = records(&topics.dead_letters)?;
        let summaries = records(&topics.summaries)?;
        Ok(Books {
            input: records(&topics.input)?,
            predictions,
            feedback,
            dead_letters,
            summaries,
        })
    }

    /// The store's rows, once there are as many as feedback records, if that comes to pass.
    fn await_rows(&self, storm: &mut Storm<'_>) -> Option<Vec<(i32, i64)>> {
        let feedback = &self.fixture.topics.feedback;
        eventually("all feedback to be stored", PATIENCE, || {
            storm.attend().ok()?;
            let (rows, records) = (
                self.rows().ok()?,
                self.fixture.records_from(self.kafka, feedback).ok()?,
            );
            (rows.len() == records.len()).then_some(rows)
        })
        .ok()
    }

    /// The partition and offset of each row's feedback.
    fn rows(&self) -> anyhow::Result<Vec<(i32, i64)>> {
        runtime()?.block_on(async {
            let url = self.fixture.sqlite().as_str().into();
            let reader = FeedbackReader::new(&url, None)?;
            let rows: Vec<_> = reader.all().try_collect().await?;
            rows.iter()
                .map(|row| Ok((i32::try_from(row.source_partition)?, row.source_offset)))
                .collect()
        })
    }
}
