//! The charts of a range of time: throughput, accuracy and latency, each with its figures as a table.

use askama::Template;

use crate::board::VersionFigures;
use crate::format;
use crate::geometry::{self, Bar, Scale, Tick};
use crate::range::{ROUND_LENGTHS, Range, bucket_of};
use crate::state::DashboardState;
use crate::timeline::{Bucket, Slice, quantile};
use crate::view::empty;

/// The most labels of the axis of time.
const MAX_TIME_TICKS: i64 = 5;

/// The room that the label of a time needs on each side.
const TIME_TICK_MARGIN: f64 = 36.0;

/// What is shown before the first transaction.
const NOTHING_YET: &str = "No transaction of a classifier has been read yet.";

/// The pieces of the page that depend on the range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charts {
    /// What is shown if nothing arrived in the range.
    pub note: String,
    /// Records per second over time.
    pub throughput: String,
    /// Accuracy over time, and the model versions.
    pub accuracy: String,
    /// Records by latency.
    pub latency: String,
}

/// A line over time.
struct LineChart {
    title: String,
    path: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    marks: Vec<Tick>,
}

#[derive(Template)]
#[template(path = "throughput.html")]
struct ThroughputView {
    chart: LineChart,
    /// The length of a bucket.
    step: String,
    /// The newest first.
    buckets: Vec<Bucket>,
}

#[derive(Template)]
#[template(path = "accuracy.html")]
struct AccuracyView<'a> {
    chart: Option<LineChart>,
    /// The time over which each accuracy is taken.
    over: String,
    versions: &'a [VersionFigures],
}

#[derive(Template)]
#[template(path = "latency.html")]
struct LatencyView {
    title: String,
    bars: Vec<Bar>,
    y_ticks: Vec<Tick>,
    rows: Vec<(String, u64)>,
}

impl Charts {
    /// Renders the charts of a range at a time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// If a template cannot be rendered.
    pub fn render(
        state: &DashboardState,
        versions: &[VersionFigures],
        range: Range,
        now_ms: i64,
    ) -> askama::Result<Self> {
        let Some(slice) = state.board.timeline().slice(range, now_ms.div_euclid(1000)) else {
            let without_chart = AccuracyView {
                chart: None,
                over: String::new(),
                versions,
            };
            return Ok(Self {
                note: String::new(),
                throughput: empty(NOTHING_YET)?,
                accuracy: without_chart.render()?,
                latency: empty(NOTHING_YET)?,
            });
        };
        let period = period(&slice, now_ms);
        Ok(Self {
            note: note(range, &slice, now_ms),
            throughput: throughput(&slice, &period).render()?,
            accuracy: accuracy(&slice, versions, &period).render()?,
            latency: latency(&slice, &period)?,
        })
    }
}

/// The window in words.
fn period(slice: &Slice, now_ms: i64) -> String {
    let time = |second: i64| format::time(second * 1000, now_ms);
    let window = slice.window;
    format!("{} to {} UTC", time(window.from_s), time(window.to_s))
}

/// What is shown if nothing arrived in the range, as a sentence; empty if something did.
fn note(range: Range, slice: &Slice, now_ms: i64) -> String {
    let Some(since) = slice.window.no_records_since_s else {
        return String::new();
    };
    format!(
        "No records since {} UTC; showing {} with data.",
        format::time(since * 1000, now_ms),
        range.words()
    )
}

/// The axis of time, and its labels at round times.
fn time_axis(slice: &Slice) -> (Scale, Vec<Tick>) {
    let (from, to) = (slice.window.from_s, slice.window.to_s);
    let scale = Scale::new([from as f64, to as f64], [geometry::LEFT, geometry::RIGHT]);
    let span = to - from;
    let step = ROUND_LENGTHS
        .into_iter()
        .find(|step| span <= step * MAX_TIME_TICKS)
        .unwrap_or_else(|| bucket_of(span / MAX_TIME_TICKS, 86_400) + 86_400);
    let label = |at: i64| match step {
        ..60 => format::clock(at * 1000),
        _ if span <= 86_400 => format::clock_to_the_minute(at * 1000),
        _ => format::day_and_clock(at * 1000),
    };
    let is_within =
        |tick: &Tick| (geometry::LEFT..=geometry::RIGHT - TIME_TICK_MARGIN).contains(&tick.at);
    let first = bucket_of(from + step - 1, step);
    let ticks = (0..)
        .map(|number| first + number * step)
        .take_while(|&at| at <= to)
        .map(|at| Tick {
            at: scale.place(at as f64),
            label: label(at),
        })
        .filter(is_within);
    (scale, ticks.collect())
}

fn throughput(slice: &Slice, period: &str) -> ThroughputView {
    let mut buckets: Vec<Bucket> = slice.buckets().collect();
    let max = buckets.iter().map(Bucket::rate).fold(0.0, f64::max);
    let (x, x_ticks) = time_axis(slice);
    let y = Scale::new(
        [0.0, geometry::round_up(max, 4.0)],
        [geometry::BOTTOM, geometry::TOP],
    );
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
}

