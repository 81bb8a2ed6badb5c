//! What is known, as pieces of the page. Each piece is rendered on the server and put in its place by the browser.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use crate::board::{Figures, Partition, PartitionState, VersionFigures};
use crate::chart::{self, Bar, Scale, Tick};
use crate::models::{DecisionFigures, ModelFigures, Models};
use crate::recent::{Answer, SetAside};
use crate::scatter::{Point, Regions};
use crate::state::{State, Status};
use crate::store::{FeedbackRow, StoreError};
use crate::timeline::quantile;

/// The seconds that charts show.
const CHART_SECONDS: i64 = 120;

/// The seconds that an accuracy and latencies are taken over.
const WINDOW_SECONDS: i64 = 60;

/// The seconds over which the rate is taken.
const RATE_SECONDS: i64 = 5;

/// Rows of tables of records.
const ROWS: usize = 20;

/// The most decisions that are listed.
const MOST_DECISIONS: usize = 50;

/// The most rows of the feedback store.
pub const FEEDBACK_ROWS: u16 = 200;

/// The side of the scatter plot.
const SCATTER_SIZE: f64 = 440.0;
const SCATTER_LEFT: f64 = 60.0;
const SCATTER_RIGHT: f64 = SCATTER_SIZE - 8.0;
const SCATTER_TOP: f64 = 8.0;
const SCATTER_BOTTOM: f64 = SCATTER_SIZE - 40.0;

/// Classes beyond these share the looks of earlier ones.
const CLASS_LOOKS: usize = 8;

/// What was asked for in the page's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The feature from left to right.
    pub x: String,
    /// The feature from below.
    pub y: String,
    /// What rows of the feedback store are to contain.
    pub q: String,
}

/// The pieces of the page that are the same for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragments {
    /// What the figures amount to.
    pub status: String,
    /// The figures.
    pub figures: String,
    /// Records by second.
    pub throughput: String,
    /// Accuracy by second, and who answered.
    pub accuracy: String,
    /// The partitions.
    pub partitions: String,
    /// Latencies.
    pub latency: String,
    /// The confusion matrix.
    pub matrix: String,
    /// The newest predictions.
    pub predictions: String,
    /// The newest mispredictions.
    pub mispredictions: String,
    /// The registry.
    pub models: String,
    /// Records that were set aside.
    pub dead_letters: String,
}

impl Fragments {
    /// Each piece with the place that it goes to.
    #[must_use]
    pub fn by_place(&self) -> [(&'static str, &str); 11] {
        [
            ("status", &self.status),
            ("figures", &self.figures),
            ("throughput", &self.throughput),
            ("accuracy", &self.accuracy),
            ("partitions", &self.partitions),
            ("latency", &self.latency),
            ("matrix", &self.matrix),
            ("predictions", &self.predictions),
            ("mispredictions", &self.mispredictions),
            ("models", &self.models),
            ("dead-letters", &self.dead_letters),
        ]
    }

    /// Renders all pieces as of a time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// If a template cannot be rendered.
    pub fn render(state: &State, problems: &[String], now_ms: i64) -> askama::Result<Self> {
        let now_s = now_ms.div_euclid(1000);
        let figures = state.board.figures();
        let partitions = state.board.partitions(now_ms);
        let status = Status::of(&partitions, problems);
        let answers = |answers: Vec<Answer>, title, empty| {
            AnswersView {
                answers,
                title,
                empty,
                id: &state.schema.id,
                features: &state.schema.features,
            }
            .render()
        };
        Ok(Self {
            status: StatusView { status: &status }.render()?,
            figures: FiguresView {
                rate: state.board.timeline().rate(RATE_SECONDS, now_s),
                lag: total_lag(&partitions),
                figures: &figures,
            }
            .render()?,
            throughput: throughput(state, now_s).render()?,
            accuracy: accuracy(state, &figures.versions, now_s).render()?,
            partitions: PartitionsView {
                topic: &state.input,
                partitions: &partitions,
            }
            .render()?,
            latency: latency(state, now_s).render()?,
            matrix: MatrixView::of(&figures).render()?,
            predictions: answers(
                state.predictions.first(ROWS),
                "the newest predictions",
                "There is no prediction yet. If records are classified but not published, classifier.publish_predictions is off.",
            )?,
            mispredictions: answers(
                state.mispredictions.first(ROWS),
                "the newest mispredictions",
                "There is none yet.",
            )?,
            models: ModelsView {
                models: &state.models,
                decisions: state.models.decisions.iter().take(MOST_DECISIONS).collect(),
            }
            .render()?,
            dead_letters: DeadLettersView {
                reasons: figures.dead_letters_by_reason.iter().collect(),
                letters: state.dead_letters.iter().take(ROWS).collect(),
            }
            .render()?,
        })
    }
}

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page<'a> {
    /// As of when, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The features that can be looked at.
    pub features: &'a [String],
    /// What was asked for.
    pub query: &'a Query,
    /// The pieces that are the same for everybody.
    pub fragments: &'a Fragments,
    /// What the model sees, rendered.
    pub scatter: &'a str,
    /// The rows of the feedback store, rendered.
    pub feedback: &'a str,
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusView<'a> {
    status: &'a Status,
}

