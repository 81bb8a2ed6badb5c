//! The records of a storm, and their expected outcomes.

use std::collections::BTreeSet;

use fastrand::Rng;

use crate::ledger::{ExpectedOutcomes, Row};

/// One in this number of records is malformed.
const MALFORMED_EVERY: usize = 100;

/// Returns `count` values with their expected outcomes: the dataset's rows repeated, one in a hundred replaced by a malformed
/// record.
pub(super) fn draw(
    seed: u64,
    count: usize,
) -> anyhow::Result<(Vec<Option<Vec<u8>>>, ExpectedOutcomes)> {
    let rows = Row::iris()?;
    let mut outcomes = ExpectedOutcomes::of_the_paper(&rows)?;
    let mut rng = Rng::with_seed(seed);
    let mut values: Vec<Option<Vec<u8>>> = (0..count)
        .map(|position| Some(rows[position % rows.len()].value.clone()))
        .collect();
    let mut positions = BTreeSet::new();
    while positions.len() < count / MALFORMED_EVERY {
        positions.insert(rng.usize(..count));
    }
    for position in positions {
        let (value, reason) = malformed(&mut rng);
        outcomes.expect_dead_letter(value.as_deref(), reason);
        values[position] = value;
    }
    Ok((values, outcomes))
}

/// Returns a value that cannot be classified, and the reason.
fn malformed(rng: &mut Rng) -> (Option<Vec<u8>>, &'static str) {
    let (text, reason) = match rng.u8(..10) {
        0 => return (None, "no_value"),
        1 => {
            let bytes = (0..rng.usize(1..200)).map(|_| rng.u8(128..)).collect();
            return (Some(bytes), "not_json");
        }
        2 => ("x".repeat(rng.usize(1..50_000)), "not_json"),
        3 => ("[1, 2]".to_owned(), "not_an_object"),
        4 => (r#"{"SepalLengthCm":5.1}"#.to_owned(), "missing_feature"),
        5 => (with_sepal_length(r#""wide""#), "feature_not_a_number"),
        6 => (with_sepal_length("1e999"), "feature_out_of_range"),
        7 => (
            with_sepal_length(r#"5.1,"PetalWidthCm":1"#),
            "duplicate_field",
        ),
        8 => (
            with_sepal_length(r#"5.1,"Species":false"#),
            "label_not_a_string",
        ),
        _ => (String::new(), "not_json"),
    };
    (Some(text.into_bytes()), reason)
}

/// Returns a record with this text as the sepal's length.
fn with_sepal_length(text: &str) -> String {
    format!(r#"{{"SepalLengthCm":{text},"SepalWidthCm":3,"PetalLengthCm":1,"PetalWidthCm":1}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ExpectedOutcome;

    #[test]
    fn one_in_a_hundred_records_is_malformed_and_each_has_an_expected_outcome() {
        let (values, outcomes) = draw(7, 1_000).unwrap();
        let expected = |value: &Option<Vec<u8>>| outcomes.of(value.as_deref()).unwrap();
        let malformed = values
            .iter()
            .filter(|value| matches!(expected(value), ExpectedOutcome::DeadLetter(_)));
        assert_eq!(malformed.count(), 10);
        assert_eq!(values, draw(7, 1_000).unwrap().0);
    }
}
