//! Tables of records: predictions, mispredictions, dead letters and rows of the feedback store.

use askama::Template;
use iris_contract::CountsBy;
use iris_core::Schema;
use iris_feedback_store::FeedbackRow;

use crate::feedback::{FeedbackError, MAX_ROWS};
use crate::recent::{DeadLetterRow, Newest, PredictionRow};

/// Rows of a table of the newest records.
const ROWS: usize = 20;

/// The texts of a table of predictions.
pub(crate) struct PredictionTexts {
    name: &'static str,
    title: &'static str,
    /// Shown in place of an empty table.
    empty: &'static str,
}

/// The texts of the table of predictions.
pub(crate) const PREDICTIONS: PredictionTexts = PredictionTexts {
    name: "predictions",
    title: "the newest predictions",
    empty: "No predictions yet. If records are classified but predictions are not published, classifier.publish_predictions \
            is off.",
};

/// The texts of the table of mispredictions.
pub(crate) const MISPREDICTIONS: PredictionTexts = PredictionTexts {
    name: "mispredictions",
    title: "the newest mispredictions",
    empty: "No mispredictions yet.",
};

#[derive(Template)]
#[template(path = "predictions.html")]
struct PredictionsView<'a> {
    rows: Vec<&'a PredictionRow>,
    texts: PredictionTexts,
    id: &'a str,
    features: &'a [String],
}

/// Renders the newest predictions.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn predictions(
    newest: &Newest<PredictionRow>,
    texts: PredictionTexts,
    schema: &Schema,
) -> askama::Result<String> {
    PredictionsView {
        rows: newest.iter().take(ROWS).collect(),
        texts,
        id: &schema.id,
        features: &schema.features,
    }
    .render()
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersView<'a> {
    is_known: bool,
    reasons: &'a CountsBy<String>,
    letters: Vec<&'a DeadLetterRow>,
}

/// Renders the number of dead letters by reason, and the newest of them; `is_known` is false while the number is not known.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn dead_letters(
    is_known: bool,
    reasons: &CountsBy<String>,
    newest: &Newest<DeadLetterRow>,
) -> askama::Result<String> {
    DeadLettersView {
        is_known,
        reasons,
        letters: newest.iter().take(ROWS).collect(),
    }
    .render()
}

#[derive(Template)]
#[template(path = "feedback.html")]
struct FeedbackView<'a> {
    found: Result<&'a [FeedbackRow], &'a FeedbackError>,
    query: &'a str,
    limit: usize,
}

/// Renders the rows of the feedback store that contain a text, or why there are none.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn feedback(
    found: &Result<Vec<FeedbackRow>, FeedbackError>,
    query: &str,
) -> askama::Result<String> {
    FeedbackView {
        found: found.as_deref(),
        query,
        limit: usize::from(MAX_ROWS),
    }
    .render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction() -> PredictionRow {
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

    fn rendered() -> String {
        let mut newest = Newest::default();
        newest.add([prediction()]);
        predictions(&newest, PREDICTIONS, &Schema::default()).unwrap()
    }

    #[test]
    fn text_of_records_is_escaped() {
        let table = rendered();
        assert!(table.contains("&#60;script&#62;"), "{table}");
        assert!(table.contains("class=\"wrong\""), "{table}");
    }

    #[test]
    fn control_characters_in_records_are_escaped() {
        const HOSTILE: &str = "x\nforged\u{1b}[31m\u{202e}";
        let text = || HOSTILE.to_owned();
        let mut newest = Newest::default();
        newest.add([PredictionRow {
            id: Some(text()),
            predicted: text(),
            actual: Some(text()),
            ..prediction()
        }]);
        let mut letters = Newest::default();
        letters.add([DeadLetterRow {
            partition: 0,
            offset: 0,
            created_ms: None,
            reason: text(),
            message: text(),
            topic: text(),
            input_offset: 0,
            attempt: 1,
            value: text(),
        }]);
        let reasons = [(text(), 1)].into_iter().collect();
        let row = FeedbackRow {
            record_id: Some(text()),
            label: Some(text()),
            predicted: Some(text()),
            value: text(),
            problem: Some(text()),
            ..FeedbackRow::default()
        };
        let schema = Schema {
            id: text(),
            features: vec![text()],
            ..Schema::default()
        };
        for (html, shown) in [
            (predictions(&newest, PREDICTIONS, &schema), 5),
            (dead_letters(true, &reasons, &letters), 5),
            (feedback(&Ok(vec![row]), HOSTILE), 6),
        ] {
            let html = html.unwrap();
            assert!(
                !html.contains(['\u{1b}', '\u{202e}']) && !html.contains("x\nforged"),
                "{html}"
            );
            assert_eq!(
                html.matches("x\\nforged\\u{1b}[31m\\u{202e}").count(),
                shown,
                "{html}"
            );
        }
    }

    #[test]
    fn a_row_begins_with_id_and_verdict_and_has_all_features_in_one_cell() {
        let table = rendered();
        let row = table.split("<tr class=\"wrong\">").nth(1).unwrap();
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
    fn a_search_shows_the_number_of_rows_or_why_there_are_none() {
        let row = FeedbackRow {
            record_id: Some("84".to_owned()),
            ..FeedbackRow::default()
        };
        for (found, query, expected) in [
            (Ok(vec![row]), "8", "1 row with “8”."),
            (Ok(Vec::new()), "<", "No row contains “&#60;”."),
            (Ok(Vec::new()), "", "The store is empty"),
            (Err(FeedbackError::NotSet), "", "no feedback store is set"),
        ] {
            let html = feedback(&found, query).unwrap();
            assert!(html.contains(expected), "{html}");
        }
    }
}
