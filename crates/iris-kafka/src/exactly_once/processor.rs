//! The interface between a worker and the code that processes its records.

use std::time::Duration;

use crate::exactly_once::fault::Fault;
use crate::record::{InputRecord, OutgoingRecord};

/// Turns input records into outcomes.
///
/// Records come in as plain values and outcomes go to a trait, so that an implementation can be tested without a cluster.
pub trait Processor: Send + 'static {
    /// Called when a transaction has been opened, before its first record.
    fn begun(&mut self) {}

    /// Processes a record by sending its outcome. Called again for the same record if the transaction fails.
    ///
    /// # Errors
    /// Only those of [`Outcomes::send`]. A record that cannot be processed is an outcome, not an error.
    fn process(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault>;

    /// Dead-letters a record because a topic refused its outcome as too large. The dead letter has the input's value or, if
    /// that was refused as well, none.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn dead_letter(
        &mut self,
        record: &InputRecord<'_>,
        with_value: bool,
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

/// Receives the outcomes of input records: the open transaction or, in a test, a list.
pub trait Outcomes {
    /// Adds a record to the transaction.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot continue. The caller must return it.
    fn send(&mut self, record: OutgoingRecord<'_>) -> Result<(), Fault>;
}
