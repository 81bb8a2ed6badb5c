//! Observes the pipeline from outside: committed offsets, topics and the store.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use iris_feedback_store::FeedbackReader;
use iris_kafka::{KafkaSettings, Positions, StoredRecord, TransactionalProducer, is_settled};
use tokio_util::sync::CancellationToken;

use super::groups::Groups;
use super::storm::Storm;
use crate::broker::Broker;
use crate::fixture::Fixture;
use crate::group_lag::GroupLag;
use crate::ledger::{CommittedRecords, FindingKind, Findings, Truncations};
use crate::runtime::runtime;
use crate::wait::{TIMEOUT, eventually};

/// How long after the last record a consumer group may have a lag.
const SETTLED: Duration = Duration::from_secs(5);

/// Observes the pipeline over connections that no fault affects.
#[derive(Clone, Copy)]
pub(super) struct Observer<'a> {
    pub(super) kafka: &'a KafkaSettings,
    pub(super) fixture: &'a Fixture,
    pub(super) groups: &'a Groups,
}

impl Observer<'_> {
    /// Ends the open transactions of killed producers at once, as their successors would, and not after the transaction timeout.
    pub(super) fn end_transactions(&self, transactional_ids: &[String]) -> anyhow::Result<()> {
        let never = CancellationToken::new();
        for id in transactional_ids {
            TransactionalProducer::new(self.kafka, "iris-testkit", id)?
                .prepare(&never, &mut |_| ())?;
        }
        Ok(())
    }

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
            (self.groups.committed().ok()? != *committed).then_some(())
        })
    }

    /// Waits until the classifiers have committed the end of the input. Records before it that are not committed after the
    /// timeout are findings; `when` names the moment in them.
    pub(super) fn await_all_classified(
        &self,
        when: &str,
        end: &Positions,
        storm: &mut Storm<'_>,
    ) -> anyhow::Result<Findings> {
        let all = eventually("every record to be classified", TIMEOUT, || {
            storm.restart_ended().ok()?;
            let offsets = self.groups.committed().ok()?;
            (offsets == *end).then_some(())
        });
        let mut findings = Findings::default();
        if all.is_err() {
            let committed = self.committed()?;
            for (partition, end) in end.iter() {
                let committed = committed.get(partition).unwrap_or(0);
                if committed != end {
                    let case = format!(
                        "{when} partition {partition} stalls at offset {committed} of {end}"
                    );
                    findings.add(FindingKind::Lost, case);
                }
            }
        }
        Ok(findings)
    }

    /// Returns the classifiers' committed offsets. A coordinator that was restarted may not answer at first.
    pub(super) fn committed(&self) -> anyhow::Result<Positions> {
        let read = || self.groups.committed();
        eventually("the committed offsets", TIMEOUT, || read().ok()).or_else(|_| read())
    }

    /// Returns the committed records of the topics of outcomes and summaries, with these input records.
    pub(super) fn records(&self, input: Vec<StoredRecord>) -> anyhow::Result<CommittedRecords> {
        let read = |topic: &str| self.read(topic);
        CommittedRecords::read(&self.fixture.topics, input, read)
    }

    /// Compares the input topic with the records that were appended to it. Those before a partition's `truncations` may be
    /// deleted.
    pub(super) fn audit_input(
        &self,
        appended: &[StoredRecord],
        truncations: &Truncations,
    ) -> anyhow::Result<Findings> {
        let place = |record: &StoredRecord| (record.partition, record.offset);
        let found = self.read(&self.fixture.topics.input)?;
        let mut found: BTreeMap<_, _> =
            found.iter().map(|record| (place(record), record)).collect();
        let mut findings = Findings::default();
        for record in appended {
            let (partition, offset) = place(record);
            match found.remove(&(partition, offset)) {
                Some(found) if found == record => {}
                None if offset < truncations.start(partition) => {}
                _ => {
                    let case = format!(
                        "the input record {partition}/{offset} is not the one that was sent"
                    );
                    findings.add(FindingKind::Wrong, case);
                }
            }
        }
        for (partition, offset) in found.into_keys() {
            let case = format!("the input record {partition}/{offset} was not sent");
            findings.add(FindingKind::Wrong, case);
        }
        Ok(findings)
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

    /// Finds consumer groups that have a lag some time after the last record, as Kafka's own tool reports it. Nothing is checked
    /// where the tool cannot run.
    pub(super) fn audit_lags(&self) -> anyhow::Result<Findings> {
        let mut findings = Findings::default();
        if !Broker::can_be_local() {
            return Ok(findings);
        }
        let lags = GroupLag::await_none(self.kafka, self.fixture.name(), SETTLED)?;
        if lags.is_empty() {
            let case = "Kafka's tool knows no consumer group".to_owned();
            findings.add(FindingKind::Wrong, case);
        }
        for lag in lags.iter().filter(|lag| !lag.is_none()) {
            let case = format!("after the last record, a group has a lag: {lag:?}");
            findings.add(FindingKind::Wrong, case);
        }
        Ok(findings)
    }

    /// Reads a topic. A broker that was restarted may not know it yet.
    fn read(&self, topic: &str) -> anyhow::Result<Vec<StoredRecord>> {
        let read = || self.fixture.records_from(self.kafka, topic);
        eventually(&format!("{topic} to be read"), TIMEOUT, || read().ok()).or_else(|_| read())
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
