//! Throughput over time.

use askama::Template;

use super::line::{LineChart, time_axis};
use crate::format;
use crate::geometry::{self, BOTTOM, Scale, TOP};
use crate::timeline::{Bucket, Slice};

#[derive(Template)]
#[template(path = "throughput.html")]
struct ThroughputView {
    chart: LineChart,
    /// The length of a bucket.
    step: String,
    /// The newest first.
    buckets: Vec<Bucket>,
}

/// Renders records per second over time.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn throughput(slice: &Slice, period: &str) -> askama::Result<String> {
    let mut buckets: Vec<Bucket> = slice.buckets().collect();
    let max = buckets.iter().map(Bucket::rate).fold(0.0, f64::max);
    let (x, x_ticks) = time_axis(slice);
    let y = Scale::new([0.0, geometry::round_up(max, 4.0)], [BOTTOM, TOP]);
    let samples = buckets
        .iter()
        .map(|bucket| (bucket.at_s as f64, Some(bucket.rate())));
    let chart = LineChart {
        title: format!(
            "Records per second from {period}: at most {}, {} at the end",
            format::short(max),
            format::rate(buckets.last().map(Bucket::rate)),
        ),
        path: geometry::line(samples, x, y),
        x_ticks,
        y_ticks: y.ticks(format::short),
        marks: Vec::new(),
    };
    buckets.reverse();
    ThroughputView {
        chart,
        step: format::span(slice.window.step_s),
        buckets,
    }
    .render()
}
