//! The current time in the unit of record timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
