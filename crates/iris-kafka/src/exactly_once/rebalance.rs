//! The transaction during a rebalance: committed before its partitions are revoked, aborted if they are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::consume::rebalance::{RebalanceListener, Revocation};
use crate::exactly_once::fault::Fault;
use crate::exactly_once::open_transaction::OpenTransaction;
use crate::exactly_once::processor::Processor;
use crate::offsets::PartitionOffset;

/// A transaction that the worker's loop and the rebalance callback share. Both run on the thread that polls.
pub(super) struct SharedTransaction<P> {
    transaction: Arc<Mutex<OpenTransaction<P>>>,
    /// The flag of the latest listener, which is cleared when the next listener replaces it.
    latest_flag: Arc<AtomicBool>,
}

/// Commits or aborts the transaction during the rebalances of one consumer.
pub(super) struct Listener<P> {
    transaction: Arc<Mutex<OpenTransaction<P>>>,
    /// Whether no listener of a later consumer has replaced this one.
    is_current: Arc<AtomicBool>,
}

impl<P> SharedTransaction<P> {
    pub(super) fn new(transaction: OpenTransaction<P>) -> Self {
        Self {
            transaction: Arc::new(Mutex::new(transaction)),
            latest_flag: Arc::default(),
        }
    }

    /// Returns the listener of a new consumer. The listener of the previous one has no effect from now on.
    pub(super) fn listener(&mut self) -> Listener<P> {
        self.latest_flag.store(false, Ordering::Relaxed);
        self.latest_flag = Arc::new(AtomicBool::new(true));
        Listener {
            transaction: Arc::clone(&self.transaction),
            is_current: Arc::clone(&self.latest_flag),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, OpenTransaction<P>> {
        self.transaction.lock()
    }
}

impl<P> Listener<P> {
    /// Returns the transaction, if the worker still reads with this consumer.
    fn lock(&self) -> Option<MutexGuard<'_, OpenTransaction<P>>> {
        let is_current = self.is_current.load(Ordering::Relaxed);
        is_current.then(|| self.transaction.lock())
    }
}

impl<P: Processor> RebalanceListener for Listener<P> {
    fn assigned(&self, partitions: &[i32]) -> Vec<PartitionOffset> {
        if let Some(mut transaction) = self.lock() {
            transaction.forget(partitions);
        }
        Vec::new()
    }

    fn revoked(&self, revocation: Revocation<'_>) {
        let Some(mut transaction) = self.lock() else {
            return;
        };
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
