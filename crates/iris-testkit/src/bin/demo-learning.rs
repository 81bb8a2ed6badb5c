//! The loop that learns, on a real Kafka.
//!
//! First act: the paper's 150 rows are replayed in rounds, and the trainer learns from each round's mispredictions; then
//! the champion is rolled back, and the next round is answered as before. Second act: the sensor shifts, accuracy falls,
//! labels come late, and the loop recovers with nobody touching it.
//!
//! Prints tables, and writes the figures to `target/demo/learning.json`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use iris_core::{Dataset, PROVENANCE_HEADER, Provenance, Schema};
use iris_kafka::{
    Delivery, DeliveryListener, Headers, OutgoingRecord, ProduceError, Producer, StoredRecord,
};
use iris_testkit::{Broker, Ended, Fixture, Running, dataset, eventually, workspace};
use serde::Serialize;
use serde_json::{Value, json};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon every replica has to serve a new champion.
const SOON: Duration = Duration::from_secs(2);

const ROUNDS: usize = 4;

/// Records over which accuracy is told.
const WINDOW: usize = 300;

/// Records within which the loop is to recover.
const RECOVERY: usize = 600;

/// The time between the records of the second act.
const PACE: Duration = Duration::from_millis(10);

/// What the sensor's shift adds to the petals' length and width, in centimetres.
const SHIFT: (f64, f64) = (0.8, 0.27);

#[derive(Serialize)]
struct Round {
    round: usize,
    model_version: String,
    mispredicted_ids: Vec<u64>,
    holdout_accuracy: f64,
}

#[derive(Serialize)]
struct RolledBack {
    seconds_until_served: f64,
    round: Round,
}

#[derive(Serialize)]
struct DriftAct {
    accuracy_before: f64,
    accuracy_fallen: f64,
    drift_events: Vec<String>,
    records_to_recover: Option<usize>,
    accuracy_recovered: f64,
    promotions: usize,
}

#[derive(Serialize)]
struct Summary {
    broker: String,
    rounds: Vec<Round>,
    versions: usize,
    rollback: RolledBack,
    drift: DriftAct,
    elapsed_s: f64,
}

fn main() -> anyhow::Result<()> {
    let directory = workspace().join("target/demo");
    let data = directory.join("learning");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let started = Instant::now();
    let broker = Broker::obtain(&data)?;
    println!("broker: {}\n", broker.description);
    let (rounds, versions, rollback) = on_topics_of_its_own(&broker, replay)?;
    let drift = on_topics_of_its_own(&broker, shift)?;
    let summary = Summary {
        broker: broker.description.clone(),
        rounds,
        versions,
        rollback,
        drift,
        elapsed_s: started.elapsed().as_secs_f64(),
    };
    let text = serde_json::to_string_pretty(&summary)?;
    fs::write(directory.join("learning.json"), &text)?;
    println!("\nThe figures are in target/demo/learning.json");
    Ok(())
}

fn on_topics_of_its_own<T>(
    broker: &Broker,
    act: impl FnOnce(&Fixture) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let fixture = Fixture::for_broker(&broker.bootstrap_servers)?;
    fixture.create_topics()?;
    let acted = act(&fixture);
    if !broker.is_own {
        fixture.run("iris-admin", &["topics", "delete", "--yes"])?;
    }
    acted
}

fn succeed(service: &str, ended: Ended) -> anyhow::Result<Ended> {
    ensure!(ended.code == Some(0), "{service} failed: {}", ended.stderr);
    Ok(ended)
}

/// The classifiers of the paper, a process for each partition, as they come to serve a version.
struct Classifiers(Vec<Running>);

impl Classifiers {
    fn start(fixture: &Fixture) -> anyhow::Result<Self> {
        let partitions = 0..fixture.topics.partitions;
        let start = |n| fixture.start("iris-classifier", &[&format!("--partition={n}")]);
        let classifiers = Self(partitions.map(start).collect::<Result<_, _>>()?);
        classifiers.await_line("serving model ")?;
        Ok(classifiers)
    }

    fn await_line(&self, line: &str) -> anyhow::Result<()> {
        for classifier in &self.0 {
            classifier.line_with(line, PATIENCE)?;
        }
        Ok(())
    }

    /// How often a classifier has come to serve this version.
    fn times_served(&self, version: &str) -> Vec<usize> {
        let line = format!("serving model {version}");
        let times =
            |running: &Running| running.lines().iter().filter(|l| l.contains(&line)).count();
        self.0.iter().map(times).collect()
    }
}

fn models(fixture: &Fixture, args: &[&str]) -> anyhow::Result<Value> {
    let args = [&["models"], args, &["--json"]].concat();
    let ended = succeed("iris-admin", fixture.run("iris-admin", &args)?)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn champion(fixture: &Fixture) -> anyhow::Result<String> {
    let listed = models(fixture, &["list"])?;
    let champion = listed["champion"].as_str();
    Ok(champion.context("there is no champion")?.to_owned())
}

fn holdout_accuracy(fixture: &Fixture, version: &str) -> anyhow::Result<f64> {
    let shown = models(fixture, &["show", version])?;
    shown["lineage"]["metrics"]["holdout_accuracy"]
        .as_f64()
        .context("the model does not say how accurate it is")
}

fn value(record: &StoredRecord) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(
        record.value.as_deref().unwrap_or_default(),
    )?)
}

