//! Waiting on a worker's own thread without outliving a stop.

use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// How soon a waiting thread notices a stop.
const STEP: Duration = Duration::from_millis(20);

/// Blocks the thread for `duration`, or until `stop` is cancelled. Returns whether it was not.
pub fn pause(duration: Duration, stop: &CancellationToken) -> bool {
    let end = Instant::now() + duration;
    while !stop.is_cancelled() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(STEP));
    }
    false
}
