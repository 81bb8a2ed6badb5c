//! The response bodies that belong to the API alone.

use serde::Serialize;
use utoipa::ToSchema;

use crate::board::Late;
use crate::learning::Learning;
use crate::range::{Range, Window};
use crate::scatter::{Point, Regions};
use crate::status::Status;
use crate::timeline::{Bucket, Slice, quantile};

/// The state of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusNow {
    /// The time of this state, in milliseconds since the epoch.
    pub(crate) now_ms: i64,
    /// The state in a sentence.
    pub(crate) status: Status,
    /// The problems that keep the dashboard from reading.
    pub(crate) problems: Vec<String>,
    /// The workers whose figures are late, the longest first.
    pub(crate) late: Vec<Late>,
}

/// The learning loop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LearningNow {
    /// The figures that the trainer has written; null if it has written none yet.
    pub(crate) learning: Option<Learning>,
}

/// The transactions in a range of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineFigures {
    /// The range of the request.
    pub(crate) range: Range,
    /// The window of this range at the time of the request; null before the first transaction.
    pub(crate) window: Option<Window>,
    /// The buckets of the window. Buckets before the first transaction and after the last reading of the summaries are left out,
    /// because their figures are unknown.
    pub(crate) buckets: Vec<BucketFigures>,
}

/// The sums of the transactions that ended in a bucket of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketFigures {
    /// The first second of the bucket, in seconds since the epoch.
    pub(crate) at_s: i64,
    /// The length of the bucket in seconds.
    pub(crate) seconds: i64,
    /// Records with an outcome.
    pub(crate) records: u64,
    /// Predictions whose record had a label.
    pub(crate) evaluated: u64,
    /// Evaluated predictions that are right.
    pub(crate) right: u64,
    /// The model versions that predicted.
    pub(crate) model_versions: Vec<String>,
}

impl TimelineFigures {
    /// Returns the figures of a slice of the timeline; of none before the first transaction.
    pub(crate) fn new(range: Range, slice: Option<&Slice>) -> Self {
        Self {
            range,
            window: slice.map(|slice| slice.window),
            buckets: slice
                .into_iter()
                .flat_map(Slice::buckets)
                .map(BucketFigures::from)
                .collect(),
        }
    }
}

impl LatencyFigures {
    /// Returns the latencies of a slice of the timeline; none before the first transaction.
    pub(crate) fn new(range: Range, slice: Option<&Slice>) -> Self {
        let counts = slice.map(Slice::latency_ms).unwrap_or_default();
        let finite = |bound: u64| (bound < u64::MAX).then_some(bound);
        Self {
            range,
            window: slice.map(|slice| slice.window),
            p50_ms: quantile(&counts, 0.5).and_then(finite),
            p99_ms: quantile(&counts, 0.99).and_then(finite),
            buckets: counts
                .into_iter()
                .map(|(bound, count)| LatencyBucket {
                    up_to_ms: finite(bound),
                    count,
                })
                .collect(),
        }
    }
}

impl From<Bucket> for BucketFigures {
    fn from(bucket: Bucket) -> Self {
        let counts = bucket.counts;
        Self {
            at_s: bucket.at_s,
            seconds: bucket.seconds,
            records: counts.records,
            evaluated: counts.evaluated,
            right: counts.right,
            model_versions: counts.versions.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The number of outcomes within two bounds of latency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatencyBucket {
    /// The upper bound in milliseconds; null above the last bound.
    pub(crate) up_to_ms: Option<u64>,
    /// Outcomes up to this bound and above the previous one.
    pub(crate) count: u64,
}

/// Latencies from the creation of a record to the commit of its outcome.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatencyFigures {
    /// The range of the request.
    pub(crate) range: Range,
    /// The window of this range at the time of the request; null before the first transaction.
    pub(crate) window: Option<Window>,
    /// Outcomes by upper bound.
    pub(crate) buckets: Vec<LatencyBucket>,
    /// The bound of the median; null if there are no outcomes, or above the last bound.
    pub(crate) p50_ms: Option<u64>,
    /// The bound of the 99th percentile; null if there are no outcomes, or above the last bound.
    pub(crate) p99_ms: Option<u64>,
}

/// The champion's decision regions over two features, and the newest predictions as points.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scatter {
    /// The regions.
    pub(crate) regions: Regions,
    /// The points.
    pub(crate) points: Vec<Point>,
}
