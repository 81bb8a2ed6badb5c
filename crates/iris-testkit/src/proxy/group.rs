//! Group membership requests: holds a request to join, and counts heartbeats without a generation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::request::int16;

/// The kind of request that joins a group: <https://kafka.apache.org/protocol#The_Messages_JoinGroup>
pub(super) const JOIN_GROUP: i16 = 11;

/// The kind of request that keeps a membership alive: <https://kafka.apache.org/protocol#The_Messages_Heartbeat>
const HEARTBEAT: i16 = 12;

/// Up to this version, strings in a heartbeat begin with a length of 2 bytes.
const LAST_PLAIN_HEARTBEAT: i16 = 3;

/// Group membership requests on any broker: one may be held, heartbeats are counted.
#[derive(Debug, Default)]
pub struct GroupRequests {
    hold: Mutex<Option<Hold>>,
    without_generation: AtomicU64,
}

#[derive(Debug)]
struct Hold {
    /// The number of requests to join that are still forwarded before one is held.
    skipped: usize,
    is_held: Arc<AtomicBool>,
    released: watch::Receiver<bool>,
}

impl GroupRequests {
    /// Holds a request to join: its connection is cut, and the broker receives it when it is released. `skipped` requests are
    /// forwarded before; a new member's first request only asks for a member id.
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

    /// Returns the number of heartbeats without a generation. Their senders know that their generation is over.
    pub fn heartbeats_without_generation(&self) -> u64 {
        self.without_generation.load(Ordering::Relaxed)
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock()
    }

    /// Inspects a request, without its length. Returns a signal for its release if it is to be held.
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

/// A request that is held until it is released. It is never delivered if this value is dropped first.
#[derive(Debug)]
pub struct HeldRequest {
    is_held: Arc<AtomicBool>,
    release: watch::Sender<bool>,
}

impl HeldRequest {
    /// Returns whether the request has arrived.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Delivers the request to the broker.
    pub fn release(&self) {
        self.release.send_replace(true);
    }
}

/// Returns the generation of a heartbeat, which follows kind, version, correlation id, client name and group.
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
    fn heartbeats_without_a_generation_are_counted() {
        let requests = GroupRequests::default();
        for generation in [0, 7, -1, i32::MAX] {
            assert!(requests.see(&heartbeat(generation)).is_none());
        }
        assert_eq!(requests.heartbeats_without_generation(), 1);
        assert!(requests.see(&heartbeat(-1)[..20]).is_none());
        assert_eq!(requests.heartbeats_without_generation(), 1);
    }
}
