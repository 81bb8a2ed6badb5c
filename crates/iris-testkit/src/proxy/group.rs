//! The requests by which clients are members of a group: one to join can be held, and heartbeats say what a member knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::request::int16;

/// The kind of request by which a client joins a group: <https://kafka.apache.org/protocol#The_Messages_JoinGroup>
pub(super) const JOIN_GROUP: i16 = 11;

/// The kind by which it says that it lives: <https://kafka.apache.org/protocol#The_Messages_Heartbeat>
const HEARTBEAT: i16 = 12;

/// The last version of Heartbeat whose strings begin with a length of two bytes.
const LAST_PLAIN_HEARTBEAT: i16 = 3;

/// What is to happen to requests of groups, through whichever broker they go, and what was seen of them.
#[derive(Debug, Default)]
pub struct GroupRequests {
    hold: Mutex<Option<Hold>>,
    without_generation: AtomicU64,
}

#[derive(Debug)]
struct Hold {
    /// How many requests to join go through before the one that is held.
    skipped: usize,
    is_held: Arc<AtomicBool>,
    released: watch::Receiver<bool>,
}

impl GroupRequests {
    /// Arranges for a request to join to be held: its connection is cut, and the broker gets it when it is released.
    /// `skipped` of them go through before; a new member's first one only asks for its id.
    pub fn hold_join(&self, skipped: usize) -> HeldRequest {
        let (release, released) = watch::channel(false);
        let is_held = Arc::<AtomicBool>::default();
        *self.hold() = Some(Hold {
            skipped,
            is_held: Arc::clone(&is_held),
            released,
        });
        HeldRequest { is_held, release }
    }

    /// How many heartbeats named no generation: their senders have heard that the one they knew is past.
    pub fn heartbeats_without_generation(&self) -> u64 {
        self.without_generation.load(Ordering::Relaxed)
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock()
    }

    /// Looks at a request, without its length. Returns when the broker is to get it, if it is the one to be held.
    pub(super) fn see(&self, request: &[u8]) -> Option<watch::Receiver<bool>> {
        match int16(request, 0) {
            Some(HEARTBEAT) => {
                let is_without = generation(request).is_some_and(|generation| generation < 0);
                self.without_generation
                    .fetch_add(u64::from(is_without), Ordering::Relaxed);
                None
            }
            Some(JOIN_GROUP) => self.take(),
            _ => None,
        }
    }

    fn take(&self) -> Option<watch::Receiver<bool>> {
        let mut hold = self.hold();
        let arranged = hold.as_mut()?;
        if arranged.skipped > 0 {
            arranged.skipped -= 1;
            return None;
        }
        let hold = hold.take()?;
        hold.is_held.store(true, Ordering::Relaxed);
        Some(hold.released)
    }
}

/// A request that is kept from its broker until it is released; never delivered if this value is dropped before.
#[derive(Debug)]
pub struct HeldRequest {
    is_held: Arc<AtomicBool>,
    release: watch::Sender<bool>,
}

impl HeldRequest {
    /// Whether the request has come.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Has the request delivered.
    pub fn release(&self) {
        self.release.send_replace(true);
    }
}

/// The generation that a heartbeat names, after kind, version, correlation id, the client's name and the group's.
fn generation(heartbeat: &[u8]) -> Option<i32> {
    if int16(heartbeat, 2)? > LAST_PLAIN_HEARTBEAT {
        return None;
    }
    let mut at = 8;
    for _ in ["client", "group"] {
        at += 2 + usize::try_from(int16(heartbeat, at)?).unwrap_or(0);
    }
    let bytes = heartbeat.get(at..at + 4)?.try_into().ok()?;
    Some(i32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(generation: i32) -> Vec<u8> {
        let mut request = Vec::new();
        request.extend(HEARTBEAT.to_be_bytes());
        request.extend(LAST_PLAIN_HEARTBEAT.to_be_bytes());
        request.extend([0; 4]);
        for text in ["client", "the group"] {
            request.extend([0, u8::try_from(text.len()).unwrap()]);
            request.extend(text.bytes());
        }
        request.extend(generation.to_be_bytes());
        request
    }

    #[test]
    fn heartbeats_that_name_no_generation_are_counted() {
        let requests = GroupRequests::default();
        for generation in [0, 7, -1, i32::MAX] {
            assert!(requests.see(&heartbeat(generation)).is_none());
        }
        assert_eq!(requests.heartbeats_without_generation(), 1);
        assert!(requests.see(&heartbeat(-1)[..20]).is_none());
        assert_eq!(requests.heartbeats_without_generation(), 1);
    }
}
