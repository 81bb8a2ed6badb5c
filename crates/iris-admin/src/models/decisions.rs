//! The decisions of the registry, as they are shown.

use iris_contract::registry::Decision;
use iris_registry::Recorded;
use iris_service::TextTable;
use serde::Serialize;

use crate::output::{figure, time};

/// A decision and its time.
#[derive(Serialize)]
pub(super) struct TimedDecision<'a> {
    time: Option<String>,
    #[serde(flatten)]
    pub(super) decision: &'a Decision,
}

impl<'a> TimedDecision<'a> {
    pub(super) fn of(recorded: &'a Recorded) -> Self {
        Self {
            time: time(recorded.timestamp),
            decision: &recorded.decision,
        }
    }
}

/// Returns the reason of a decision.
pub(super) fn reason(decision: &Decision) -> String {
    decision.reason.clone()
}

/// Returns the reason of a decision with the figures that it is based on.
pub(super) fn reason_with_figures(decision: &Decision) -> String {
    let figures = decision.figures.iter();
    let figures: String = figures
        .map(|(name, &value)| format!("; {name} {}", figure(value)))
        .collect();
    format!("{}{figures}", decision.reason)
}

/// Returns a table of decisions with a row for each; `why` fills its last column.
pub(super) fn decision_table(
    decisions: &[TimedDecision<'_>],
    why: fn(&Decision) -> String,
) -> TextTable {
    let mut table = TextTable::new(["decision", "time", "what", "version", "by", "why"]);
    for TimedDecision { time, decision } in decisions {
        table.add_row([
            decision.number.to_string(),
            time.clone().unwrap_or_default(),
            decision.action.to_string(),
            decision.version.to_string(),
            decision.by.clone(),
            why(decision),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use iris_contract::registry::Action;

    use super::*;

    #[test]
    fn a_decision_is_shown_with_its_figures_where_they_are_asked_for() {
        let recorded = Recorded {
            decision: Decision {
                number: 3,
                action: Action::Promoted,
                version: "0123456789abcdef".parse().unwrap(),
                replaces: None,
                by: "iris-trainer".into(),
                reason: "not worse".into(),
                figures: [("holdout_accuracy".to_owned(), 29.0 / 30.0)].into(),
            },
            timestamp: Some(0),
        };
        let rows = [TimedDecision::of(&recorded)];
        let with_figures = decision_table(&rows, reason_with_figures).to_string();
        for part in [
            "1970-01-01T00:00:00Z",
            "promoted",
            "iris-trainer",
            "not worse; holdout_accuracy 0.9667",
        ] {
            assert!(with_figures.contains(part), "{with_figures}");
        }
        let without = decision_table(&rows, reason).to_string();
        assert!(without.contains("not worse") && !without.contains("holdout_accuracy"));
    }
}
