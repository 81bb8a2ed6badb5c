//! The names of the figures of models and decisions in the registry.

use std::collections::BTreeMap;

/// The rows of the dataset that no model is trained on.
pub const HOLDOUT_ROWS: &str = "holdout_rows";
/// The model's accuracy on these.
pub const HOLDOUT_ACCURACY: &str = "holdout_accuracy";
/// Returns the figures of a model that is fitted to the dataset.
#[must_use]
pub fn of_first_model(accuracy: f64, held_out_rows: usize) -> BTreeMap<String, f64> {
    [
        (HOLDOUT_ACCURACY.to_owned(), accuracy),
        (HOLDOUT_ROWS.to_owned(), held_out_rows as f64),
    ]
    .into()
}

/// The champion's accuracy on these.
pub const CHAMPION_HOLDOUT_ACCURACY: &str = "champion_holdout_accuracy";
/// How much less accurate than the champion's the model's accuracy on these may be.
pub const MARGIN: &str = "margin";

/// The recent labelled records that are held out.
pub const RECENT_ROWS: &str = "recent_rows";
/// The model's accuracy on these.
pub const RECENT_ACCURACY: &str = "recent_accuracy";
/// The champion's accuracy on these.
pub const CHAMPION_RECENT_ACCURACY: &str = "champion_recent_accuracy";

/// The model's newest rows, which it and the champion predicted as if they had not learned them.
pub const LEFT_OUT_ROWS: &str = "left_out_rows";
/// The model's accuracy on these.
pub const LEFT_OUT_ACCURACY: &str = "left_out_accuracy";
/// The champion's accuracy on these.
pub const CHAMPION_LEFT_OUT_ACCURACY: &str = "champion_left_out_accuracy";
/// The rows of these that only the champion predicted correctly.
pub const LEFT_OUT_CHAMPION_WINS: &str = "left_out_champion_wins";
/// The rows of these that only the challenger predicted correctly.
pub const LEFT_OUT_CHALLENGER_WINS: &str = "left_out_challenger_wins";
/// The evidence of these against the model.
pub const LEFT_OUT_EVIDENCE: &str = "left_out_evidence";

/// The model's newest rows, which each kind of model predicted as if it had not learned them.
pub const KIND_ROWS: &str = "kind_rows";
/// The beginning of the name of a kind's accuracy on these; the kind in words follows.
pub const KIND_ACCURACY: &str = "kind_accuracy: ";

/// The labelled records that the model predicted in shadow.
pub const SHADOW_RECORDS: &str = "shadow_records";
/// The model's accuracy on these.
pub const SHADOW_ACCURACY: &str = "shadow_accuracy";
/// The champion's accuracy on these.
pub const CHAMPION_SHADOW_ACCURACY: &str = "champion_shadow_accuracy";

/// The labelled records during which a new champion was on probation.
pub const PROBATION_RECORDS: &str = "probation_records";

/// The records that only the champion predicted correctly.
pub const CHAMPION_WINS: &str = "champion_wins";
/// The records that only the challenger predicted correctly.
pub const CHALLENGER_WINS: &str = "challenger_wins";
/// The records that only the champion's predecessor predicted correctly.
pub const PREDECESSOR_WINS: &str = "predecessor_wins";
/// The evidence against the model.
pub const EVIDENCE: &str = "evidence";
/// The evidence against the model in shadow.
pub const SHADOW_EVIDENCE: &str = "shadow_evidence";
/// The probability with which a model that is as good is rejected or rolled back; the evidence that suffices is its inverse.
pub const ERROR_RATE: &str = "error_rate";
