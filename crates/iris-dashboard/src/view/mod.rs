//! The pieces of the page. Each is rendered on the server, and the browser puts it in its place.

pub mod charts;
pub(crate) mod empty;
mod figures;
mod learning;
mod matrix;
mod models;
pub(crate) mod records;
pub(crate) mod scatter;

use askama::Template;

use crate::range::Range;
use crate::state::DashboardState;
use crate::status::Status;
use charts::Charts;

/// The seconds over which the rate is taken.
const RATE_SECONDS: i64 = 5;

/// The query parameters of the page.
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

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page<'a> {
    /// The time of the page, in milliseconds since the epoch.
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

/// The pieces of the page that are the same for every tab, and the charts of each range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragments {
    /// The state of the pipeline in a sentence.
    pub status: String,
    /// The figures.
    pub figures: String,
    /// The learning loop.
    pub learning: String,
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
    /// Renders all pieces as of a time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// If a template cannot be rendered.
    pub fn render(
        state: &DashboardState,
        problems: &[String],
        now_ms: i64,
    ) -> askama::Result<Self> {
        let (board, schema) = (&state.board, &state.schema);
        let figures = board.figures();
        let partitions = board.partitions(now_ms);
        let rate = board.timeline().rate(RATE_SECONDS, now_ms.div_euclid(1000));
        let charts = |range| Charts::render(board, &figures.versions, range, now_ms);
        let [minute, quarter_hour, all] = Range::EVERY.map(charts);
        Ok(Self {
            status: figures::status(&Status::of(
                &partitions,
                &board.late(&partitions),
                board.reading(),
                problems,
                now_ms,
            ))?,
            figures: figures::figures(&figures, &partitions, rate)?,
            learning: learning::learning(state.learning.as_ref())?,
            charts: [minute?, quarter_hour?, all?],
            partitions: figures::partitions(&state.input, &partitions)?,
            matrix: matrix::matrix(&figures.evaluations)?,
            predictions: records::predictions(&state.predictions, records::PREDICTIONS, schema)?,
            mispredictions: records::predictions(
                &state.mispredictions,
                records::MISPREDICTIONS,
                schema,
            )?,
            models: models::models(&state.models)?,
            dead_letters: records::dead_letters(
                figures.are_known(),
                &figures.dead_letters_by_reason,
                &state.dead_letters,
            )?,
        })
    }

    /// Returns the charts of a range.
    #[must_use]
    pub fn charts(&self, range: Range) -> &Charts {
        let [minute, quarter_hour, all] = &self.charts;
        match range {
            Range::Minute => minute,
            Range::QuarterHour => quarter_hour,
            Range::All => all,
        }
    }

    /// Returns each piece of a tab that shows a range, with the id of its place.
    #[must_use]
    pub fn by_place(&self, range: Range) -> [(&'static str, &str); 13] {
        let charts = self.charts(range);
        [
            ("status", &self.status),
            ("figures", &self.figures),
            ("learning", &self.learning),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;

    #[test]
    fn figures_are_unknown_and_not_zero_until_they_are_read() {
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
    fn pieces_show_the_figures_and_the_problems() {
        let mut state = DashboardState::default();
        state.board.add(&summary(0, 1_500, 1_500), 58_500);
        state.board.ended([(0, 1_503)].into(), 59_000);
        let full = Fragments::render(&state, &[], 60_000).unwrap();
        assert!(full.figures.contains("data-figure=\"records\">1,500</dd>"));
        assert!(full.figures.contains("data-figure=\"lag\">3</dd>"));
        assert!(
            full.matrix
                .contains("data-actual=\"b\" data-predicted=\"a\">1</td>")
        );
        let broken = Fragments::render(&state, &["no broker".to_owned()], 60_000).unwrap();
        assert!(broken.status.contains("no broker"));
    }

    #[test]
    fn each_range_has_its_own_charts() {
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
