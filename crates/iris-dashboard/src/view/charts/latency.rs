//! Records by latency.

use askama::Template;

use crate::format;
use crate::geometry::{self, BOTTOM, Bar, Scale, TOP, Tick};
use crate::timeline::{Slice, quantile};
use crate::view::empty::empty;

#[derive(Template)]
#[template(path = "latency.html")]
struct LatencyView {
    title: String,
    bars: Vec<Bar>,
    y_ticks: Vec<Tick>,
    rows: Vec<(String, u64)>,
}

/// Renders records by latency.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn latency(slice: &Slice, period: &str) -> askama::Result<String> {
    let counts = slice.latency_ms();
    let within = |share| quantile(&counts, share).map(format::latency);
    let (Some(median), Some(p99)) = (within(0.5), within(0.99)) else {
        return empty("The latency of none of the records is known.");
    };
    let rows: Vec<(String, u64)> = counts
        .iter()
        .map(|(&bound, &count)| (format::latency(bound), count))
        .collect();
    let max = counts.values().copied().max().unwrap_or_default();
    let y = Scale::new([0.0, geometry::round_up(max as f64, 4.0)], [BOTTOM, TOP]);
    let values: Vec<(String, f64)> = rows
        .iter()
        .map(|(label, count)| (label.clone(), *count as f64))
        .collect();
    LatencyView {
        title: format!("Records by latency from {period}: half within {median}, 99% within {p99}"),
        bars: geometry::bars(&values, y),
        y_ticks: y.ticks(format::short),
        rows,
    }
    .render()
}
