//! The figures of models and decisions in words. The classifier and the trainer write them to the registry under these names.

use std::collections::BTreeMap;

use iris_contract::figure::{
    self, CHALLENGER_WINS, CHAMPION_WINS, ERROR_RATE, EVIDENCE, LEFT_OUT_CHALLENGER_WINS,
    LEFT_OUT_CHAMPION_WINS, LEFT_OUT_EVIDENCE, MARGIN, PREDECESSOR_WINS, PROBATION_RECORDS,
    SHADOW_EVIDENCE,
};

use crate::format;

/// Figures by name.
type Named = BTreeMap<String, f64>;

/// A comparison of two models, by the names of its figures.
struct Comparison {
    accuracy: &'static str,
    champion: &'static str,
    rows: &'static str,
    /// The noun for one row, and for several rows.
    nouns: [&'static str; 2],
}

const COMPARISONS: [Comparison; 4] = [
    Comparison {
        accuracy: figure::HOLDOUT_ACCURACY,
        champion: figure::CHAMPION_HOLDOUT_ACCURACY,
        rows: figure::HOLDOUT_ROWS,
        nouns: ["held-out row", "held-out rows"],
    },
    Comparison {
        accuracy: figure::RECENT_ACCURACY,
        champion: figure::CHAMPION_RECENT_ACCURACY,
        rows: figure::RECENT_ROWS,
        nouns: ["recent held-out record", "recent held-out records"],
    },
    Comparison {
        accuracy: figure::LEFT_OUT_ACCURACY,
        champion: figure::CHAMPION_LEFT_OUT_ACCURACY,
        rows: figure::LEFT_OUT_ROWS,
        nouns: ["left-out row", "left-out rows"],
    },
    Comparison {
        accuracy: figure::SHADOW_ACCURACY,
        champion: figure::CHAMPION_SHADOW_ACCURACY,
        rows: figure::SHADOW_RECORDS,
        nouns: [
            "labelled record predicted in shadow",
            "labelled records predicted in shadow",
        ],
    },
];

/// A figure that earlier versions of the trainer wrote.
const PREDECESSOR_LEAD: &str = "predecessor_lead";

/// Returns a phrase for each group of figures. A figure with an unknown name is shown with its name.
#[must_use]
pub fn figures(figures: &Named) -> Vec<String> {
    let mut left = figures.clone();
    let mut phrases: Vec<String> = COMPARISONS
        .iter()
        .filter_map(|comparison| comparison.phrase(&mut left))
        .collect();
    phrases.extend(kinds(&mut left));
    phrases.extend(probation(&mut left));
    phrases.extend(evidence(&mut left));
    // With 1, the dataset's held-out rows do not decide.
    if let Some(margin) = left.remove(MARGIN).filter(|margin| *margin < 1.0) {
        phrases.push(format!("allowed loss of accuracy: {margin:.4}"));
    }
    let unknown = left
        .iter()
        .map(|(name, value)| format!("figure “{name}”: {value}"));
    phrases.extend(unknown);
    phrases
}

impl Comparison {
    /// Removes the figures of this comparison from `left` and returns them as a phrase; `None` if there are none.
    fn phrase(&self, left: &mut Named) -> Option<String> {
        let [accuracy, champion, rows] =
            [self.accuracy, self.champion, self.rows].map(|name| left.remove(name));
        let [one, several] = self.nouns;
        // Without rows the accuracy means nothing.
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

/// Removes the figures of kinds of models from `left` and returns them as phrases.
fn kinds(left: &mut Named) -> Vec<String> {
    let rows = left.remove(figure::KIND_ROWS);
    let on = rows.map_or_else(String::new, |rows| {
        format!(" on the newest {} rows", format::whole(rows))
    });
    let is_kind = |name: &String, _: &mut f64| name.starts_with(figure::KIND_ACCURACY);
    let accuracies: Named = left.extract_if(.., is_kind).collect();
    let accuracies = accuracies.iter().map(|(name, accuracy)| {
        let kind = name.trim_start_matches(figure::KIND_ACCURACY);
        format!("{kind}: accuracy {accuracy:.4}{on}")
    });
    accuracies.collect()
}

/// Removes the figures of a probation from `left` and returns them as a phrase; `None` if there are none.
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

/// Removes the figures of paired tests from `left` and returns them as phrases.
fn evidence(left: &mut Named) -> Vec<String> {
    let mut phrases = Vec::new();
    let winners = [
        (PREDECESSOR_WINS, "the predecessor", ""),
        (CHALLENGER_WINS, "the challenger", ""),
        (CHAMPION_WINS, "the champion", ""),
        (
            LEFT_OUT_CHALLENGER_WINS,
            "the challenger",
            " of the left-out rows",
        ),
        (
            LEFT_OUT_CHAMPION_WINS,
            "the champion",
            " of the left-out rows",
        ),
    ];
    let wins: Vec<String> = winners
        .into_iter()
        .filter_map(|(name, winner, place)| {
            let wins = format::whole(left.remove(name)?);
            Some(format!("only {winner} right on {wins}{place}"))
        })
        .collect();
    if !wins.is_empty() {
        phrases.push(wins.join(", "));
    }
    let rate = left.remove(ERROR_RATE).filter(|rate| *rate > 0.0);
    // Two tests at the gate share the error rate.
    let at_gate = if left.contains_key(LEFT_OUT_EVIDENCE) {
        2.0
    } else {
        1.0
    };
    let tests = [
        (EVIDENCE, "", at_gate),
        (LEFT_OUT_EVIDENCE, " on left-out rows", at_gate),
        (SHADOW_EVIDENCE, " in shadow", 1.0),
    ];
    for (name, place, tests) in tests {
        if let Some(evidence) = left.remove(name) {
            let limit = rate.map_or_else(String::new, |rate| format!(" of {:.1}", tests / rate));
            phrases.push(format!("evidence against it{place}: {evidence:.1}{limit}"));
        }
    }
    phrases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(named: &[(&str, f64)]) -> Vec<String> {
        let named = named.iter().map(|&(name, value)| (name.to_owned(), value));
        figures(&named.collect())
    }

    /// Figures and the phrases for them.
    type Case = (&'static [(&'static str, f64)], &'static [&'static str]);

