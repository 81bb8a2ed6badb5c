//! The state as pieces of the page. Each piece is rendered on the server, and the browser puts it in its place.

use std::collections::BTreeSet;

use askama::Template;

use crate::board::{Figures, Partition, PartitionState};
use crate::charts::Charts;
use crate::feedback::FeedbackError;
use crate::format;
use crate::geometry::{Scale, Tick};
use crate::models::{DecisionFigures, Models};
use crate::range::Range;
use crate::recent::{DeadLetterRow, PredictionRow};
use crate::scatter::{Point, Regions};
use crate::state::{DashboardState, Status};
use iris_feedback_store::FeedbackRow;

/// The seconds over which the rate is taken.
const RATE_SECONDS: i64 = 5;

/// Rows of tables of records.
const ROWS: usize = 20;

/// The most decisions that are listed.
const MAX_DECISIONS: usize = 50;

/// The most rows of the feedback store.
pub const FEEDBACK_ROWS: u16 = 200;

/// The side of the scatter plot.
const SCATTER_SIZE: f64 = 440.0;
const SCATTER_LEFT: f64 = 60.0;
const SCATTER_RIGHT: f64 = SCATTER_SIZE - 8.0;
const SCATTER_TOP: f64 = 8.0;
const SCATTER_BOTTOM: f64 = SCATTER_SIZE - 40.0;

/// Colours of classes; further classes share those of earlier ones.
const CLASS_LOOKS: usize = 8;

/// The page's query parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The feature on the horizontal axis.
    pub x: String,
    /// The feature on the vertical axis.
    pub y: String,
    /// The text that rows of the feedback store contain.
    pub q: String,
    /// The range of the charts.
    pub range: Range,
}

/// The pieces of the page that are the same for every tab, and the charts of each range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragments {
    /// The state of the pipeline in a sentence.
    pub status: String,
    /// The figures.
    pub figures: String,
    /// The charts, in the order of [`Range::EVERY`].
    charts: [Charts; Range::EVERY.len()],
    /// The partitions.
    pub partitions: String,
    /// The confusion matrix.
    pub matrix: String,
    /// The newest predictions.
    pub predictions: String,
    /// The newest mispredictions.
    pub mispredictions: String,
    /// The registry.
    pub models: String,
    /// The newest dead letters.
    pub dead_letters: String,
}

impl Fragments {
    /// The charts of a range.
    #[must_use]
    pub fn charts(&self, range: Range) -> &Charts {
        let [minute, quarter_hour, all] = &self.charts;
        match range {
            Range::Minute => minute,
            Range::QuarterHour => quarter_hour,
            Range::All => all,
        }
    }

