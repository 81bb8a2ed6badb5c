//! Accuracy over time, and the model versions.

use askama::Template;

use super::line::{LineChart, time_axis};
use crate::board::VersionFigures;
use crate::format;
use crate::geometry::{self, BOTTOM, Scale, TOP, Tick};
use crate::range::Window;
use crate::timeline::Slice;

/// The lower end of the axis is never above this accuracy, so that one misprediction does not look like a collapse.
const MAX_AXIS_START: f64 = 0.9;

#[derive(Template)]
#[template(path = "accuracy.html")]
struct AccuracyView<'a> {
    chart: Option<LineChart>,
    /// The time over which each accuracy is taken.
    over: String,
    versions: &'a [VersionFigures],
}

/// Renders accuracy over time, and the model versions.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn accuracy(
    slice: &Slice,
    versions: &[VersionFigures],
    period: &str,
) -> askama::Result<String> {
    let samples: Vec<(f64, Option<f64>)> = slice
        .accuracy()
        .map(|(at, accuracy)| (at as f64, accuracy))
        .collect();
    let known = || samples.iter().filter_map(|&(_, accuracy)| accuracy);
    let (x, x_ticks) = time_axis(slice);
    let lowest = known().fold(1.0, f64::min);
    let y = Scale::new([axis_start(lowest), 1.0], [BOTTOM, TOP]);
    let chart = LineChart {
        title: format!(
            "Accuracy from {period}, last {}; vertical lines mark the first prediction of a model version, by its number",
            format::percent(known().next_back())
        ),
        path: geometry::line(samples.iter().copied(), x, y),
        x_ticks,
        y_ticks: y.ticks(|value| format!("{:.0}%", value * 100.0)),
        marks: marks(slice.window, versions, x),
    };
    AccuracyView {
        chart: Some(chart),
        over: format::span(slice.accuracy_seconds()),
        versions,
    }
    .render()
}

/// Renders the model versions alone.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn without_chart(versions: &[VersionFigures]) -> askama::Result<String> {
    AccuracyView {
        chart: None,
        over: String::new(),
        versions,
    }
    .render()
}

/// Returns the lower end of the axis of accuracies, in tenths.
fn axis_start(lowest: f64) -> f64 {
    let start = ((lowest - 0.02).min(MAX_AXIS_START) * 10.0).floor() / 10.0;
    start.max(0.0)
}

/// Returns a mark at the first prediction of each version within the window.
fn marks(window: Window, versions: &[VersionFigures], x: Scale) -> Vec<Tick> {
    let window_ms = window.from_s * 1000..window.to_s * 1000;
    versions
        .iter()
        .filter(|version| window_ms.contains(&version.first_ms))
        .map(|version| Tick {
            at: x.position(version.first_ms as f64 / 1e3),
            label: version.number.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_starts_at_a_tenth_below_the_lowest_accuracy() {
        for (lowest, start) in [(1.0, 0.9), (0.91, 0.8), (0.5, 0.4), (0.0, 0.0)] {
            assert!((axis_start(lowest) - start).abs() < 1e-9, "{lowest}");
        }
    }
}
