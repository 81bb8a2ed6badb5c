//! What came out of the pipeline against what went in: records lost, doubled, reordered, torn or wrong.
//!
//! A function of the topics' committed records and nothing else. It knows what each outcome has to be, byte by byte,
//! because it decides about every input once more; where a prediction says that it comes from is what it is judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use iris_core::{
    Classifier, PROVENANCE_HEADER, PartitionProgress, Provenance, Scratch, TransactionSummary,
};
use iris_kafka::{Offsets, StoredRecord};
use serde::Serialize;

/// An input record, by partition and offset.
type Source = (i32, i64);

/// The committed records of the pipeline's topics, each in its partitions' order.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What went in.
    pub input: Vec<StoredRecord>,
    /// Predictions.
    pub predictions: Vec<StoredRecord>,
    /// Feedback.
    pub feedback: Vec<StoredRecord>,
    /// Dead letters.
    pub dead_letters: Vec<StoredRecord>,
    /// What each transaction did.
    pub summaries: Vec<StoredRecord>,
}

/// What can be wrong with an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An input without an outcome, or feedback without a row.
    Lost,
    /// A second outcome of an input, or a second row.
    Doubled,
    /// An outcome that comes after that of a later input of its partition.
    Reordered,
    /// Part of a transaction without the rest.
    Torn,
    /// An outcome that is not what its input had to come to.
    Wrong,
}

/// What is wrong, a line for each case; the same case found twice is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    cases: BTreeSet<(Kind, String)>,
}

/// How many findings there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Lost.
    pub lost: usize,
    /// Doubled.
    pub doubled: usize,
    /// Reordered.
    pub reordered: usize,
    /// Torn.
    pub torn: usize,
    /// Wrong.
    pub wrong: usize,
}

impl Counts {
    /// The sum of two runs.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
            torn: self.torn + other.torn,
            wrong: self.wrong + other.wrong,
        }
    }
}

impl Findings {
    /// Adds a case.
    pub fn note(&mut self, kind: Kind, case: String) {
        self.cases.insert((kind, case));
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let count = |wanted| {
            self.cases
                .iter()
                .filter(|(kind, _)| *kind == wanted)
                .count()
        };
        Counts {
            lost: count(Kind::Lost),
            doubled: count(Kind::Doubled),
            reordered: count(Kind::Reordered),
            torn: count(Kind::Torn),
            wrong: count(Kind::Wrong),
        }
    }

    /// Adds those of another audit.
    pub fn extend(&mut self, other: Self) {
        self.cases.extend(other.cases);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for kind in [
            Kind::Lost,
            Kind::Doubled,
            Kind::Reordered,
            Kind::Torn,
            Kind::Wrong,
        ] {
            let cases = || self.cases.iter().filter(|(found, _)| *found == kind);
            for (_, case) in cases().take(SHOWN) {
                writeln!(f, "{kind:?}: {case}")?;
            }
            match cases().count().saturating_sub(SHOWN) {
                0 => {}
                more => writeln!(f, "{kind:?}: {more} more")?,
            }
        }
        Ok(())
    }
}

/// What an input has come to.
#[derive(Clone, Copy)]
struct Outcomes<'r> {
    prediction: Option<&'r StoredRecord>,
    feedback: Option<&'r StoredRecord>,
    dead_letter: Option<&'r StoredRecord>,
}

impl Outcomes<'_> {
    fn is_any(&self) -> bool {
        self.prediction.is_some() || self.dead_letter.is_some()
    }
}

/// Judges the books of a pipeline with one classifier.
#[derive(Debug)]
pub struct Ledger {
    classifier: Classifier,
}

impl Ledger {
    /// A ledger for a pipeline that serves `classifier`.
    #[must_use]
    pub fn new(classifier: Classifier) -> Self {
        Self { classifier }
    }

