//! A line over time, and its axis of time.

use crate::format;
use crate::geometry::{LEFT, RIGHT, Scale, Tick};
use crate::range::{ROUND_LENGTHS, bucket_of};
use crate::timeline::Slice;

/// The number of labels of the axis of time, at most.
const MAX_TIME_TICKS: i64 = 5;

/// The space that the label of a time needs on each side.
const TIME_TICK_MARGIN: f64 = 36.0;

/// Seconds in a day.
const DAY: i64 = 86_400;

/// A line over time.
pub(crate) struct LineChart {
    pub(crate) title: String,
    /// The line as SVG path data.
    pub(crate) path: String,
    pub(crate) x_ticks: Vec<Tick>,
    pub(crate) y_ticks: Vec<Tick>,
    /// Vertical lines.
    pub(crate) marks: Vec<Tick>,
}

/// Returns the axis of time, with labels at round times.
pub(crate) fn time_axis(slice: &Slice) -> (Scale, Vec<Tick>) {
    let (from, to) = (slice.window.from_s, slice.window.to_s);
    let scale = Scale::new([from as f64, to as f64], [LEFT, RIGHT]);
    let span = to - from;
    let step = tick_step(span);
    let first = bucket_of(from + step - 1, step);
    let ticks = (0..)
        .map(|number| first + number * step)
        .take_while(|&at| at <= to)
        .map(|at| Tick {
            at: scale.position(at as f64),
            label: label(at, step, span),
        })
        .filter(|tick| (LEFT..=RIGHT - TIME_TICK_MARGIN).contains(&tick.at));
    (scale, ticks.collect())
}

/// Returns the round length, in seconds, that divides a span into at most [`MAX_TIME_TICKS`].
fn tick_step(span: i64) -> i64 {
    ROUND_LENGTHS
        .into_iter()
        .find(|step| span <= step * MAX_TIME_TICKS)
        .unwrap_or_else(|| bucket_of(span / MAX_TIME_TICKS, DAY) + DAY)
}

/// Returns the label of a time as precise as the ticks are.
fn label(at: i64, step: i64, span: i64) -> String {
    match step {
        ..60 => format::clock(at * 1000),
        _ if span <= DAY => format::clock_to_the_minute(at * 1000),
        _ => format::day_and_clock(at * 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_their_labels_as_precise_as_needed() {
        for (span, step, expected) in [
            (60, 15, "00:01:00"),
            (900, 300, "00:01"),
            (7 * DAY, 2 * DAY, "01-01 00:01"),
        ] {
            assert_eq!(tick_step(span), step, "{span}");
            assert_eq!(label(60, step, span), expected);
        }
    }
}
