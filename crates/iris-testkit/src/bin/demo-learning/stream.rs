//! A stream of records and of their labels.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use iris_core::Schema;
use iris_kafka::{Headers, OutgoingRecord, ProduceError};
use iris_testkit::{Fixture, Sender, eventually, get};
use serde_json::{Value, json};

use crate::pipeline::{TIMEOUT, Trainer, model_version, predictions, value};

/// The number of records between two looks at the backlog.
const CHECK_INTERVAL: usize = 10;

/// The metric of the records that the trainer has read.
const READ: &str = "iris_trainer_records_read_total{kind=\"prediction\"}";

/// How fast records are sent.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// The time between two records.
    pub(crate) interval: Duration,
    /// The largest number of records that the trainer has not read. On a slow machine, the stream waits for it.
    pub(crate) backlog: usize,
}

/// The prediction of a record.
pub(crate) struct Served {
    /// Whether it is correct.
    pub(crate) is_correct: bool,
    /// The version of the model that made it.
    pub(crate) version: String,
}

/// Sends records, whose ids are numbers from 0, and their labels.
pub(crate) struct Stream<'a> {
    fixture: &'a Fixture,
    sender: Sender,
    schema: Schema,
    pace: Pace,
    /// The port of the trainer's metrics.
    trainer: u16,
    /// The class of each record sent, by id.
    truths: Vec<String>,
}

impl<'a> Stream<'a> {
    /// Connects to the broker.
    pub(crate) fn start(
        fixture: &'a Fixture,
        schema: Schema,
        trainer: &Trainer,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            fixture,
            sender: Sender::start(&fixture.kafka, "demo-learning")?,
            schema,
            pace,
            trainer: trainer.port,
            truths: Vec::new(),
        })
    }

    /// Returns the number of records sent.
    pub(crate) fn len(&self) -> usize {
        self.truths.len()
    }

    /// Waits until the trainer has read all but the allowed backlog.
    fn await_trainer(&self) -> anyhow::Result<()> {
        let (sent, backlog) = (self.truths.len(), self.pace.backlog);
        if sent <= backlog {
            return Ok(());
        }
        eventually("the trainer to keep up", TIMEOUT, || {
            let (_, metrics) = get(self.trainer, "/metrics")?;
            let read = metrics.lines().find_map(|line| line.strip_prefix(READ))?;
            (read.trim().parse::<usize>().ok()? + backlog >= sent).then_some(())
        })
    }

    /// Sends the next record without its class. With `is_labelled`, its label follows.
    pub(crate) fn send(
        &mut self,
        features: &[f64],
        truth: &str,
        is_labelled: bool,
    ) -> anyhow::Result<()> {
        let id = self.truths.len();
        if id.is_multiple_of(CHECK_INTERVAL) {
            self.await_trainer()?;
        }
        let mut record = json!({ &self.schema.id: id });
        for (feature, &value) in self.schema.features.iter().zip(features) {
            record[feature] = json!(value);
        }
        let partitions = i64::from(self.fixture.topics.partitions);
        let partition = i32::try_from(id as i64 % partitions)?;
        let topic = &self.fixture.topics.input;
        self.append(topic, Some(partition), &id.to_string(), &record)?;
        self.truths.push(truth.to_owned());
        if is_labelled {
            self.label(id)?;
        }
        thread::sleep(self.pace.interval);
        Ok(())
    }

    /// Sends the label of a record.
    pub(crate) fn label(&self, id: usize) -> Result<(), ProduceError> {
        let label = json!({ &self.schema.label: self.truths[id] });
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
        self.sender.send(|| OutgoingRecord {
            topic,
            partition,
            timestamp: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        })
    }

    /// Waits until all records are classified. Returns their predictions by id.
    pub(crate) fn served(&self) -> anyhow::Result<Vec<Served>> {
        let mut served: Vec<Option<Served>> = self.truths.iter().map(|_| None).collect();
        let predicted = self.schema.predicted_field();
        for prediction in predictions(self.fixture, self.truths.len())? {
            let value = value(&prediction)?;
            let id = value[&self.schema.id].as_u64();
            let id = usize::try_from(id.context("a prediction without an id")?)?;
            served[id] = Some(Served {
                is_correct: value[&predicted] == self.truths[id].as_str(),
                version: model_version(&prediction)?,
            });
        }
        let served: Option<Vec<Served>> = served.into_iter().collect();
        served.context("a record has no prediction")
    }

    /// Waits until all records are delivered.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.sender.finish(TIMEOUT)
    }
}

/// Returns the share of correct predictions.
pub(crate) fn accuracy(served: &[Served]) -> f64 {
    let correct = served.iter().filter(|served| served.is_correct).count();
    correct as f64 / served.len() as f64
}