fn model_version(record: &StoredRecord) -> anyhow::Result<String> {
    let header = record.header(PROVENANCE_HEADER).unwrap_or_default();
    let provenance: Provenance = std::str::from_utf8(header)?.parse()?;
    Ok(provenance.model_version.to_string())
}

/// Waits for as many predictions as there are to be.
fn predictions(fixture: &Fixture, count: usize) -> anyhow::Result<Vec<StoredRecord>> {
    eventually("every record to be classified", PATIENCE, || {
        let predictions = fixture.records(&fixture.topics.predictions).ok()?;
        (predictions.len() >= count).then_some(predictions)
    })
}

/// Streams the paper's rows once more. Returns what became of them, all answered by one version.
fn round(fixture: &Fixture, round: usize) -> anyhow::Result<Round> {
    let before = fixture.records(&fixture.topics.predictions)?;
    let seen: BTreeMap<i32, i64> = before.iter().map(|r| (r.partition, r.offset)).collect();
    let file = dataset("iris.csv").display().to_string();
    let args = ["--file", &file, "--interval-ms", "0"];
    succeed("iris-producer", fixture.run("iris-producer", &args)?)?;
    let answered: Vec<StoredRecord> = predictions(fixture, before.len() + 150)?
        .into_iter()
        .filter(|r| seen.get(&r.partition).is_none_or(|&last| r.offset > last))
        .collect();
    let version = model_version(answered.first().context("no predictions")?)?;
    let mut mispredicted_ids = Vec::new();
    for record in &answered {
        ensure!(
            model_version(record)? == version,
            "a round was answered by two versions"
        );
        let value = value(record)?;
        if value["Species"] != value["PredictedSpecies"] {
            mispredicted_ids.push(value["Id"].as_u64().context("a record without an id")?);
        }
    }
    mispredicted_ids.sort_unstable();
    let round = Round {
        round,
        mispredicted_ids,
        holdout_accuracy: holdout_accuracy(fixture, &version)?,
        model_version: version,
    };
    println!(
        "{:>5}   {}   {:>14}   {:>16.4}",
        round.round,
        round.model_version,
        round.mispredicted_ids.len(),
        round.holdout_accuracy
    );
    Ok(round)
}

fn replay(fixture: &Fixture) -> anyhow::Result<(Vec<Round>, usize, RolledBack)> {
    fixture.set(
        "[trainer]\npolicy = \"append\"\ncorrect_sample_ratio = 0\npromotion_margin = 0.05\n",
    )?;
    let classifiers = Classifiers::start(fixture)?;
    println!("round   model version      mispredictions   holdout accuracy");
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        rounds.push(round(fixture, number)?);
        succeed("iris-trainer", fixture.run("iris-trainer", &["--once"])?)?;
        classifiers.await_line(&format!("serving model {}", champion(fixture)?))?;
    }
    let listed = succeed(
        "iris-admin",
        fixture.run("iris-admin", &["models", "list"])?,
    )?;
    println!("\n$ iris-admin models list\n{}", listed.stdout);

    let versions = models(fixture, &["list"])?["models"]
        .as_array()
        .map_or(0, Vec::len);
    let reason = "to see the old figures again";
    let predecessor = rounds[ROUNDS - 2].model_version.clone();
    let times_before = classifiers.times_served(&predecessor);
    let since = Instant::now();
    models(fixture, &["rollback", "--reason", reason])?;
    eventually(
        "every replica to serve the champion again",
        PATIENCE,
        || {
            let times = classifiers.times_served(&predecessor);
            times
                .iter()
                .zip(&times_before)
                .all(|(now, before)| now > before)
                .then_some(())
        },
    )?;
    let served = since.elapsed();
    ensure!(served < SOON, "the rollback took {served:?}");
    println!(
        "Rolled back to {predecessor}, served by every replica after {:.2} s:",
        served.as_secs_f64()
    );
    let rolled_back = RolledBack {
        seconds_until_served: served.as_secs_f64(),
        round: round(fixture, ROUNDS + 1)?,
    };
    Ok((rounds, versions, rolled_back))
}

struct MustDeliver;

impl DeliveryListener for MustDeliver {
    fn delivered(&self, _: Delivery<'_>) {}
}

/// Appends records and labels at a pace.
struct Sensor<'a> {
    fixture: &'a Fixture,
    producer: Producer<MustDeliver>,
    rows: Dataset,
    /// The class of each record sent, by id.
    truths: Vec<String>,
}