    /// Compares the outcomes with the inputs up to the group's committed offsets: no more and no less has happened.
    #[must_use]
    pub fn audit(&self, books: &Books, committed: &Offsets) -> Findings {
        let mut findings = Findings::default();
        let inputs: BTreeMap<Source, &StoredRecord> = books
            .input
            .iter()
            .map(|record| ((record.partition, record.offset), record))
            .collect();
        let predictions = sources(
            &books.predictions,
            from_provenance,
            "prediction",
            &mut findings,
        );
        let feedback = sources(&books.feedback, from_provenance, "feedback", &mut findings);
        let dead_letters = sources(
            &books.dead_letters,
            from_error_headers,
            "dead letter",
            &mut findings,
        );
        let mut scratch = Scratch::default();
        for (&source, input) in &inputs {
            let is_due = committed
                .get(&source.0)
                .is_some_and(|&committed| source.1 < committed);
            let outcomes = Outcomes {
                prediction: predictions.get(&source).copied(),
                feedback: feedback.get(&source).copied(),
                dead_letter: dead_letters.get(&source).copied(),
            };
            let mut note = |kind, text: &str| {
                findings.note(kind, format!("{} {text}", Name(source)));
            };
            match (is_due, outcomes.is_any()) {
                (true, false) => note(Kind::Lost, "has no outcome"),
                (false, false) => {}
                (is_due, true) => {
                    if !is_due {
                        note(
                            Kind::Torn,
                            "has an outcome, but its offset is not committed",
                        );
                    }
                    self.judge(input, outcomes, &mut scratch, &mut note);
                }
            }
        }
        for source in feedback.keys() {
            if !predictions.contains_key(source) {
                findings.note(
                    Kind::Torn,
                    format!("{} has feedback, but no prediction", Name(*source)),
                );
            }
        }
        for source in predictions.keys().chain(dead_letters.keys()) {
            if !inputs.contains_key(source) {
                findings.note(
                    Kind::Wrong,
                    format!("{} has an outcome, but is no input", Name(*source)),
                );
            }
        }
        findings
    }

    /// Compares an input's outcomes with what they have to be.
    fn judge(
        &self,
        input: &StoredRecord,
        outcomes: Outcomes<'_>,
        scratch: &mut Scratch,
        note: &mut impl FnMut(Kind, &str),
    ) {
        let Outcomes {
            prediction,
            feedback,
            dead_letter,
        } = outcomes;
        if prediction.is_some() && dead_letter.is_some() {
            note(Kind::Doubled, "has a prediction and a dead letter");
        }
        match self.classifier.decide(input.value.as_deref(), scratch) {
            Ok(decision) => {
                let mut value = Vec::new();
                self.classifier.write_value(&decision, &mut value);
                let is_right = |outcome: &StoredRecord| {
                    outcome.value.as_ref() == Some(&value) && outcome.key == input.key
                };
                match prediction {
                    None => note(Kind::Wrong, "is a dead letter, but can be classified"),
                    Some(outcome) if is_right(outcome) => {}
                    Some(_) => note(Kind::Wrong, "has another prediction than it should"),
                }
                match (decision.mispredicted, feedback) {
                    (true, None) => note(Kind::Torn, "is mispredicted, but has no feedback"),
                    (false, Some(_)) => note(Kind::Wrong, "has feedback, but is predicted right"),
                    (true, Some(outcome)) if !is_right(outcome) => {
                        note(Kind::Wrong, "has other feedback than it should");
                    }
                    _ => {}
                }
            }
            Err(rejection) => {
                let is_right = |outcome: &StoredRecord| {
                    let message = outcome.header("__iris.errors.message").unwrap_or_default();
                    outcome.value == input.value
                        && outcome.key == input.key
                        && message.starts_with(rejection.reason().as_bytes())
                };
                match dead_letter {
                    None => note(Kind::Wrong, "is classified, but cannot be"),
                    Some(outcome) if is_right(outcome) => {}
                    Some(_) => note(Kind::Wrong, "has another dead letter than it should"),
                }
            }
        }
    }
}