fn accuracy<'a>(slice: &Slice, versions: &'a [VersionFigures], period: &str) -> AccuracyView<'a> {
    let samples: Vec<(f64, Option<f64>)> = slice
        .accuracy()
        .map(|(at, accuracy)| (at as f64, accuracy))
        .collect();
    let lowest = samples
        .iter()
        .filter_map(|&(_, accuracy)| accuracy)
        .fold(1.0, f64::min);
    // Never so close that a single misprediction looks like a collapse.
    let bottom = ((lowest - 0.02).min(0.9) * 10.0).floor() / 10.0;
    let (x, x_ticks) = time_axis(slice);
    let y = Scale::new([bottom.max(0.0), 1.0], [geometry::BOTTOM, geometry::TOP]);
    let latest = samples.iter().rev().find_map(|&(_, accuracy)| accuracy);
    let window = slice.window.from_s * 1000..slice.window.to_s * 1000;
    AccuracyView {
        chart: Some(LineChart {
            title: format!(
                "Accuracy from {period}, last {}; vertical lines mark the first answer of a model version, by its number",
                format::percent(latest)
            ),
            path: geometry::line(samples.into_iter(), x, y),
            x_ticks,
            y_ticks: y.ticks(|value| format!("{:.0}%", value * 100.0)),
            marks: versions
                .iter()
                .filter(|version| window.contains(&version.first_ms))
                .map(|version| Tick {
                    at: x.place(version.first_ms as f64 / 1e3),
                    label: version.number.to_string(),
                })
                .collect(),
        }),
        over: format::span(slice.accuracy_seconds()),
        versions,
    }
}

fn latency(slice: &Slice, period: &str) -> askama::Result<String> {
    let counts = slice.latency_ms();
    let within = |share| quantile(&counts, share).map(format::latency);
    let (Some(median), Some(p99)) = (within(0.5), within(0.99)) else {
        return empty("The time between creation and answer is not known of any record shown.");
    };
    let rows: Vec<(String, u64)> = counts
        .iter()
        .map(|(&bound, &count)| (format::latency(bound), count))
        .collect();
    let max = counts.values().copied().max().unwrap_or_default();
    let y = Scale::new(
        [0.0, geometry::round_up(max as f64, 4.0)],
        [geometry::BOTTOM, geometry::TOP],
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::summary;

    /// 1970-01-01 12:03:10 UTC, in milliseconds since the epoch.
    const LAST: i64 = 43_390_000;

    fn state() -> DashboardState {
        let mut state = DashboardState::default();
        state.board.add(&summary(0, 300, 300), LAST - 10_000);
        state.board.add(&summary(0, 30, 330), LAST);
        state
    }

    fn charts(state: &DashboardState, range: Range, now_ms: i64) -> Charts {
        Charts::render(state, &state.board.versions(), range, now_ms).unwrap()
    }

    #[test]
    fn a_range_without_new_records_says_so_and_shows_the_last_data() {
        let mut state = state();
        state.board.is_known_until(LAST + 600_000);
        let live = charts(&state, Range::Minute, LAST + 30_000);
        assert_eq!(live.note, "");
        let minute = charts(&state, Range::Minute, LAST + 120_000);
        assert_eq!(
            minute.note,
            "No records since 12:03:10 UTC; showing the last minute with data."
        );
        for chart in [&minute.throughput, &minute.accuracy, &minute.latency] {
            assert!(chart.contains("12:02:11 to 12:03:11 UTC"), "{chart}");
        }
        assert!(minute.throughput.contains("at most 300, 30 at the end"));
        let quarter = charts(&state, Range::QuarterHour, LAST + 120_000);
        assert_eq!(quarter.note, "");
        assert!(quarter.throughput.contains("at most 30, 0 at the end"));
        let later = charts(&state, Range::QuarterHour, LAST + 86_400_000);
        assert_eq!(
            later.note,
            "No records since 1970-01-01 12:03:10 UTC; showing the last 15 minutes with data."
        );
        assert_eq!(charts(&state, Range::All, LAST + 86_400_000).note, "");
    }

    #[test]
    fn a_chart_has_a_bounded_number_of_points_and_round_times() {
        let mut state = DashboardState::default();
        for minute in 0..2_000 {
            state.board.add(&summary(0, 60, 60), minute * 60_000);
        }
        let all = charts(&state, Range::All, 2_000 * 60_000);
        let points = all.throughput.matches('L').count();
        assert!((50..=120).contains(&points), "{points}");
        assert!(all.throughput.contains("01-01 12:00"), "{}", all.throughput);
    }

    #[test]
    fn without_a_transaction_there_is_no_chart() {
        let charts = charts(&DashboardState::default(), Range::Minute, 60_000);
        assert!(charts.throughput.contains(NOTHING_YET));
        assert!(charts.latency.contains(NOTHING_YET));
        assert!(charts.accuracy.contains("No model has answered yet"));
        assert!(!charts.accuracy.contains("<svg"));
    }
}