    /// Each piece of a tab that shows a range, with the id of its place.
    #[must_use]
    pub fn by_place(&self, range: Range) -> [(&'static str, &str); 12] {
        let charts = self.charts(range);
        [
            ("status", &self.status),
            ("figures", &self.figures),
            ("range-note", &charts.note),
            ("throughput", &charts.throughput),
            ("accuracy", &charts.accuracy),
            ("latency", &charts.latency),
            ("partitions", &self.partitions),
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
    pub fn render(
        state: &DashboardState,
        problems: &[String],
        now_ms: i64,
    ) -> askama::Result<Self> {
        let now_s = now_ms.div_euclid(1000);
        let figures = state.board.figures();
        let partitions = state.board.partitions(now_ms);
        let status = Status::of(&partitions, problems);
        let answers = |answers: Vec<PredictionRow>, name, title, empty| {
            PredictionsView {
                answers,
                name,
                title,
                empty,
                id: &state.schema.id,
                features: &state.schema.features,
            }
            .render()
        };
        let charts = |range| Charts::render(state, &figures.versions, range, now_ms);
        let [minute, quarter_hour, all] = Range::EVERY.map(charts);
        Ok(Self {
            status: StatusView { status: &status }.render()?,
            figures: FiguresView {
                is_known: figures.known_until_ms.or(figures.since_ms).is_some(),
                rate: state.board.timeline().rate(RATE_SECONDS, now_s),
                lag: total_lag(&partitions),
                figures: &figures,
            }
            .render()?,
            charts: [minute?, quarter_hour?, all?],
            partitions: PartitionsView {
                topic: &state.input,
                partitions: &partitions,
            }
            .render()?,
            matrix: MatrixView::of(&figures).render()?,
            predictions: answers(
                state.predictions.first(ROWS),
                "predictions",
                "the newest predictions",
                "No predictions yet. If records are classified but predictions are not published, classifier.publish_predictions is off.",
            )?,
            mispredictions: answers(
                state.mispredictions.first(ROWS),
                "mispredictions",
                "the newest mispredictions",
                "No mispredictions yet.",
            )?,
            models: ModelsView {
                models: &state.models,
                decisions: state.models.decisions.iter().take(MAX_DECISIONS).collect(),
            }
            .render()?,
            dead_letters: DeadLettersView {
                is_known: figures.known_until_ms.or(figures.since_ms).is_some(),
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
    /// The features to choose from.
    pub features: &'a [String],
    /// The query parameters.
    pub query: &'a Query,
    /// The pieces that are the same for every tab.
    pub fragments: &'a Fragments,
    /// The charts of the range.
    pub charts: &'a Charts,
    /// The scatter plot, rendered.
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
    /// Whether any summary was read, or that there is none.
    is_known: bool,
    figures: &'a Figures,
    rate: Option<f64>,
    lag: String,
}

#[derive(Template)]
#[template(path = "partitions.html")]
struct PartitionsView<'a> {
    topic: &'a str,
    partitions: &'a [Partition],
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
#[template(path = "predictions.html")]
struct PredictionsView<'a> {
    answers: Vec<PredictionRow>,
    name: &'static str,
    title: &'static str,
    empty: &'static str,
    id: &'a str,
    features: &'a [String],
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersView<'a> {
    is_known: bool,
    reasons: Vec<(&'a String, &'a u64)>,
    letters: Vec<&'a DeadLetterRow>,
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
    answer: Result<&'a [FeedbackRow], &'a FeedbackError>,
    query: &'a str,
    limit: usize,
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

/// The scatter plot: a model's regions, and the newest points on them.
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
        x_ticks: x.ticks(format::short),
        y_ticks: y.ticks(format::short),
        x_name,
        y_name,
        classes: &regions.classes,
        model_version: &regions.model_version,
    }
    .render()
}

/// Why there is nothing to show.
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
    answer: &Result<Vec<FeedbackRow>, FeedbackError>,
    query: &str,
) -> askama::Result<String> {
    FeedbackView {
        answer: answer.as_deref(),
        query,
        limit: usize::from(FEEDBACK_ROWS),
    }
    .render()
}

/// The lag of all partitions together: in each, that of the group that made progress last.
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
    format::count(lag.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::summary;

    fn answer() -> PredictionRow {
        PredictionRow {
            partition: 0,
            offset: 1,
            created_ms: Some(58_000),
            id: Some("<script>".to_owned()),
            features: vec![Some(5.1), None],
            predicted: "a".to_owned(),
            actual: Some("b".to_owned()),
            model_version: Some("00c0ffee00c0ffee".to_owned()),
            input_offset: Some(0),
            votes: vec![3, 2],
        }
    }

    #[test]
    fn what_was_not_read_yet_is_unknown_and_not_zero() {
        let mut state = DashboardState::default();
        let unread = Fragments::render(&state, &[], 60_000).unwrap();
        assert!(unread.status.contains("Waiting for the first record"));
        assert_eq!(unread.figures.matches(">unknown</dd>").count(), 5);
        assert!(unread.matrix.contains("No record with a label"));
        assert!(unread.dead_letters.contains("not known yet"));

        state.board.is_known_until(60_000);
        state.board.ended([(0, 0)].into(), 60_000);
        let empty = Fragments::render(&state, &[], 60_000).unwrap();
        assert!(!empty.figures.contains("unknown"), "{}", empty.figures);
        assert!(empty.figures.contains("<dd data-figure=\"records\">0</dd>"));
    }

    #[test]
    fn pieces_show_the_figures_and_escape_text_of_records() {
        let mut state = DashboardState::default();
        state.board.add(&summary(0, 1_500, 1_500), 58_500);
        state.board.ended([(0, 1_503)].into(), 59_000);
        state.predictions.add([answer()]);
        let full = Fragments::render(&state, &[], 60_000).unwrap();
        assert!(full.figures.contains("data-figure=\"records\">1,500</dd>"));
        assert!(full.figures.contains("data-figure=\"lag\">3</dd>"));
        assert!(
            full.matrix
                .contains("data-actual=\"b\" data-predicted=\"a\">1</td>")
        );
        assert!(full.predictions.contains("&#60;script&#62;"));
        assert!(full.predictions.contains("class=\"wrong\""));
        let broken = Fragments::render(&state, &["no broker".to_owned()], 60_000).unwrap();
        assert!(broken.status.contains("no broker"));
    }

    #[test]
    fn a_record_begins_with_its_id_and_verdict_and_its_features_are_one_cell() {
        let mut state = DashboardState::default();
        state.predictions.add([answer()]);
        let pieces = Fragments::render(&state, &[], 60_000).unwrap();
        let row = pieces
            .predictions
            .split("<tr class=\"wrong\">")
            .nth(1)
            .unwrap();
        let cells: Vec<&str> = row.split("<td>").skip(1).take(5).collect();
        assert!(cells[0].starts_with("&#60;script&#62;"), "{row}");
        assert!(cells[1].starts_with("wrong"), "{row}");
        assert!(row.contains("5.1, none"), "{row}");
        assert!(
            row.contains("<code title=\"00c0ffee00c0ffee\">00c0ffee</code>"),
            "{row}"
        );
    }

    #[test]
    fn each_range_has_charts_of_its_own() {
        let mut state = DashboardState::default();
        state.board.add(&summary(0, 10, 10), 1_000_000);
        let pieces = Fragments::render(&state, &[], 1_100_000).unwrap();
        let notes = Range::EVERY.map(|range| pieces.charts(range).note.as_str());
        assert!(notes[0].starts_with("No records since 00:16:40 UTC"));
        assert_eq!(notes[1..], ["", ""]);
        let placed = pieces.by_place(Range::QuarterHour);
        let throughput = &pieces.charts(Range::QuarterHour).throughput;
        assert!(placed.contains(&("throughput", throughput)));
    }
}
