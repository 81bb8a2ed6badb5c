//! The time of a log line. A thread that logs a line for each record formats a date only once per second.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime as _};

/// The length of a time up to its seconds, such as `2026-11-26T20:29:49`. After the year 9999 it is longer, and not kept.
const SECONDS_LEN: usize = 19;

/// The text of the latest second.
pub(super) struct Time {
    /// The second since the epoch; 0 for none.
    second: u64,
    text: String,
}

impl Time {
    /// Returns a time without a text.
    pub(super) const fn new() -> Self {
        Self {
            second: 0,
            text: String::new(),
        }
    }

    /// Writes the present time as tracing does: `2026-11-26T20:29:49.123456Z`.
    pub(super) fn write(&mut self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = since_epoch();
        if now.0 == 0 || now.0 != self.second {
            self.format(now.0)?;
            if self.second != now.0 {
                return writer.write_str(&self.text);
            }
        }
        write!(writer, "{}.{:06}Z", &self.text[..SECONDS_LEN], now.1)
    }

    /// Formats the present time, and keeps the text if it is in this second.
    fn format(&mut self, second: u64) -> fmt::Result {
        self.text.clear();
        time::SystemTime.format_time(&mut Writer::new(&mut self.text))?;
        let is_kept =
            since_epoch().0 == second && self.text.len() == SECONDS_LEN + ".123456Z".len();
        self.second = if is_kept { second } else { 0 };
        Ok(())
    }
}

/// Returns the seconds since the epoch and the microseconds of the current one; zeros if the clock is before the epoch.
fn since_epoch() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or((0, 0), |since| (since.as_secs(), since.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// How long times are compared after the beginning of a second.
    const AFTER: Duration = Duration::from_millis(20);

    fn written(time: &mut Time) -> String {
        let mut text = String::new();
        time.write(&mut Writer::new(&mut text)).unwrap();
        text
    }

    #[test]
    fn times_are_those_of_tracing_and_never_go_back() {
        let mut time = Time::new();
        let mut previous = String::new();
        let first = since_epoch().0;
        let mut next = None;
        while next.is_none_or(|next: Instant| next.elapsed() < AFTER) {
            if next.is_none() && since_epoch().0 > first {
                next = Some(Instant::now());
            }
            let mut before = String::new();
            time::SystemTime
                .format_time(&mut Writer::new(&mut before))
                .unwrap();
            let text = written(&mut time);
            assert!(
                before <= text && previous <= text,
                "{previous}, {before}, {text}"
            );
            assert_eq!(text.len(), before.len());
            previous = text;
        }
    }
}
