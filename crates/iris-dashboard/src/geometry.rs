//! The geometry of charts: the positions of lines, bars and labels in units of the SVG. The style sheet has colours and widths.

use std::fmt::Write as _;

/// The width of charts.
pub const WIDTH: f64 = 640.0;
/// The height of charts.
pub const HEIGHT: f64 = 200.0;

/// The left edge of the drawing, right of the labels.
pub const LEFT: f64 = 56.0;
/// The right edge of the drawing.
pub const RIGHT: f64 = WIDTH - 12.0;
/// The upper edge of the drawing.
pub const TOP: f64 = 22.0;
/// The lower edge of the drawing, above the labels.
pub const BOTTOM: f64 = HEIGHT - 26.0;

/// The approximate number of horizontal lines.
const LINES: f64 = 4.0;

/// A labelled position on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// The position.
    pub at: f64,
    /// The label.
    pub label: String,
}

/// A linear scale from values to positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    values: [f64; 2],
    positions: [f64; 2],
}

impl Scale {
    /// Returns a scale that maps two values to two positions.
    #[must_use]
    pub fn new(values: [f64; 2], positions: [f64; 2]) -> Self {
        Self { values, positions }
    }

    /// Returns the position of a value, to a tenth of a unit. Values beyond the ends are at the ends.
    #[must_use]
    pub fn position(&self, value: f64) -> f64 {
        let [from, to] = self.values;
        let share = if to > from {
            ((value - from) / (to - from)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let [start, end] = self.positions;
        tenths(start + share * (end - start))
    }

    /// Returns ticks at round values.
    #[must_use]
    pub fn ticks(&self, label: impl Fn(f64) -> String) -> Vec<Tick> {
        let [from, to] = self.values;
        let step = round_step((to - from) / LINES);
        let first = (from / step).ceil();
        (0..)
            .map(|number| (first + f64::from(number)) * step)
            .take_while(|&value| value <= to + step * 1e-9)
            .map(|value| Tick {
                at: self.position(value),
                label: label(value),
            })
            .collect()
    }
}

/// Rounds to a tenth of a unit.
fn tenths(position: f64) -> f64 {
    (position * 10.0).round() / 10.0
}

/// Returns the smallest round number, 1, 2 or 5 times a power of ten, that is not below `step`.
fn round_step(step: f64) -> f64 {
    if step <= 0.0 || !step.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|&round| round >= step * (1.0 - 1e-9))
        .unwrap_or(step)
}

/// Returns the upper end of a scale: a round value that is not below `value` nor below `min`.
#[must_use]
pub fn round_up(value: f64, min: f64) -> f64 {
    let value = value.max(min);
    let step = round_step(value / LINES);
    (value / step).ceil() * step
}

/// Returns a line through samples as SVG path data, with a gap at each missing value.
#[must_use]
pub fn line(samples: impl Iterator<Item = (f64, Option<f64>)>, x: Scale, y: Scale) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for (at, value) in samples {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let command = if is_drawing { 'L' } else { 'M' };
        // A line of length 0 is drawn as a dot, so that a sample between two gaps is visible.
        let dot = if is_drawing { "" } else { "h0" };
        // Writing to a string cannot fail.
        let _ = write!(
            path,
            "{command}{} {}{dot}",
            x.position(at),
            y.position(value)
        );
        is_drawing = true;
    }
    path
}

/// A bar of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
    /// The horizontal middle, at which the label is centred.
    pub middle: f64,
    /// The label.
    pub label: String,
}

/// Returns a bar for each value, from left to right.
#[must_use]
pub fn bars(values: &[(String, f64)], y: Scale) -> Vec<Bar> {
    let width = (RIGHT - LEFT) / values.len().max(1) as f64;
    let bar = |(index, (label, value)): (usize, &(String, f64))| {
        let left = LEFT + width * index as f64;
        let top = y.position(*value);
        Bar {
            x: tenths(left + width * 0.1),
            y: top,
            width: tenths(width * 0.8),
            height: tenths(BOTTOM - top),
            middle: tenths(left + width / 2.0),
            label: label.clone(),
        }
    };
    values.iter().enumerate().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::short;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        let scale = Scale::new([0.0, round_up(870.0, 1.0)], [BOTTOM, TOP]);
        let labels: Vec<String> = scale
            .ticks(short)
            .into_iter()
            .map(|tick| tick.label)
            .collect();
        assert_eq!(labels, ["0", "500", "1k"]);
        let scale = Scale::new([0.8, 1.0], [0.0, 100.0]);
        let ticks = scale.ticks(|value| format!("{value:.2}"));
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0.80", "0.85", "0.90", "0.95", "1.00"]);
        assert_eq!(ticks[4].at, 100.0);
        assert_eq!(Scale::new([3.0, 3.0], [0.0, 9.0]).position(3.0), 0.0);
    }

    #[test]
    fn a_line_has_gaps_where_there_are_no_values() {
        let scale = Scale::new([0.0, 10.0], [0.0, 10.0]);
        let samples = [
            (0.0, Some(1.0)),
            (1.0, Some(2.0)),
            (2.0, None),
            (3.0, Some(4.0)),
        ];
        assert_eq!(line(samples.into_iter(), scale, scale), "M0 1h0L1 2M3 4h0");
    }

    #[test]
    fn bars_are_side_by_side_and_start_at_the_lower_edge() {
        let y = Scale::new([0.0, 4.0], [BOTTOM, TOP]);
        let bars = bars(&[("a".to_owned(), 4.0), ("b".to_owned(), 0.0)], y);
        assert_eq!((bars[0].y, bars[0].height), (TOP, BOTTOM - TOP));
        assert_eq!((bars[1].y, bars[1].height), (BOTTOM, 0.0));
        assert!(bars[0].x + bars[0].width < bars[1].x);
    }
}