#[derive(Template)]
#[template(path = "figures.html")]
struct FiguresView<'a> {
    figures: &'a Figures,
    rate: f64,
    lag: String,
}

#[derive(Template)]
#[template(path = "partitions.html")]
struct PartitionsView<'a> {
    topic: &'a str,
    partitions: &'a [Partition],
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
    /// Seconds since the epoch and records, the newest first.
    rows: Vec<(i64, u64)>,
}

#[derive(Template)]
#[template(path = "accuracy.html")]
struct AccuracyView<'a> {
    chart: LineChart,
    versions: &'a [VersionFigures],
}

#[derive(Template)]
#[template(path = "latency.html")]
struct LatencyView {
    title: String,
    bars: Vec<Bar>,
    y_ticks: Vec<Tick>,
    rows: Vec<(String, u64)>,
    median: String,
    p99: String,
}

#[derive(Template)]
#[template(path = "matrix.html")]
struct MatrixView {
    classes: Vec<String>,
    rows: Vec<MatrixRow>,
}

struct MatrixRow {
    actual: String,
    cells: Vec<MatrixCell>,
}

struct MatrixCell {
    predicted: String,
    count: u64,
    /// Its share of the row, in tenths.
    tenths: u64,
    is_right: bool,
}

#[derive(Template)]
#[template(path = "answers.html")]
struct AnswersView<'a> {
    answers: Vec<Answer>,
    title: &'static str,
    empty: &'static str,
    id: &'a str,
    features: &'a [String],
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersView<'a> {
    reasons: Vec<(&'a String, &'a u64)>,
    letters: Vec<&'a SetAside>,
}

#[derive(Template)]
#[template(path = "models.html")]
struct ModelsView<'a> {
    models: &'a Models,
    decisions: Vec<&'a DecisionFigures>,
}

#[derive(Template)]
#[template(path = "scatter.html")]
struct ScatterView<'a> {
    title: String,
    size: f64,
    left: f64,
    areas: Vec<Area>,
    dots: Vec<Dot>,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    x_name: &'a str,
    y_name: &'a str,
    classes: &'a [String],
    model_version: &'a str,
}

struct Area {
    class: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

struct Dot {
    class: usize,
    x: f64,
    y: f64,
    is_error: bool,
}

#[derive(Template)]
#[template(source = "<p class=\"empty\">{{ reason }}</p>", ext = "html")]
struct EmptyView<'a> {
    reason: &'a str,
}

#[derive(Template)]
#[template(path = "feedback.html")]
struct FeedbackView<'a> {
    answer: Result<&'a [FeedbackRow], &'a StoreError>,
    query: &'a str,
    limit: usize,
}

/// The time from one moment to now, at the lower edge of charts.
fn time_axis(now_s: i64) -> (Scale, Vec<Tick>) {
    let scale = Scale::new(
        [(now_s - CHART_SECONDS) as f64, now_s as f64],
        [chart::LEFT, chart::RIGHT],
    );
    let ticks = (1..4).map(|quarter| {
        let at = now_s - CHART_SECONDS + quarter * CHART_SECONDS / 4;
        Tick {
            at: scale.place(at as f64),
            label: clock(at * 1000),
        }
    });
    (scale, ticks.collect())
}

