//! The workers whose figures are late, and why.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::partition::Partition;
use crate::format;

/// A transaction that has written its summary and has not ended: no summary behind it in the same partition can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// The worker that wrote the summary; `None` if it is of a former version.
    pub(crate) worker: Option<String>,
    /// The input partitions that the summary counts.
    pub(crate) inputs: Vec<i32>,
    /// When the transaction wrote the summary, in milliseconds since the epoch.
    pub(crate) since_ms: i64,
}

/// Why the figures of a worker are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LateCause {
    /// There are unread records, and it has committed none of them for 5 s.
    NoResults,
    /// Its transaction has not ended. Until it does, the summaries behind it in the same partition cannot be read.
    OpenTransaction,
}

/// A worker whose figures are late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Late {
    /// The process and the worker; null if it is of a version that does not name itself.
    pub worker: Option<String>,
    /// The input partitions whose figures are late.
    pub partitions: Vec<i32>,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
    /// The reason.
    pub cause: LateCause,
}

impl Late {
    /// Returns a sentence as of a time, in milliseconds since the epoch.
    #[must_use]
    pub fn words(&self, now_ms: i64) -> String {
        let who = self.worker.as_deref().unwrap_or("A classifier");
        let since = format::time(self.since_ms, now_ms);
        let numbers: Vec<String> = self.partitions.iter().map(i32::to_string).collect();
        let partitions = match &numbers[..] {
            [number] => format!("partition {number}"),
            _ => format!("partitions {}", numbers.join(", ")),
        };
        let reason = match self.cause {
            LateCause::NoResults => "it has committed no results of",
            LateCause::OpenTransaction => {
                "its transaction has not ended, and holds back the figures of"
            }
        };
        format!("{who} is late since {since} UTC: {reason} {partitions}.")
    }
}

/// Returns the workers whose figures are late, the longest first: those with transactions that hold back summaries, and those
/// that were the last to work on stalled partitions.
pub(super) fn late(partitions: &[Partition], held: &[HeldBack]) -> Vec<Late> {
    let open = held.iter().map(|held| Late {
        worker: held.worker.clone(),
        partitions: held.inputs.clone(),
        since_ms: held.since_ms,
        cause: LateCause::OpenTransaction,
    });
    let mut late: Vec<Late> = open.collect();
    let mut without_results: BTreeMap<Option<&String>, Late> = BTreeMap::new();
    for partition in partitions {
        let Some(since_ms) = partition.stalled_since_ms else {
            continue;
        };
        let (number, worker) = (partition.partition, partition.worker.as_ref());
        if let Some(open) = late.iter_mut().find(|open| open.worker.as_ref() == worker) {
            if !open.partitions.contains(&number) {
                open.partitions.push(number);
                open.partitions.sort_unstable();
            }
            continue;
        }
        let entry = without_results.entry(worker).or_insert_with(|| Late {
            worker: worker.cloned(),
            partitions: Vec::new(),
            since_ms,
            cause: LateCause::NoResults,
        });
        entry.partitions.push(number);
        entry.since_ms = entry.since_ms.min(since_ms);
    }
    late.extend(without_results.into_values());
    late.sort_by_key(|late| late.since_ms);
    late
}
