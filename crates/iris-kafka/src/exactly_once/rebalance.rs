//! The transaction during a rebalance: committed before its partitions are revoked, aborted if they are lost.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::consume::rebalance::{RebalanceListener, Revocation};
use crate::exactly_once::fault::Fault;
use crate::exactly_once::open_transaction::OpenTransaction;
use crate::exactly_once::processor::Processor;
use crate::offsets::PartitionOffset;

/// A transaction that the worker's loop and the rebalance callback share. Both run on the thread that polls.
pub(super) struct SharedTransaction<P>(Arc<Mutex<OpenTransaction<P>>>);

impl<P> SharedTransaction<P> {
    pub(super) fn new(transaction: OpenTransaction<P>) -> Self {
        Self(Arc::new(Mutex::new(transaction)))
    }

    /// Returns another handle to the same transaction.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, OpenTransaction<P>> {
        self.0.lock()
    }
}

impl<P: Processor> RebalanceListener for SharedTransaction<P> {
    fn assigned(&self, partitions: &[i32]) -> Vec<PartitionOffset> {
        let mut transaction = self.lock();
        transaction.is_assigned = true;
        transaction.forget(partitions);
        Vec::new()
    }

    fn revoked(&self, revocation: Revocation<'_>) {
        let mut transaction = self.lock();
        if transaction.has_progress() {
            if revocation.lost {
                transaction.fail(Fault::Abortable(
                    "the partitions were given to another member".to_owned(),
                ));
            } else {
                transaction.commit(|| revocation.group);
            }
        }
        transaction.forget(revocation.partitions);
    }
}
