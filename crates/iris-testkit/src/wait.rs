//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Asks until there is an answer, or fails, naming `what` was waited for, after `timeout`.
///
/// # Errors
/// That time ran out.
pub fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let give_up = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= give_up {
            bail!("{what}: not within {} s", timeout.as_secs());
        }
        thread::sleep(Duration::from_millis(25));
    }
}
