//! A simulated sensor that measures flowers, and their labels.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use iris_core::{Dataset, Schema};
use iris_kafka::{Headers, OutgoingRecord, ProduceError, Producer};
use iris_testkit::{Fixture, IgnoreDeliveries, dataset, eventually, get, send};
use serde_json::{Value, json};

use crate::pipeline::{TIMEOUT, predictions, value};

/// The time between two records.
const INTERVAL: Duration = Duration::from_millis(10);

/// The largest number of records that the trainer has not read. On a slow machine, the sensor waits for it.
const BACKLOG: usize = 150;

/// The shift of the petals' length and width, in centimetres.
pub(crate) const SHIFT: (f64, f64) = (0.8, 0.27);

/// The number of records between two looks at the backlog.
const CHECK_INTERVAL: usize = 10;

/// The metric of the records that the trainer has read.
const READ: &str = "iris_trainer_records_read_total{kind=\"prediction\"}";

/// Sends measurements of the dataset's flowers, one after the other.
pub(crate) struct Sensor<'a> {
    fixture: &'a Fixture,
    producer: Producer<IgnoreDeliveries>,
    rows: Dataset,
    /// The port of the trainer's metrics.
    trainer: u16,
    /// The class of each record sent, by id.
    truths: Vec<String>,
}

impl<'a> Sensor<'a> {
    /// Connects the sensor; `trainer` is the port of the trainer's metrics.
    pub(crate) fn start(fixture: &'a Fixture, trainer: u16) -> anyhow::Result<Self> {
        Ok(Self {
            fixture,
            producer: Producer::start(&fixture.kafka, "demo-learning", IgnoreDeliveries)?,
            rows: Dataset::parse(&fs::read(dataset("iris.csv"))?, &Schema::default())?,
            trainer,
            truths: Vec::new(),
        })
    }

    /// Waits until the trainer has read all but [`BACKLOG`] records.
    fn await_trainer(&self) -> anyhow::Result<()> {
        let sent = self.truths.len();
        if sent <= BACKLOG {
            return Ok(());
        }
        eventually("the trainer to keep up", TIMEOUT, || {
            let (_, metrics) = get(self.trainer, "/metrics")?;
            let read = metrics.lines().find_map(|line| line.strip_prefix(READ))?;
            (read.trim().parse::<usize>().ok()? + BACKLOG >= sent).then_some(())
        })
    }

    /// Sends the next `count` flowers without their classes. With `is_labelled`, a label follows each record.
    pub(crate) fn measure(
        &mut self,
        count: usize,
        is_shifted: bool,
        is_labelled: bool,
    ) -> anyhow::Result<()> {
        let schema = Schema::default();
        for _ in 0..count {
            let id = self.truths.len();
            if id.is_multiple_of(CHECK_INTERVAL) {
                self.await_trainer()?;
            }
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
            let truth = self.rows.label(row).unwrap_or_default();
            self.truths.push(truth.to_owned());
            if is_labelled {
                self.label(id)?;
            }
            thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// Sends the label of a record.
    pub(crate) fn label(&self, id: usize) -> Result<(), ProduceError> {
        let label = json!({ &Schema::default().label: self.truths[id] });
        let topic = &self.fixture.topics.labels;
        self.append(topic, None, &id.to_string(), &label)
    }

    fn append(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: &str,
        value: &Value,
    ) -> Result<(), ProduceError> {
        let value = value.to_string();
        send(&self.producer, || OutgoingRecord {
            topic,
            partition,
            timestamp: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        })
    }

    /// Waits until all records are classified. Returns for each, by id, whether its prediction is correct.
    pub(crate) fn is_correct_by_id(&self) -> anyhow::Result<Vec<bool>> {
        let mut is_correct = vec![None; self.truths.len()];
        for prediction in predictions(self.fixture, self.truths.len())? {
            let value = value(&prediction)?;
            let id = value["Id"].as_u64().context("a prediction without an id")?;
            let id = usize::try_from(id)?;
            is_correct[id] = Some(value["PredictedSpecies"] == self.truths[id].as_str());
        }
        let is_correct: Option<Vec<bool>> = is_correct.into_iter().collect();
        is_correct.context("a record has no prediction")
    }

    /// Waits until all records are delivered.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.producer.wait(TIMEOUT) {
            0 => Ok(()),
            waiting => bail!("{waiting} records were not delivered"),
        }
    }
}