fn throughput(state: &State, now_s: i64) -> ThroughputView {
    let timeline = state.board.timeline();
    let from = now_s - CHART_SECONDS;
    let mut records = vec![0; usize::try_from(CHART_SECONDS).unwrap_or_default()];
    for (at, second) in timeline.between(from, now_s) {
        if let Some(place) = usize::try_from(at - from)
            .ok()
            .and_then(|at| records.get_mut(at))
        {
            *place = second.records;
        }
    }
    let most = records.iter().copied().max().unwrap_or_default();
    let (x, x_ticks) = time_axis(now_s);
    let y = Scale::new(
        [0.0, chart::round_up(most as f64, 4.0)],
        [chart::BOTTOM, chart::TOP],
    );
    let samples = (from..)
        .zip(&records)
        .map(|(at, &records)| (at as f64, Some(records as f64)));
    ThroughputView {
        chart: LineChart {
            title: format!(
                "Records a second over the last {CHART_SECONDS} seconds: at most {}, {} in the last whole second",
                chart::short(most as f64),
                chart::short(records.last().copied().unwrap_or_default() as f64),
            ),
            path: chart::line(samples, x, y),
            x_ticks,
            y_ticks: y.ticks(chart::short),
            marks: Vec::new(),
        },
        rows: timeline
            .between(from, now_s)
            .map(|(at, second)| (at, second.records))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect(),
    }
}

fn accuracy<'a>(state: &State, versions: &'a [VersionFigures], now_s: i64) -> AccuracyView<'a> {
    let timeline = state.board.timeline();
    let from = now_s - CHART_SECONDS;
    let samples: Vec<(f64, Option<f64>)> = (from..now_s)
        .map(|at| (at as f64, timeline.accuracy(WINDOW_SECONDS, at)))
        .collect();
    let lowest = samples
        .iter()
        .filter_map(|&(_, accuracy)| accuracy)
        .fold(1.0, f64::min);
    // Never so close that a single misprediction looks like a collapse.
    let bottom = ((lowest - 0.02).min(0.9) * 10.0).floor() / 10.0;
    let (x, x_ticks) = time_axis(now_s);
    let y = Scale::new([bottom.max(0.0), 1.0], [chart::BOTTOM, chart::TOP]);
    let latest = samples.last().and_then(|&(_, accuracy)| accuracy);
    let is_within = |version: &&VersionFigures| version.first_ms >= from * 1000;
    AccuracyView {
        chart: LineChart {
            title: format!(
                "Accuracy over the last {CHART_SECONDS} seconds, now {}; vertical lines mark the first answer of a model version, by its number",
                percent(latest)
            ),
            path: chart::line(samples.into_iter(), x, y),
            x_ticks,
            y_ticks: y.ticks(|value| format!("{:.0}%", value * 100.0)),
            marks: versions
                .iter()
                .filter(is_within)
                .map(|version| Tick {
                    at: x.place(version.first_ms as f64 / 1e3),
                    label: version.number.to_string(),
                })
                .collect(),
        },
        versions,
    }
}

fn latency(state: &State, now_s: i64) -> LatencyView {
    let counts = state.board.timeline().latency_ms(WINDOW_SECONDS, now_s);
    let rows: Vec<(String, u64)> = counts
        .iter()
        .map(|(&bound, &count)| (duration(bound), count))
        .collect();
    let most = counts.values().copied().max().unwrap_or_default();
    let y = Scale::new(
        [0.0, chart::round_up(most as f64, 4.0)],
        [chart::BOTTOM, chart::TOP],
    );
    let values: Vec<(String, f64)> = rows
        .iter()
        .map(|(label, count)| (label.clone(), *count as f64))
        .collect();
    let within = |share| quantile(&counts, share).map_or_else(String::new, duration);
    let (median, p99) = (within(0.5), within(0.99));
    LatencyView {
        title: format!(
            "Records by latency over the last minute: half within {median}, 99% within {p99}"
        ),
        bars: chart::bars(&values, y),
        y_ticks: y.ticks(chart::short),
        rows,
        median,
        p99,
    }
}

