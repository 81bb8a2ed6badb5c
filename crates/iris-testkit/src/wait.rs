//! Waits for a condition.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

/// How long to wait for what has to happen and has no limit of its own: far longer than it takes, so that only a fault ends the
/// wait, even on a slow machine.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// Calls `poll` until it returns a value. `what` names the condition in the error.
///
/// # Errors
/// If there is no value within `timeout`.
pub fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut poll: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = poll() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", timeout.as_secs());
        }
        thread::sleep(Duration::from_millis(25));
    }
}
