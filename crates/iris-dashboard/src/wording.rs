//! The figures of models and decisions in words. Names are those that the classifier and the trainer write to the registry.

use std::collections::BTreeMap;

use crate::format;

/// Figures by name, as the registry has them.
type Named = BTreeMap<String, f64>;

/// Rows that two models were compared on.
struct Comparison {
    accuracy: &'static str,
    champion: &'static str,
    rows: &'static str,
    /// One of the rows, and several of them.
    nouns: [&'static str; 2],
}

const COMPARISONS: [Comparison; 3] = [
    Comparison {
        accuracy: "holdout_accuracy",
        champion: "champion_holdout_accuracy",
        rows: "holdout_rows",
        nouns: ["held-out row", "held-out rows"],
    },
    Comparison {
        accuracy: "recent_accuracy",
        champion: "champion_recent_accuracy",
        rows: "recent_rows",
        nouns: ["recent labelled record", "recent labelled records"],
    },
    Comparison {
        accuracy: "shadow_accuracy",
        champion: "champion_shadow_accuracy",
        rows: "shadow_records",
        nouns: [
            "labelled record answered in shadow",
            "labelled records answered in shadow",
        ],
    },
];

const PROBATION_RECORDS: &str = "probation_records";
const PREDECESSOR_LEAD: &str = "predecessor_lead";
const MARGIN: &str = "margin";

/// A phrase for each group of figures that belong together. A figure whose name is not known here is shown by its name.
#[must_use]
pub fn figures(figures: &Named) -> Vec<String> {
    let mut left = figures.clone();
    let mut phrases: Vec<String> = COMPARISONS
        .iter()
        .filter_map(|comparison| comparison.phrase(&mut left))
        .collect();
    phrases.extend(probation(&mut left));
    if let Some(margin) = left.remove(MARGIN) {
        phrases.push(format!("allowed loss of accuracy: {margin:.4}"));
    }
    let unknown = left
        .iter()
        .map(|(name, value)| format!("figure “{name}”: {value}"));
    phrases.extend(unknown);
    phrases
}

impl Comparison {
    /// The phrase for the figures of this comparison, which are taken from `left`; `None` if there are none.
    fn phrase(&self, left: &mut Named) -> Option<String> {
        let [accuracy, champion, rows] =
            [self.accuracy, self.champion, self.rows].map(|name| left.remove(name));
        let [one, several] = self.nouns;
        // Without rows there is no accuracy, whatever was written.
        if rows == Some(0.0) {
            return Some(format!("no {several}"));
        }
        let on = match rows {
            None => several.to_owned(),
            Some(1.0) => format!("1 {one}"),
            Some(rows) => format!("{} {several}", format::whole(rows)),
        };
        match (accuracy, champion) {
            (Some(accuracy), Some(champion)) => Some(format!(
                "accuracy on {on}: {accuracy:.4} (champion: {champion:.4})"
            )),
            (Some(accuracy), None) => Some(format!("accuracy on {on}: {accuracy:.4}")),
            (None, Some(champion)) => Some(format!("champion's accuracy on {on}: {champion:.4}")),
            (None, None) => rows.map(|_| on),
        }
    }
}

/// The phrase for the figures of a probation, which are taken from `left`.
fn probation(left: &mut Named) -> Option<String> {
    let records = left.remove(PROBATION_RECORDS).map(|records| match records {
        1.0 => "1 labelled record".to_owned(),
        records => format!("{} labelled records", format::whole(records)),
    });
    let lead = left.remove(PREDECESSOR_LEAD).map(|lead| {
        let count = format::whole(lead.abs());
        match lead {
            0.0 => "predecessor right on as many".to_owned(),
            lead if lead > 0.0 => format!("predecessor right on {count} more"),
            _ => format!("predecessor right on {count} fewer"),
        }
    });
    match (records, lead) {
        (None, None) => None,
        (Some(records), None) => Some(format!("probation over {records}")),
        (None, Some(lead)) => Some(format!("probation: {lead}")),
        (Some(records), Some(lead)) => Some(format!("probation over {records}: {lead}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(named: &[(&str, f64)]) -> Vec<String> {
        let named = named.iter().map(|&(name, value)| (name.to_owned(), value));
        figures(&named.collect())
    }

    #[test]
    fn every_figure_that_classifier_and_trainer_write_is_put_in_words() {
        for (named, expected) in [
            (
                // A classifier's own model.
                &[("holdout_accuracy", 1.0), ("holdout_rows", 30.0)][..],
                &["accuracy on 30 held-out rows: 1.0000"][..],
            ),
            (
                // A challenger at the gate.
                &[
                    ("margin", 0.02),
                    ("holdout_rows", 30.0),
                    ("holdout_accuracy", 29.0 / 30.0),
                    ("champion_holdout_accuracy", 1.0),
                    ("recent_rows", 1.0),
                    ("recent_accuracy", 1.0),
                    ("champion_recent_accuracy", 0.0),
                ],
                &[
                    "accuracy on 30 held-out rows: 0.9667 (champion: 1.0000)",
                    "accuracy on 1 recent labelled record: 1.0000 (champion: 0.0000)",
                    "allowed loss of accuracy: 0.0200",
                ],
            ),
            (
                // A challenger at the gate before there were labels.
                &[("margin", 0.0), ("holdout_rows", 0.0), ("recent_rows", 0.0)],
                &[
                    "no held-out rows",
                    "no recent labelled records",
                    "allowed loss of accuracy: 0.0000",
                ],
            ),
            (
                // A challenger that answered in the champion's shadow.
                &[
                    ("shadow_records", 1_200.0),
                    ("shadow_accuracy", 0.97),
                    ("champion_shadow_accuracy", 0.95),
                ],
                &[
                    "accuracy on 1,200 labelled records answered in shadow: 0.9700 (champion: 0.9500)",
                ],
            ),
            (
                // One whose shadow ended before a label came: its accuracy of 0 means nothing.
                &[
                    ("shadow_records", 0.0),
                    ("shadow_accuracy", 0.0),
                    ("champion_shadow_accuracy", 0.0),
                ],
                &["no labelled records answered in shadow"],
            ),
            (
                // A rollback.
                &[("probation_records", 40.0), ("predecessor_lead", 3.0)],
                &["probation over 40 labelled records: predecessor right on 3 more"],
            ),
            (
                &[("probation_records", 1.0), ("predecessor_lead", -1.0)],
                &["probation over 1 labelled record: predecessor right on 1 fewer"],
            ),
            (
                &[("predecessor_lead", 0.0)],
                &["probation: predecessor right on as many"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(words(named), expected);
        }
    }

    #[test]
    fn a_figure_without_words_is_shown_by_its_name() {
        assert_eq!(
            words(&[("psi_max", 0.25), ("margin", 0.01)]),
            ["allowed loss of accuracy: 0.0100", "figure “psi_max”: 0.25"]
        );
    }
}
