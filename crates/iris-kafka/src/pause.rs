//! Waits on a worker's own thread that end early when the service stops.

use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// How soon a waiting thread notices a stop.
const STEP: Duration = Duration::from_millis(20);

/// Blocks the thread for `duration`, or until `stop` is cancelled. Returns whether it waited for all of `duration`.
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

/// The delays between attempts: the first is the minimum, each later one twice the previous, up to the maximum.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
}

impl Backoff {
    /// Returns delays from `min` to `max`, without a limit on attempts.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let builder = ExponentialBuilder::default()
            .with_min_delay(min)
            .with_max_delay(max)
            .without_max_times();
        Self {
            builder,
            delays: builder.build(),
        }
    }

    /// Returns the next delay.
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or_default()
    }

    /// [Pauses](pause) for the next delay.
    pub fn pause(&mut self, stop: &CancellationToken) -> bool {
        pause(self.next_delay(), stop)
    }

    /// Starts again at the minimum, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_until_they_are_reset() {
        let milliseconds = Duration::from_millis;
        let mut backoff = Backoff::new(milliseconds(50), milliseconds(180));
        for expected in [50, 100, 180, 180, 180] {
            assert_eq!(backoff.next_delay().as_millis(), expected);
        }
        backoff.reset();
        assert_eq!(backoff.next_delay().as_millis(), 50);
    }

    #[test]
    fn a_stop_ends_a_pause() {
        let stop = CancellationToken::new();
        assert!(pause(Duration::from_millis(1), &stop));
        stop.cancel();
        assert!(!pause(Duration::from_secs(60), &stop));
        assert!(!Backoff::new(Duration::from_secs(60), Duration::from_secs(60)).pause(&stop));
    }
}
