//! A window of the timeline, as the charts show it.

use std::collections::BTreeMap;

use iris_contract::CountsBy;

use super::counts::{Counts, merge};
use crate::range::Window;

/// The shortest period over which accuracy is taken, in seconds.
pub(super) const MIN_ACCURACY_SECONDS: i64 = 60;

/// A bucket of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The first second of the bucket.
    pub at_s: i64,
    /// The length of the bucket in seconds.
    pub seconds: i64,
    /// The sums of its transactions.
    pub counts: Counts,
}

impl Bucket {
    /// Returns the records per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.counts.records as f64 / self.seconds as f64
    }
}

/// The transactions of a window, and of the time before it that its first accuracy needs.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The window.
    pub window: Window,
    pub(super) sums: BTreeMap<i64, Counts>,
    /// The first second that is known, and the second after the last known one.
    pub(super) known: (i64, i64),
}

impl Slice {
    /// Returns the buckets of the window, including empty ones. Buckets before the first transaction and after the last reading
    /// of the topic are left out, because their figures are unknown.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let (first, end) = self.known;
        self.window
            .buckets()
            .filter(move |&(at_s, seconds)| at_s + seconds > first && at_s < end)
            .map(|(at_s, seconds)| Bucket {
                at_s,
                seconds,
                counts: self.sums.get(&at_s).cloned().unwrap_or_default(),
            })
    }

    /// Returns the seconds over which each accuracy is taken.
    #[must_use]
    pub fn accuracy_seconds(&self) -> i64 {
        MIN_ACCURACY_SECONDS.max(self.window.step_s)
    }

    /// Returns the start of each bucket, and the accuracy over the [seconds](Self::accuracy_seconds) that end with the bucket;
    /// `None` if no record of these had a label.
    pub fn accuracy(&self) -> impl Iterator<Item = (i64, Option<f64>)> {
        let before = self.accuracy_seconds() - self.window.step_s;
        self.window.buckets().map(move |(at_s, _)| {
            let (right, evaluated) = self.sums.range(at_s - before..=at_s).fold(
                (0, 0),
                |(right, evaluated), (_, counts)| {
                    (right + counts.right, evaluated + counts.evaluated)
                },
            );
            let accuracy = (evaluated > 0).then(|| right as f64 / evaluated as f64);
            (at_s, accuracy)
        })
    }

    /// Returns the outcomes of the window by latency.
    #[must_use]
    pub fn latency_ms(&self) -> CountsBy<u64> {
        let mut latency_ms = CountsBy::new();
        for (_, counts) in self.sums.range(self.window.from_s..) {
            merge(&mut latency_ms, &counts.latency_ms);
        }
        latency_ms
    }
}
