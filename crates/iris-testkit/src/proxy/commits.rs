//! Recognizes requests that commit a transaction, and arranges faults for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::request::int16;

/// The kind of request that ends a transaction: <https://kafka.apache.org/protocol#The_Messages_EndTxn>
pub(super) const END_TXN: i16 = 26;

/// Up to this version, EndTxn ends with a byte that is 1 for a commit.
const LAST_VERSION_ENDING_WITH_COMMITTED: i16 = 2;

/// A fault of a request that commits a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// The request reaches the broker late, even if the client has timed out by then.
    Delay(Duration),
    /// The connection is cut, and the request does not reach the broker.
    CutBefore,
    /// The request reaches the broker, and the connection is cut before the response.
    CutAfter,
}

/// The faults that the next commits meet, on any broker, and the number of commits that met one.
#[derive(Debug, Default)]
pub struct CommitFaults {
    due: Mutex<VecDeque<CommitFault>>,
    delayed: AtomicU64,
    cut: AtomicU64,
}

impl CommitFaults {
    /// Arranges a fault for the next commit that has none yet.
    pub fn arrange(&self, fault: CommitFault) {
        self.due().push_back(fault);
    }

    /// Discards the faults that no commit has met.
    pub fn clear(&self) {
        self.due().clear();
    }

    /// Returns the number of commits delayed and the number cut off.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.delayed.load(Ordering::Relaxed),
            self.cut.load(Ordering::Relaxed),
        )
    }

    fn due(&self) -> MutexGuard<'_, VecDeque<CommitFault>> {
        self.due.lock()
    }

    /// Returns the fault that the next commit meets, if one is arranged, and counts it.
    pub(super) fn next(&self) -> Option<CommitFault> {
        let fault = self.due().pop_front()?;
        let counter = match fault {
            CommitFault::Delay(_) => &self.delayed,
            CommitFault::CutBefore | CommitFault::CutAfter => &self.cut,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }
}

/// Returns whether a request, without its length, commits a transaction.
pub(super) fn is_commit(request: &[u8]) -> bool {
    match (int16(request, 0), int16(request, 2)) {
        (Some(END_TXN), Some(version)) if version <= LAST_VERSION_ENDING_WITH_COMMITTED => {
            request.last() == Some(&1)
        }
        (Some(END_TXN), _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::request;
    use super::*;

    #[test]
    fn a_commit_is_distinguished_from_an_abort_and_from_other_requests() {
        assert!(is_commit(&request(END_TXN, 1, 1)));
        assert!(!is_commit(&request(END_TXN, 1, 0)));
        assert!(is_commit(&request(END_TXN, 3, 0)));
        assert!(!is_commit(&request(0, 1, 1)));
        assert!(!is_commit(b"x"));
    }
}