    const CASES: [Case; 13] = [
        (
            // A classifier's own model.
            &[("holdout_accuracy", 1.0), ("holdout_rows", 30.0)],
            &["accuracy on 30 held-out rows: 1.0000"],
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
                "accuracy on 1 recent held-out record: 1.0000 (champion: 0.0000)",
                "allowed loss of accuracy: 0.0200",
            ],
        ),
        (
            // A challenger at the gate, without labels.
            &[("margin", 0.0), ("holdout_rows", 0.0), ("recent_rows", 0.0)],
            &[
                "no held-out rows",
                "no recent held-out records",
                "allowed loss of accuracy: 0.0000",
            ],
        ),
        (
            // A challenger that ran in the champion's shadow.
            &[
                ("shadow_records", 1_200.0),
                ("shadow_accuracy", 0.97),
                ("champion_shadow_accuracy", 0.95),
            ],
            &["accuracy on 1,200 labelled records predicted in shadow: 0.9700 (champion: 0.9500)"],
        ),
        (
            // A shadow that ended without labels: its accuracy of 0 means nothing.
            &[
                ("shadow_records", 0.0),
                ("shadow_accuracy", 0.0),
                ("champion_shadow_accuracy", 0.0),
            ],
            &["no labelled records predicted in shadow"],
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
        (
            // A challenger with evidence from the rolling holdout.
            &[
                ("margin", 1.0),
                ("recent_rows", 100.0),
                ("recent_accuracy", 0.9),
                ("champion_recent_accuracy", 0.93),
                ("challenger_wins", 2.0),
                ("champion_wins", 5.0),
                ("evidence", 2.34),
                ("error_rate", 0.1),
                ("shadow_evidence", 1.0),
            ],
            &[
                "accuracy on 100 recent held-out records: 0.9000 (champion: 0.9300)",
                "only the challenger right on 2, only the champion right on 5",
                "evidence against it: 2.3 of 10.0",
                "evidence against it in shadow: 1.0 of 10.0",
            ],
        ),
        (
            // A challenger that was also compared on left-out rows.
            &[
                ("recent_rows", 0.0),
                ("left_out_rows", 1_500.0),
                ("left_out_accuracy", 0.87),
                ("champion_left_out_accuracy", 0.9),
                ("left_out_challenger_wins", 20.0),
                ("left_out_champion_wins", 65.0),
                ("left_out_evidence", 1_000_000.0),
                ("evidence", 1.0),
                ("error_rate", 0.1),
            ],
            &[
                "no recent held-out records",
                "accuracy on 1,500 left-out rows: 0.8700 (champion: 0.9000)",
                "only the challenger right on 20 of the left-out rows, only the champion right on 65 of the left-out rows",
                "evidence against it: 1.0 of 20.0",
                "evidence against it on left-out rows: 1000000.0 of 20.0",
            ],
        ),
        (
            // A challenger for which the kinds were compared.
            &[
                ("kind_rows", 1_000.0),
                ("kind_accuracy: 5 neighbours", 0.87),
                ("kind_accuracy: 30 trees", 0.9),
            ],
            &[
                "30 trees: accuracy 0.9000 on the newest 1,000 rows",
                "5 neighbours: accuracy 0.8700 on the newest 1,000 rows",
            ],
        ),
        (
            // A rollback with evidence.
            &[
                ("probation_records", 40.0),
                ("predecessor_wins", 9.0),
                ("champion_wins", 1.0),
                ("evidence", 64.0),
                ("error_rate", 0.02),
            ],
            &[
                "probation over 40 labelled records",
                "only the predecessor right on 9, only the champion right on 1",
                "evidence against it: 64.0 of 50.0",
            ],
        ),
        (&[], &[]),
    ];

    #[test]
    fn every_figure_of_the_classifier_and_the_trainer_has_words() {
        for (named, expected) in CASES {
            assert_eq!(words(named), expected);
        }
    }

    #[test]
    fn a_figure_without_words_is_shown_with_its_name() {
        assert_eq!(
            words(&[("psi_max", 0.25), ("margin", 0.01)]),
            ["allowed loss of accuracy: 0.0100", "figure “psi_max”: 0.25"]
        );
    }
}