impl MatrixView {
    fn of(figures: &Figures) -> Self {
        let confusion = &figures.evaluations;
        let names: BTreeSet<&str> = confusion
            .cells()
            .flat_map(|(actual, predicted, _)| [actual, predicted])
            .collect();
        let row = |&actual: &&str| {
            let count = |predicted: &str| confusion.count(actual, predicted);
            let all: u64 = names.iter().map(|predicted| count(predicted)).sum();
            let cell = |&predicted: &&str| MatrixCell {
                predicted: predicted.to_owned(),
                count: count(predicted),
                tenths: (count(predicted) * 10).checked_div(all).unwrap_or(0),
                is_right: predicted == actual,
            };
            MatrixRow {
                actual: actual.to_owned(),
                cells: names.iter().map(cell).collect(),
            }
        };
        Self {
            rows: names.iter().map(row).collect(),
            classes: names.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// What the model sees, and the points on it.
///
/// # Errors
/// If the template cannot be rendered.
pub fn scatter(regions: &Regions, points: &[Point]) -> askama::Result<String> {
    let x = Scale::new(regions.x_range, [SCATTER_LEFT, SCATTER_RIGHT]);
    let y = Scale::new(regions.y_range, [SCATTER_BOTTOM, SCATTER_TOP]);
    let cell_width = (SCATTER_RIGHT - SCATTER_LEFT) / regions.cells as f64;
    let cell_height = (SCATTER_BOTTOM - SCATTER_TOP) / regions.cells as f64;
    let areas = regions.runs.iter().map(|run| Area {
        class: run.class % CLASS_LOOKS,
        x: SCATTER_LEFT + cell_width * run.x as f64,
        y: SCATTER_BOTTOM - cell_height * (run.y + 1) as f64,
        width: cell_width * run.length as f64,
        height: cell_height,
    });
    let class_of = |name: &String| {
        let class = regions.classes.iter().position(|class| class == name);
        class.unwrap_or(regions.classes.len()) % CLASS_LOOKS
    };
    let dots = points.iter().map(|point| Dot {
        class: class_of(&point.predicted),
        x: x.place(point.x),
        y: y.place(point.y),
        is_error: point.is_error(),
    });
    let errors = points.iter().filter(|point| point.is_error()).count();
    let (x_name, y_name) = (&regions.features[regions.x], &regions.features[regions.y]);
    ScatterView {
        title: format!(
            "{x_name} across and {y_name} up: the classes' regions, {} points, {errors} of them mispredicted",
            points.len()
        ),
        size: SCATTER_SIZE,
        left: SCATTER_LEFT,
        areas: areas.collect(),
        dots: dots.collect(),
        x_ticks: x.ticks(chart::short),
        y_ticks: y.ticks(chart::short),
        x_name,
        y_name,
        classes: &regions.classes,
        model_version: &regions.model_version,
    }
    .render()
}

/// What stands where there is nothing to show: why.
///
/// # Errors
/// If the template cannot be rendered.
pub fn empty(reason: &str) -> askama::Result<String> {
    EmptyView { reason }.render()
}

/// Rows of the feedback store, or why there are none.
///
/// # Errors
/// If the template cannot be rendered.
pub fn feedback(
    answer: &Result<Vec<FeedbackRow>, StoreError>,
    query: &str,
) -> askama::Result<String> {
    FeedbackView {
        answer: answer.as_deref(),
        query,
        limit: usize::from(FEEDBACK_ROWS),
    }
    .render()
}

/// The lag of all partitions together, of the group that got on last in each.
fn total_lag(partitions: &[Partition]) -> String {
    let mut lag = 0;
    for partition in partitions {
        match (partition.state, partition.lag, partition.end_offset) {
            (PartitionState::Superseded, ..) => {}
            (_, Some(behind), _) => lag += behind,
            (_, None, Some(end)) => lag += end,
            (_, None, None) => return "unknown".to_owned(),
        }
    }
    if partitions.is_empty() {
        return "unknown".to_owned();
    }
    count(lag.unsigned_abs())
}

fn formatted(ms: i64, format: &str) -> String {
    Timestamp::from_millisecond(ms)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

/// A time of day, in UTC.
#[must_use]
pub fn clock(ms: impl Borrow<i64>) -> String {
    formatted(*ms.borrow(), "%H:%M:%S")
}

/// A date and a time of day, in UTC.
#[must_use]
pub fn moment(ms: impl Borrow<i64>) -> String {
    formatted(*ms.borrow(), "%Y-%m-%d %H:%M:%S")
}

/// A time of day, or nothing.
#[must_use]
pub fn clock_or_none(ms: impl Borrow<Option<i64>>) -> String {
    ms.borrow().map(clock).unwrap_or_default()
}

/// A count with its thousands set apart.
#[must_use]
pub fn count(count: impl Borrow<u64>) -> String {
    let digits = count.borrow().to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share, as a percentage.
#[must_use]
pub fn percent(share: impl Borrow<Option<f64>>) -> String {
    share.borrow().map_or_else(
        || "none yet".to_owned(),
        |share| format!("{:.1}%", share * 100.0),
    )
}

/// A number that may not be known.
#[must_use]
pub fn or_unknown(number: impl Borrow<Option<i64>>) -> String {
    number
        .borrow()
        .map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

/// A number, or nothing.
#[must_use]
pub fn or_none(number: impl Borrow<Option<i64>>) -> String {
    number
        .borrow()
        .map(|number| number.to_string())
        .unwrap_or_default()
}

/// A feature's value, or that there is none.
#[must_use]
pub fn value(value: impl Borrow<Option<f64>>) -> String {
    value
        .borrow()
        .map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// The bound of a bucket of latencies.
fn duration(ms: u64) -> String {
    match ms {
        u64::MAX => "longer".to_owned(),
        ms if ms >= 1_000 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// Whether an answer is right.
#[must_use]
pub fn verdict(answer: &Answer) -> &'static str {
    match answer.is_right() {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "unknown",
    }
}

/// An answer's votes.
#[must_use]
pub fn votes(answer: &Answer) -> String {
    let votes: Vec<String> = answer.votes.iter().map(ToString::to_string).collect();
    votes.join(" : ")
}

/// The looks of a partition's state.
#[must_use]
pub fn state_class(state: impl Borrow<PartitionState>) -> &'static str {
    match state.borrow() {
        PartitionState::CaughtUp | PartitionState::Behind => "ok",
        PartitionState::NotAdvancing => "problem",
        PartitionState::NoCommitYet | PartitionState::Unknown => "waiting",
        PartitionState::Superseded | PartitionState::Empty => "quiet",
    }
}

/// A model's training rows, by where they came from.
#[must_use]
pub fn rows(model: &ModelFigures) -> String {
    let rows: Vec<String> = model
        .rows
        .iter()
        .map(|(source, rows)| format!("{} {source}", count(*rows)))
        .collect();
    rows.join(", ")
}

/// A model's figures.
#[must_use]
pub fn metrics(model: &ModelFigures) -> String {
    let metrics: Vec<String> = model
        .metrics
        .iter()
        .map(|(name, value)| format!("{name} {value:.4}"))
        .collect();
    metrics.join(", ")
}

/// When a model was the champion.
#[must_use]
pub fn reigns(model: &ModelFigures) -> String {
    if model.reigns.is_empty() {
        return "never".to_owned();
    }
    let reigns: Vec<String> = model
        .reigns
        .iter()
        .map(|reign| {
            let from = clock_or_none(reign.from_ms);
            let until = reign.until_ms.map_or_else(|| "now".to_owned(), clock);
            format!("{from} to {until}")
        })
        .collect();
    reigns.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::summary;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            (percent(Some(0.9733)), percent(None)),
            ("97.3%".to_owned(), "none yet".to_owned())
        );
        assert_eq!(clock(3_661_000), "01:01:01");
        assert_eq!(
            [5, 2_000, u64::MAX].map(duration),
            ["5 ms", "2 s", "longer"]
        );
    }

    #[test]
    fn pieces_show_the_figures_and_escape_what_came_from_outside() {
        let mut state = State {
            input: "input".to_owned(),
            ..State::default()
        };
        let empty = Fragments::render(&state, &[], 60_000).unwrap();
        assert!(empty.status.contains("Waiting for the first record"));
        assert!(
            empty
                .figures
                .contains("<dd data-figure=\"lag\">unknown</dd>")
        );
        assert!(empty.matrix.contains("No record with a label"));

        state.board.add(&summary(0, 1_500, 1_500), 58_500);
        state.board.ended([(0, 1_503)].into(), 59_000);
        state.predictions.add([Answer {
            partition: 0,
            offset: 1,
            created_ms: Some(58_000),
            id: Some("<script>".to_owned()),
            features: vec![Some(5.1), None],
            predicted: "a".to_owned(),
            actual: Some("b".to_owned()),
            model_version: None,
            input_offset: Some(0),
            votes: vec![3, 2],
        }]);
        let full = Fragments::render(&state, &[], 60_000).unwrap();
        assert!(
            full.figures
                .contains("<dd data-figure=\"records\">1,500</dd>")
        );
        assert!(full.figures.contains("<dd data-figure=\"lag\">3</dd>"));
        assert!(
            full.matrix
                .contains("data-actual=\"b\" data-predicted=\"a\">1</td>")
        );
        assert!(full.latency.contains("half within 5 ms"));
        assert!(full.accuracy.contains("00c0ffee00c0ffee"));
        assert!(
            full.predictions.contains("&#60;script&#62;"),
            "{}",
            full.predictions
        );
        assert!(full.predictions.contains("class=\"wrong\""));
        let broken = Fragments::render(&state, &["no broker".to_owned()], 60_000).unwrap();
        assert!(broken.status.contains("no broker"));
    }
}
