//! The interface between a worker and the code that processes its records.

use std::time::Duration;

use crate::exactly_once::attempt::Omitted;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::refused::Refused;
use crate::record::{InputRecord, OutgoingRecord};

/// Turns input records into outcomes.
///
/// Records come in as plain values and outcomes go to a trait, so that an implementation can be tested without a cluster.
pub trait Processor: Send + 'static {
    /// Called when a transaction has been opened, before its first record.
    fn begun(&mut self) {}

    /// Returns the topics that have an outcome in the partition of its input record. Partitions of the input that one of
    /// these topics does not have are not processed.
    fn partitioned_outputs(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns a topic that records of whole transactions are sent to, in any of its partitions.
    fn transaction_output(&self) -> Option<String> {
        None
    }

    /// Called when the number of partitions of the [transaction output](Self::transaction_output) is known, and when it has
    /// changed. The client can send to all of them.
    fn counted_partitions(&mut self, _partitions: i32) {}

    /// Called when input partitions were assigned to the worker, or revoked.
    fn reassigned(&mut self, _partitions: &[i32]) {}

    /// Processes a record by sending its outcome. Called again for the same record if the transaction fails.
    ///
    /// # Errors
    /// Only those of [`Outcomes::send`]. A record that cannot be processed is an outcome, not an error.
    fn process(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault>;

    /// Dead-letters a record because a topic refused its outcome. The dead letter leaves out the parts that were refused as
    /// well.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn dead_letter(
        &mut self,
        record: &InputRecord<'_>,
        refusal: Refusal<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault>;

    /// Called before the transaction of all records since the last commit or abort is committed; the records that are sent
    /// here are its last. The commit can still fail.
    ///
    /// # Errors
    /// Only those of [`Outcomes::send`].
    fn committing(&mut self, _outcomes: &mut dyn Outcomes) -> Result<(), Fault> {
        Ok(())
    }

    /// Called when the transaction of all records since the last commit or [abort](Self::aborted) has been committed;
    /// committing it took `duration`.
    fn committed(&mut self, duration: Duration);

    /// Called when that transaction has failed. Its records will be processed again, here or elsewhere.
    fn aborted(&mut self, fault: &Fault);
}

/// Why a record is dead-lettered rather than processed.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The outcome that a topic refused.
    pub refused: &'a Refused,
    /// The parts that the dead letter leaves out, because the dead-letter topic refused them.
    pub omitted: Omitted,
}

/// Receives the outcomes of input records: the open transaction or, in a test, a list.
pub trait Outcomes {
    /// Adds a record to the transaction.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot continue. The caller must return it.
    fn send(&mut self, record: OutgoingRecord<'_>) -> Result<(), Fault>;
}
