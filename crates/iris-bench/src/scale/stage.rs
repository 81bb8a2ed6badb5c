//! The topics of a run, and the input that is written before it starts.

use std::time::Duration;

use anyhow::{Context, ensure};
use iris_contract::Topics;
use iris_kafka::{Admin, Headers, OutgoingRecord, TransactionalProducer, end_offsets};
use iris_testkit::{Fixture, runtime};
use tokio_util::sync::CancellationToken;

use crate::testbed::{NAME, Testbed};

/// How long to wait after a deletion until the topics' files are removed.
const SETTLE: Duration = Duration::from_millis(500);

/// The transaction timeout of the input, in milliseconds: classifiers start while its transaction is open.
const TRANSACTION_TIMEOUT_MS: &str = "300000";

/// The programs whose topics are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// `scale-worker`.
    ScaleWorker,
    /// Classifiers.
    Classifiers,
    /// Classifiers and a trainer.
    ClassifiersAndTrainer,
}

impl Programs {
    fn need(self, topics: &Topics, name: &str) -> bool {
        let of_trainer = [&topics.labels, &topics.trainer_state];
        let copied = [&topics.input, &topics.predictions, &topics.summaries];
        match self {
            Self::ScaleWorker => copied.iter().any(|topic| *topic == name),
            Self::Classifiers => of_trainer.iter().all(|topic| *topic != name),
            Self::ClassifiersAndTrainer => true,
        }
    }
}

/// The topics and settings of one run.
#[derive(Debug)]
pub struct Stage<'a> {
    testbed: &'a Testbed,
    /// The settings and the topics' names.
    pub fixture: Fixture,
    /// The number of partitions of the input and of the topics with outcomes.
    pub partitions: i32,
    created: Vec<String>,
}

impl<'a> Stage<'a> {
    /// Creates the topics that the programs need.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn set(
        testbed: &'a Testbed,
        partitions: i32,
        programs: Programs,
        settings: &str,
    ) -> anyhow::Result<Self> {
        let fixture = Fixture::for_broker(&testbed.kafka().bootstrap_servers)?;
        fixture.set(settings)?;
        let topics = Topics {
            partitions,
            replication_factor: testbed.replication_factor,
            ..fixture.topics.clone()
        };
        let specs: Vec<_> = iris_admin::topic_specs(&topics)
            .into_iter()
            .filter(|spec| programs.need(&topics, &spec.name))
            .collect();
        let admin = Admin::new(&testbed.kafka(), NAME)?;
        runtime()?.block_on(admin.create(&specs, false))?;
        Ok(Self {
            testbed,
            fixture,
            partitions,
            created: specs.into_iter().map(|spec| spec.name).collect(),
        })
    }

    /// Writes records to the input in a transaction that stays open, so that classifiers see none of them before it is committed.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn hold(&self, records: u64) -> anyhow::Result<HeldInput> {
        let mut kafka = self.testbed.kafka();
        let timeout = TRANSACTION_TIMEOUT_MS.to_owned();
        kafka
            .librdkafka
            .insert("transaction.timeout.ms".to_owned(), timeout);
        let id = format!("{}-input", self.fixture.name());
        let mut producer = TransactionalProducer::new(&kafka, NAME, &id)?;
        producer.prepare(&CancellationToken::new(), &mut |_| ())?;
        producer.begin()?;
        let topic = &self.fixture.topics.input;
        let values = self.testbed.values.iter().cycle();
        let turns = values.zip((0..self.partitions).cycle());
        for (_, (value, partition)) in (0..records).zip(turns) {
            producer.send(OutgoingRecord {
                topic,
                partition: Some(partition),
                timestamp: None,
                key: None,
                value: Some(value),
                headers: Headers::default(),
            })?;
        }
        Ok(HeldInput(producer))
    }

    /// Returns the number of transaction markers in the topics that classifiers write to, if they have written `records` records
    /// there.
    ///
    /// # Errors
    /// If there are fewer offsets than records.
    pub fn markers(&self, records: f64) -> anyhow::Result<f64> {
        let topics = &self.fixture.topics;
        let mut offsets = 0.0;
        for topic in [
            &topics.predictions,
            &topics.feedback,
            &topics.dead_letters,
            &topics.summaries,
        ] {
            let ends = end_offsets(&self.testbed.kafka(), topic)?;
            offsets += ends.values().sum::<i64>() as f64;
        }
        ensure!(
            offsets >= records,
            "the classifiers wrote {offsets} records and markers; {records} records were expected"
        );
        Ok(offsets - records)
    }

    /// Deletes the topics.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn clear(self) -> anyhow::Result<()> {
        let topics: Vec<&str> = self.created.iter().map(String::as_str).collect();
        let admin = Admin::new(&self.testbed.kafka(), NAME)?;
        runtime()?.block_on(admin.delete(&topics))?;
        std::thread::sleep(SETTLE);
        Ok(())
    }
}

/// Records in a transaction that is still open.
#[derive(Debug)]
pub struct HeldInput(TransactionalProducer);

impl HeldInput {
    /// Commits the transaction: from then on, all records can be read.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn release(mut self) -> anyhow::Result<()> {
        self.0.commit().context("committing the input")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_need_their_own_topics_only() {
        let topics = Topics::default();
        let needed = |programs: Programs| {
            let names = topics.names();
            let needed = names
                .iter()
                .filter(|(_, name)| programs.need(&topics, name));
            needed.map(|(key, _)| *key).collect::<Vec<_>>()
        };
        assert_eq!(
            needed(Programs::ScaleWorker),
            ["input", "predictions", "summaries"]
        );
        assert_eq!(needed(Programs::Classifiers).len(), 6);
        assert_eq!(needed(Programs::ClassifiersAndTrainer).len(), 8);
    }
}
