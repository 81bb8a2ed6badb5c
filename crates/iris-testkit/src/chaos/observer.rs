//! Observes the pipeline from outside: committed offsets, topics and the store.

use std::time::Duration;

use futures_util::TryStreamExt;
use iris_feedback_store::FeedbackReader;
use iris_kafka::{GroupOffsets, KafkaSettings, Positions, StoredRecord, is_settled, next_offset};

use super::action::Mode;
use super::storm::Storm;
use crate::fixture::Fixture;
use crate::ledger::{CommittedRecords, FindingKind, Findings};
use crate::runtime::runtime;
use crate::wait::eventually;

/// How long the pipeline may take to finish its work after the storm. A killed producer's transaction stays open for 15 s.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Observes the pipeline over connections that no fault affects.
#[derive(Clone, Copy)]
pub(super) struct Observer<'a> {
    pub(super) kafka: &'a KafkaSettings,
    pub(super) fixture: &'a Fixture,
    pub(super) mode: Mode,
}

impl Observer<'_> {
    /// Waits until no transaction is open or being completed.
    pub(super) fn await_settled(&self) -> anyhow::Result<()> {
        let topics = &self.fixture.topics;
        for topic in [&topics.predictions, &topics.feedback, &topics.dead_letters] {
            eventually(&format!("{topic} to settle"), TIMEOUT, || {
                is_settled(self.kafka, topic).ok()?.then_some(())
            })?;
        }
        Ok(())
    }

    /// Waits until the classifiers have committed offsets beyond `committed`.
    pub(super) fn await_progress(
        &self,
        committed: &Positions,
        storm: &mut Storm<'_>,
    ) -> anyhow::Result<()> {
        eventually("work to be in progress", TIMEOUT, || {
            storm.restart_ended().ok()?;
            (self.committed().ok()? != *committed).then_some(())
        })
    }

    /// Waits until the classifiers have committed an outcome for every input record. Records without one after the timeout
    /// are findings; `when` names the moment in them.
    pub(super) fn await_all_classified(
        &self,
        when: &str,
        storm: &mut Storm<'_>,
    ) -> anyhow::Result<Findings> {
        let input = &self.fixture.topics.input;
        let end = end_of(&self.fixture.records_from(self.kafka, input)?);
        let all = eventually("every record to be classified", TIMEOUT, || {
            storm.restart_ended().ok()?;
            self.committed().ok().filter(|offsets| *offsets == end)
        });
        let mut findings = Findings::default();
        if all.is_err() {
            let committed = self.committed()?;
            for (partition, end) in end.iter() {
                let committed = committed.get(partition).unwrap_or(0);
                if committed < end {
                    let case = format!(
                        "{when} partition {partition} stalls at offset {committed} of {end}"
                    );
                    findings.add(FindingKind::Lost, case);
                }
            }
        }
        Ok(findings)
    }

    /// Returns the classifiers' committed offsets.
    pub(super) fn committed(&self) -> anyhow::Result<Positions> {
        let topic = &self.fixture.topics.input;
        let committed =
            |group: &str| Ok(GroupOffsets::open(self.kafka, group, topic)?.committed()?);
        match self.mode {
            Mode::Group => committed(&self.fixture.classifier_group()),
            Mode::Listed => {
                let mut all = Positions::new();
                for partition in 0..self.fixture.topics.partitions {
                    let group = format!("unique_group_for_demo2_partition_{partition}");
                    all.extend(committed(&group)?);
                }
                Ok(all)
            }
        }
    }

    /// Returns the committed records of all topics.
    pub(super) fn records(&self) -> anyhow::Result<CommittedRecords> {
        let topics = &self.fixture.topics;
        let records = |topic| self.fixture.records_from(self.kafka, topic);
        // Outcomes are read first, so that each of them finds its input.
        let (predictions, feedback) = (records(&topics.predictions)?, records(&topics.feedback)?);
        let dead_letters = records(&topics.dead_letters)?;
        let summaries = records(&topics.summaries)?;
        Ok(CommittedRecords {
            input: records(&topics.input)?,
            predictions,
            feedback,
            dead_letters,
            summaries,
        })
    }

    /// Waits until the store has as many rows as there are feedback records. Returns the rows there are then, or after the
    /// timeout, each as the partition and offset of its feedback record.
    pub(super) fn await_rows(&self, storm: &mut Storm<'_>) -> anyhow::Result<Vec<(i32, i64)>> {
        let feedback = &self.fixture.topics.feedback;
        let rows = eventually("all feedback to be stored", TIMEOUT, || {
            storm.restart_ended().ok()?;
            let (rows, records) = (
                self.rows().ok()?,
                self.fixture.records_from(self.kafka, feedback).ok()?,
            );
            (rows.len() == records.len()).then_some(rows)
        });
        rows.or_else(|_| self.rows())
    }

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

/// Returns the offset after the last record of each partition.
pub(super) fn end_of(records: &[StoredRecord]) -> Positions {
    records
        .iter()
        .map(|record| (record.partition, next_offset(record.offset)))
        .collect()
}