/// Compares what the transactions say that they did, up to the group's committed offsets, with what they did.
#[must_use]
pub fn audit_summaries(books: &Books, committed: &Offsets) -> Findings {
    let mut findings = Findings::default();
    let mut told: BTreeMap<i32, PartitionProgress> = BTreeMap::new();
    let (mut predictions, mut mispredictions, mut dead_letters) = (0, 0, 0);
    for record in &books.summaries {
        let value = record.value.as_deref().unwrap_or_default();
        let summary: TransactionSummary = match serde_json::from_slice(value) {
            Ok(summary) => summary,
            Err(error) => {
                let place = Name((record.partition, record.offset));
                findings.note(Kind::Wrong, format!("summary {place}: {error}"));
                continue;
            }
        };
        for (&partition, progress) in &summary.partitions {
            let so_far = told.entry(partition).or_default();
            if progress.next_offset <= so_far.next_offset {
                let place = Name((partition, progress.next_offset));
                findings.note(Kind::Doubled, format!("{place} is summed up again"));
            }
            so_far.records += progress.records;
            so_far.next_offset = progress.next_offset;
        }
        predictions += summary.predictions.values().sum::<u64>();
        dead_letters += summary.dead_letters.values().sum::<u64>();
        mispredictions += summary.evaluations.total() - summary.evaluations.right();
    }
    let mut compare = |what: String, told: u64, found: u64| {
        if told != found {
            let case = format!("{what}: summed up to {told}, and {found} is right");
            findings.note(Kind::Torn, case);
        }
    };
    let there = [
        ("predictions", predictions, books.predictions.len()),
        ("mispredictions", mispredictions, books.feedback.len()),
        ("dead letters", dead_letters, books.dead_letters.len()),
    ];
    for (what, told, found) in there {
        compare(what.to_owned(), told, found as u64);
    }
    for (&partition, &next) in committed {
        let told = told.get(&partition).copied().unwrap_or_default();
        let is_due = |record: &&StoredRecord| record.partition == partition && record.offset < next;
        let due = books.input.iter().filter(is_due).count();
        compare(
            format!("records of partition {partition}"),
            told.records,
            due as u64,
        );
        compare(
            format!("offset of partition {partition}"),
            told.next_offset.unsigned_abs(),
            next.unsigned_abs(),
        );
    }
    findings
}

/// Compares the store's rows, each by the partition and offset of its feedback, with the feedback.
#[must_use]
pub fn audit_rows(feedback: &[StoredRecord], rows: &[Source]) -> Findings {
    let mut findings = Findings::default();
    let mut left: BTreeSet<Source> = BTreeSet::new();
    for &row in rows {
        if !left.insert(row) {
            findings.note(
                Kind::Doubled,
                format!("feedback {} has two rows", Name(row)),
            );
        }
    }
    for record in feedback {
        let source = (record.partition, record.offset);
        if !left.remove(&source) {
            findings.note(Kind::Lost, format!("feedback {} has no row", Name(source)));
        }
    }
    for source in left {
        findings.note(
            Kind::Wrong,
            format!("a row names feedback {}, which is not there", Name(source)),
        );
    }
    findings
}

/// The outcomes of one topic by their input. Notes second ones, those in the wrong place and those without a source.
fn sources<'r>(
    records: &'r [StoredRecord],
    source: impl Fn(&StoredRecord) -> Option<Source>,
    kind: &str,
    findings: &mut Findings,
) -> BTreeMap<Source, &'r StoredRecord> {
    let mut found: BTreeMap<Source, &StoredRecord> = BTreeMap::new();
    let mut latest = Offsets::new();
    for record in records {
        let place = Name((record.partition, record.offset));
        let Some(source) = source(record) else {
            findings.note(
                Kind::Wrong,
                format!("the {kind} {place} does not say where it comes from"),
            );
            continue;
        };
        if source.0 != record.partition {
            findings.note(
                Kind::Wrong,
                format!(
                    "the {kind} of {} is in partition {}",
                    Name(source),
                    record.partition
                ),
            );
        }
        if let Some(earlier) = found.insert(source, record) {
            let earlier = Name((earlier.partition, earlier.offset));
            findings.note(
                Kind::Doubled,
                format!(
                    "{} has more than one {kind}: {earlier} and {place}",
                    Name(source)
                ),
            );
        } else if latest
            .get(&source.0)
            .is_some_and(|&latest| source.1 < latest)
        {
            findings.note(
                Kind::Reordered,
                format!(
                    "the {kind} of {} comes after that of offset {}",
                    Name(source),
                    latest[&source.0]
                ),
            );
        }
        let latest = latest.entry(source.0).or_insert(source.1);
        *latest = source.1.max(*latest);
    }
    found
}

