//! The learning loop and its baselines.

use askama::Template;

use crate::format;
use crate::learning::{BaselineFigures, Learning, LoopScores, LoopSpan};

#[derive(Template)]
#[template(path = "learning.html")]
struct LearningView<'a> {
    learning: Option<&'a Learning>,
    sentences: Vec<String>,
    rows: Vec<Row>,
    /// The model that never learns.
    first_champion: &'a str,
}

/// The scores of the loop or a baseline.
struct Row {
    /// The records, in the first row of a range.
    range: Option<String>,
    name: &'static str,
    scores: LoopScores,
    /// The baseline's comparison with the loop.
    baseline: Option<BaselineFigures>,
}

/// Renders the learning loop.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn learning(learning: Option<&Learning>) -> askama::Result<String> {
    let rows = learning.map(|learning| -> Vec<Row> {
        let window = format!("newest {}", format::count(learning.window_records));
        let of_window = rows(window, &learning.window);
        let of_total = rows("all".to_owned(), &learning.total);
        of_window.into_iter().chain(of_total).collect()
    });
    let first_champion = learning.and_then(|learning| learning.first_champion.as_deref());
    LearningView {
        learning,
        sentences: learning.map(Learning::sentences).unwrap_or_default(),
        rows: rows.unwrap_or_default(),
        first_champion: first_champion.unwrap_or_default(),
    }
    .render()
}

fn rows(range: String, span: &LoopSpan) -> Vec<Row> {
    let baseline = |name, figures: Option<BaselineFigures>| {
        figures.map(|baseline| Row {
            range: None,
            name,
            scores: baseline.scores,
            baseline: Some(baseline),
        })
    };
    let served = Row {
        range: Some(range),
        name: "loop",
        scores: span.scores,
        baseline: None,
    };
    let never_learning = baseline("never learning", span.never_learning);
    let no_change = baseline("previous label", span.no_change);
    let baselines = never_learning.into_iter().chain(no_change);
    std::iter::once(served).chain(baselines).collect()
}