impl Sensor<'_> {
    fn append(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: &str,
        value: &Value,
    ) -> Result<(), ProduceError> {
        let value = value.to_string();
        let record = || OutgoingRecord {
            topic,
            partition,
            timestamp: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        };
        while !self.producer.try_send(record())? {
            self.producer.wait_for_room();
        }
        Ok(())
    }

    /// Measures flowers one after the other, each time the next row of the dataset; they have no label.
    fn measure(&mut self, count: usize, is_shifted: bool, is_labelled: bool) -> anyhow::Result<()> {
        let schema = Schema::default();
        for _ in 0..count {
            let id = self.truths.len();
            let row = id % self.rows.len();
            let mut record = json!({ &schema.id: id });
            let shift = |feature: &str| match feature {
                "PetalLengthCm" if is_shifted => SHIFT.0,
                "PetalWidthCm" if is_shifted => SHIFT.1,
                _ => 0.0,
            };
            for (feature, &value) in schema.features.iter().zip(self.rows.features(row)) {
                record[feature] = json!(value + shift(feature));
            }
            let partitions = i64::from(self.fixture.topics.partitions);
            let partition = i32::try_from(id as i64 % partitions)?;
            let topic = &self.fixture.topics.input;
            self.append(topic, Some(partition), &id.to_string(), &record)?;
            self.truths.push(self.rows.label(row).to_owned());
            if is_labelled {
                self.label(id)?;
            }
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    /// Says what a record was.
    fn label(&self, id: usize) -> Result<(), ProduceError> {
        let label = json!({ &Schema::default().label: self.truths[id] });
        let topic = &self.fixture.topics.labels;
        self.append(topic, None, &id.to_string(), &label)
    }

    /// Whether each record was predicted right, by id.
    fn answers(&self) -> anyhow::Result<Vec<bool>> {
        let mut answers = vec![None; self.truths.len()];
        for prediction in predictions(self.fixture, self.truths.len())? {
            let value = value(&prediction)?;
            let id = value["Id"].as_u64().context("a prediction without an id")?;
            let id = usize::try_from(id)?;
            answers[id] = Some(value["PredictedSpecies"] == self.truths[id].as_str());
        }
        let answers: Option<Vec<bool>> = answers.into_iter().collect();
        answers.context("a record has no prediction")
    }
}

fn accuracy(answers: &[bool]) -> f64 {
    answers.iter().filter(|&&is_right| is_right).count() as f64 / answers.len() as f64
}

fn shift(fixture: &Fixture) -> anyhow::Result<DriftAct> {
    fixture.set(
        "[trainer]\nretrain_after_rows = 30\ncorrect_sample_ratio = 1\npromotion_margin = 0.1\non_drift = \"retrain\"\n",
    )?;
    let _classifiers = Classifiers::start(fixture)?;
    let mut trainer = fixture.start("iris-trainer", &[])?;
    trainer.line_with("learning from ", PATIENCE)?;
    let mut sensor = Sensor {
        fixture,
        producer: Producer::start(&fixture.kafka, "demo-learning", MustDeliver)?,
        rows: Dataset::parse(&fs::read(dataset("iris.csv"))?, &Schema::default())?,
        truths: Vec::new(),
    };
    println!("\nThe sensor measures {WINDOW} flowers; labels follow at once.");
    sensor.measure(WINDOW, false, true)?;
    let accuracy_before = accuracy(&sensor.answers()?);
    println!("accuracy {accuracy_before:.4}");
    println!(
        "It shifts, petals by {} and {} cm; {WINDOW} flowers without labels.",
        SHIFT.0, SHIFT.1
    );
    sensor.measure(WINDOW, true, false)?;
    let accuracy_fallen = accuracy(&sensor.answers()?[WINDOW..]);
    println!("accuracy {accuracy_fallen:.4}");
    println!("Their labels come late, and from now on labels follow at once.");
    for id in WINDOW..2 * WINDOW {
        sensor.label(id)?;
    }
    sensor.measure(RECOVERY, true, true)?;
    let since = &sensor.answers()?[2 * WINDOW..];
    let recovered = (WINDOW..=RECOVERY).find(|&end| accuracy(&since[end - WINDOW..end]) > 0.95);
    let accuracy_recovered = accuracy(&since[RECOVERY - WINDOW..]);
    match recovered {
        Some(records) => println!(
            "accuracy over {WINDOW} records above 0.95 after {records} records, {accuracy_recovered:.4} at the end"
        ),
        None => println!("accuracy {accuracy_recovered:.4} at the end: not recovered"),
    }
    let status = trainer.terminate(PATIENCE)?;
    ensure!(
        status.success(),
        "the trainer failed: {}",
        trainer.lines().join("\n")
    );
    if sensor.producer.wait(PATIENCE) > 0 {
        bail!("not all records were delivered");
    }
    let drift_events: Vec<String> = trainer
        .lines()
        .iter()
        .filter_map(|line| Some(line.split_once("drift: ")?.1.to_owned()))
        .collect();
    for event in &drift_events {
        println!("drift: {event}");
    }
    let decisions = models(fixture, &["list"])?["decisions"].clone();
    let promotions = decisions.as_array().map_or(0, |decisions| {
        decisions
            .iter()
            .filter(|d| d["action"] == "promoted")
            .count()
    });
    println!("{promotions} challengers were promoted.");
    Ok(DriftAct {
        accuracy_before,
        accuracy_fallen,
        drift_events,
        records_to_recover: recovered,
        accuracy_recovered,
        promotions,
    })
}