fn from_provenance(record: &StoredRecord) -> Option<Source> {
    let header = std::str::from_utf8(record.header(PROVENANCE_HEADER)?).ok()?;
    let provenance: Provenance = header.parse().ok()?;
    Some((provenance.partition, provenance.offset))
}

fn from_error_headers(record: &StoredRecord) -> Option<Source> {
    let number = |name| std::str::from_utf8(record.header(name)?).ok()?.parse().ok();
    let partition: i64 = number("__iris.errors.partition")?;
    Some((
        i32::try_from(partition).ok()?,
        number("__iris.errors.offset")?,
    ))
}

/// A record's name, for people.
struct Name(Source);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.0, self.0.1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iris_core::{Model, Schema, TrainingSet};

    use super::*;

    /// One feature; below 5 it is `a`, above it is `b`.
    fn ledger() -> Ledger {
        let schema = Schema {
            id: "Id".to_owned(),
            features: vec!["x".to_owned()],
            label: "Label".to_owned(),
        };
        let rows = [(0.0, "a"), (10.0, "b")].map(|(x, label)| (vec![x], label.to_owned()));
        let rows = rows.iter().map(|(x, label)| (x.as_slice(), label.as_str()));
        let model = Model::fit(TrainingSet::new(schema, rows), 1).unwrap();
        Ledger::new(Classifier::new(Arc::new(model)))
    }

    fn record(partition: i32, offset: i64, value: &str) -> StoredRecord {
        StoredRecord {
            partition,
            offset,
            timestamp: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    fn outcome(offset: i64, source: i64, value: &str) -> StoredRecord {
        let provenance = format!("00-0000000000000001-0-{source}-1.0");
        StoredRecord {
            headers: vec![(PROVENANCE_HEADER.to_owned(), provenance.into())],
            ..record(0, offset, value)
        }
    }

    fn dead_letter(offset: i64, source: i64, value: &str) -> StoredRecord {
        let header = |name: &str, value: &str| (format!("__iris.errors.{name}"), value.into());
        StoredRecord {
            headers: vec![
                header("partition", "0"),
                header("offset", &source.to_string()),
                header("message", "not_json: it is not"),
            ],
            ..record(0, offset, value)
        }
    }

    /// A right one, a misprediction and a dead letter.
    fn books() -> Books {
        let wrong = r#"{"x":1,"Label":"b","PredictedLabel":"a"}"#;
        Books {
            input: vec![
                record(0, 0, r#"{"x":1,"Label":"a"}"#),
                record(0, 1, r#"{"x":1,"Label":"b"}"#),
                record(0, 2, "garbage"),
            ],
            predictions: vec![
                outcome(0, 0, r#"{"x":1,"Label":"a","PredictedLabel":"a"}"#),
                outcome(1, 1, wrong),
            ],
            feedback: vec![outcome(0, 1, wrong)],
            dead_letters: vec![dead_letter(0, 2, "garbage")],
            summaries: vec![record(0, 0, &summary(2)), record(0, 2, &summary(1))],
        }
    }

    /// What the transaction of the first two records says that it did, or that of the last.
    fn summary(records: u64) -> String {
        let is_first = records == 2;
        serde_json::json!({
            "group": "g",
            "model_version": "0000000000000001",
            "partitions": {"0": {"records": records, "next_offset": if is_first { 2 } else { 3 }}},
            "predictions": if is_first { serde_json::json!({"a": 2}) } else { serde_json::json!({}) },
            "evaluations": if is_first { serde_json::json!({"a": {"a": 1}, "b": {"a": 1}}) } else { serde_json::json!({}) },
            "dead_letters": if is_first { serde_json::json!({}) } else { serde_json::json!({"not_json": 1}) },
            "latency_ms": {},
        })
        .to_string()
    }

    fn counts(change: impl FnOnce(&mut Books), committed: i64) -> Counts {
        let mut books = books();
        change(&mut books);
        ledger().audit(&books, &[(0, committed)].into()).counts()
    }

    #[test]
    fn books_that_balance_have_no_findings() {
        assert_eq!(counts(|_| (), 3), Counts::default());
    }

    #[test]
    fn an_input_without_an_outcome_is_lost() {
        let expected = Counts {
            lost: 1,
            ..Counts::default()
        };
        assert_eq!(counts(|books| books.dead_letters.clear(), 3), expected);
        assert_eq!(
            counts(|books| drop(books.predictions.remove(0)), 3),
            expected
        );
    }

    #[test]
    fn a_second_outcome_is_a_double() {
        let again = |books: &mut Books| {
            let again = StoredRecord {
                offset: 2,
                ..books.predictions[0].clone()
            };
            books.predictions.push(again);
        };
        let expected = Counts {
            doubled: 1,
            ..Counts::default()
        };
        assert_eq!(counts(again, 3), expected);
        let both = |books: &mut Books| books.dead_letters.insert(0, dead_letter(0, 0, "x"));
        assert_eq!(counts(both, 3), expected);
    }

    #[test]
    fn outcomes_in_another_order_are_told() {
        let expected = Counts {
            reordered: 1,
            ..Counts::default()
        };
        assert_eq!(counts(|books| books.predictions.swap(0, 1), 3), expected);
    }

    #[test]
    fn parts_of_a_transaction_without_the_others_are_torn() {
        let torn = |torn| Counts {
            torn,
            ..Counts::default()
        };
        assert_eq!(counts(|_| (), 2), torn(1), "an outcome without its offset");
        assert_eq!(
            counts(|books| books.feedback.clear(), 3),
            torn(1),
            "a misprediction without its feedback"
        );
        let expected = Counts { lost: 1, ..torn(1) };
        assert_eq!(
            counts(|books| drop(books.predictions.remove(1)), 3),
            expected,
            "feedback without its prediction"
        );
    }

    #[test]
    fn an_outcome_that_is_not_the_inputs_is_wrong() {
        let wrong = |wrong| Counts {
            wrong,
            ..Counts::default()
        };
        let other = |books: &mut Books| books.predictions[0].value = Some(b"{}".to_vec());
        assert_eq!(counts(other, 3), wrong(1));
        let touched = |books: &mut Books| books.dead_letters[0].value = None;
        assert_eq!(counts(touched, 3), wrong(1));
        let elsewhere = |books: &mut Books| books.predictions[0].partition = 1;
        assert_eq!(counts(elsewhere, 3), wrong(1));
        let nowhere = |books: &mut Books| books.predictions.push(outcome(2, 9, "{}"));
        assert_eq!(counts(nowhere, 3), wrong(1));
        let mute = |books: &mut Books| books.feedback.push(record(0, 1, "{}"));
        assert_eq!(counts(mute, 3), wrong(1));
    }

    #[test]
    fn summaries_are_compared_with_what_they_sum_up() {
        let counts = |change: fn(&mut Books), committed| {
            let mut books = books();
            change(&mut books);
            audit_summaries(&books, &[(0, committed)].into()).counts()
        };
        let expected = |doubled, torn, wrong| Counts {
            doubled,
            torn,
            wrong,
            ..Counts::default()
        };
        assert_eq!(counts(|_| (), 3), Counts::default());
        // Of a dead letter, its record and where the partition has come to.
        assert_eq!(
            counts(|books| drop(books.summaries.pop()), 3),
            expected(0, 3, 0)
        );
        let again = |books: &mut Books| books.summaries.push(books.summaries[1].clone());
        assert_eq!(counts(again, 3), expected(1, 2, 0));
        assert_eq!(counts(|books| books.feedback.clear(), 3), expected(0, 1, 0));
        let mute = |books: &mut Books| books.summaries.push(record(0, 4, "{}"));
        assert_eq!(counts(mute, 3), expected(0, 0, 1));
    }

    #[test]
    fn rows_are_compared_with_feedback() {
        let feedback = [record(0, 0, ""), record(0, 2, "")];
        assert_eq!(
            audit_rows(&feedback, &[(0, 0), (0, 2)]),
            Findings::default()
        );
        let counts = audit_rows(&feedback, &[(0, 0), (0, 0), (1, 2)]).counts();
        assert_eq!((counts.lost, counts.doubled, counts.wrong), (1, 1, 1));
    }
}
