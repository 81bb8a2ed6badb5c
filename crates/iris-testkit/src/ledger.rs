//! What came out of the pipeline against what went in: records lost, doubled, reordered, torn or wrong.
//!
//! A function of the topics' committed records and of [recorded outcomes](outcomes). The ledger calls nothing of what it
//! judges: what each outcome has to be, byte by byte, was recorded by other means, so it also finds a classifier that is
//! wrong.

pub mod outcomes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use iris_kafka::{Offsets, StoredRecord};
use serde::{Deserialize, Serialize};

use outcomes::{Outcome, Outcomes, Prediction};

/// The header by which a prediction says where it came from.
const PROVENANCE: &str = "iris-provenance";

/// The headers of a dead letter, in their order.
const ERRORS: [&str; 8] = [
    "__iris.errors.topic",
    "__iris.errors.partition",
    "__iris.errors.offset",
    "__iris.errors.stage",
    "__iris.errors.message",
    "__iris.errors.service",
    "__iris.errors.version",
    "__iris.errors.attempt",
];

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

/// What was found of an input.
#[derive(Clone, Copy)]
struct Found<'r> {
    prediction: Option<&'r StoredRecord>,
    feedback: Option<&'r StoredRecord>,
    dead_letter: Option<&'r StoredRecord>,
}

impl Found<'_> {
    fn is_any(&self) -> bool {
        self.prediction.is_some() || self.dead_letter.is_some()
    }
}

/// Judges the books of a pipeline by recorded outcomes.
#[derive(Debug)]
pub struct Ledger {
    topic: String,
    outcomes: Outcomes,
}

impl Ledger {
    /// A ledger for a pipeline that reads `topic`, to which only records with a recorded outcome are sent.
    #[must_use]
    pub fn new(topic: &str, outcomes: Outcomes) -> Self {
        Self {
            topic: topic.to_owned(),
            outcomes,
        }
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
        for (&source, input) in &inputs {
            let is_due = committed
                .get(&source.0)
                .is_some_and(|&committed| source.1 < committed);
            let found = Found {
                prediction: predictions.get(&source).copied(),
                feedback: feedback.get(&source).copied(),
                dead_letter: dead_letters.get(&source).copied(),
            };
            let mut note = |kind, text: &str| {
                findings.note(kind, format!("{} {text}", Name(source)));
            };
            match (is_due, found.is_any()) {
                (true, false) => note(Kind::Lost, "has no outcome"),
                (false, false) => {}
                (is_due, true) => {
                    if !is_due {
                        note(
                            Kind::Torn,
                            "has an outcome, but its offset is not committed",
                        );
                    }
                    self.judge(input, found, &mut note);
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

    /// Compares what was found of an input with what was recorded for it.
    fn judge(&self, input: &StoredRecord, found: Found<'_>, note: &mut impl FnMut(Kind, &str)) {
        if found.prediction.is_some() && found.dead_letter.is_some() {
            note(Kind::Doubled, "has a prediction and a dead letter");
        }
        match self.outcomes.of(input.value.as_deref()) {
            None => note(Kind::Wrong, "has a value that nobody sent"),
            Some(Outcome::Predictions(answers)) => judge_prediction(input, found, answers, note),
            Some(Outcome::DeadLetter(reason)) => {
                self.judge_dead_letter(input, found, reason, note);
            }
        }
    }

    fn judge_dead_letter(
        &self,
        input: &StoredRecord,
        found: Found<'_>,
        reason: &str,
        note: &mut impl FnMut(Kind, &str),
    ) {
        let Some(dead_letter) = found.dead_letter else {
            note(Kind::Wrong, "is classified, but cannot be");
            return;
        };
        if dead_letter.value != input.value || !is_addressed_as(dead_letter, input) {
            note(Kind::Wrong, "has a dead letter that is not its own record");
        }
        let Some((own, errors)) = dead_letter.headers.split_at_checked(input.headers.len()) else {
            note(Kind::Wrong, "has a dead letter without its headers");
            return;
        };
        let names = errors.iter().map(|(name, _)| name.as_str());
        if own != input.headers || !names.eq(ERRORS) {
            note(Kind::Wrong, "has a dead letter with other headers");
            return;
        }
        let [
            topic,
            partition,
            offset,
            stage,
            message,
            service,
            _,
            attempt,
        ] = std::array::from_fn(|error| errors[error].1.as_slice());
        let is_right = topic == self.topic.as_bytes()
            && partition == input.partition.to_string().as_bytes()
            && offset == input.offset.to_string().as_bytes()
            && (stage, service, attempt) == (b"classify", b"iris-classifier", b"1");
        if !is_right {
            note(Kind::Wrong, "has a dead letter that says something else");
        }
        if !message.starts_with(format!("{reason}: ").as_bytes()) {
            let message = String::from_utf8_lossy(message);
            let text = format!("has a dead letter for `{message}`, and `{reason}` is right");
            note(Kind::Wrong, &text);
        }
    }
}

/// Compares a prediction, and its feedback, with what the model that it names had to answer.
fn judge_prediction(
    input: &StoredRecord,
    found: Found<'_>,
    answers: &BTreeMap<String, Prediction>,
    note: &mut impl FnMut(Kind, &str),
) {
    let Some(prediction) = found.prediction else {
        note(Kind::Wrong, "is a dead letter, but can be classified");
        return;
    };
    let Some((version, answer)) = version(prediction).and_then(|name| answers.get_key_value(name))
    else {
        note(Kind::Wrong, "was classified by an unknown model");
        return;
    };
    let (partition, offset) = (input.partition, input.offset);
    let provenance = format!("00-{version}-{partition}-{offset}-{}", answer.votes);
    let mut headers = input.headers.clone();
    headers.push((PROVENANCE.to_owned(), provenance.into_bytes()));
    let is_right = |outcome: &StoredRecord| {
        outcome.value.as_ref() == Some(&answer.value)
            && outcome.headers == headers
            && is_addressed_as(outcome, input)
    };
    if !is_right(prediction) {
        note(Kind::Wrong, "has another prediction than it should");
    }
    match (answer.is_mispredicted, found.feedback) {
        (true, None) => note(Kind::Torn, "is mispredicted, but has no feedback"),
        (false, Some(_)) => note(Kind::Wrong, "has feedback, but is predicted right"),
        (true, Some(feedback)) if !is_right(feedback) => {
            note(Kind::Wrong, "has other feedback than it should");
        }
        _ => {}
    }
}

/// Whether an outcome has its input's key and timestamp. Partitions are compared with what outcomes say themselves.
fn is_addressed_as(outcome: &StoredRecord, input: &StoredRecord) -> bool {
    outcome.key == input.key && outcome.timestamp == input.timestamp
}

/// The parts of a transaction's summary that are compared with what it did.
#[derive(Deserialize)]
struct Summary {
    partitions: BTreeMap<i32, Progress>,
    /// By class.
    predictions: BTreeMap<String, u64>,
    /// By label, then by prediction.
    evaluations: BTreeMap<String, BTreeMap<String, u64>>,
    /// By reason.
    dead_letters: BTreeMap<String, u64>,
}

/// How far a transaction came in a partition.
#[derive(Clone, Copy, Default, Deserialize)]
struct Progress {
    records: u64,
    next_offset: i64,
}

impl Summary {
    fn mispredictions(&self) -> u64 {
        let cells = self
            .evaluations
            .iter()
            .flat_map(|(label, row)| row.iter().filter(move |(predicted, _)| *predicted != label));
        cells.map(|(_, count)| count).sum()
    }
}

/// Compares what the transactions say that they did, up to the group's committed offsets, with what they did.
#[must_use]
pub fn audit_summaries(books: &Books, committed: &Offsets) -> Findings {
    let mut findings = Findings::default();
    let mut told: BTreeMap<i32, Progress> = BTreeMap::new();
    let (mut predictions, mut mispredictions, mut dead_letters) = (0, 0, 0);
    for record in &books.summaries {
        let value = record.value.as_deref().unwrap_or_default();
        let summary: Summary = match serde_json::from_slice(value) {
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
        mispredictions += summary.mispredictions();
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

/// The parts of a prediction's provenance: the format's version, the model's, partition, offset and votes.
fn provenance(record: &StoredRecord) -> Option<[&str; 5]> {
    let header = std::str::from_utf8(record.header(PROVENANCE)?).ok()?;
    let parts: Vec<&str> = header.split('-').collect();
    parts.try_into().ok()
}

/// The version of the model that a prediction names.
fn version(record: &StoredRecord) -> Option<&str> {
    provenance(record).map(|[_, version, ..]| version)
}

fn from_provenance(record: &StoredRecord) -> Option<Source> {
    let [_, _, partition, offset, _] = provenance(record)?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

fn from_error_headers(record: &StoredRecord) -> Option<Source> {
    let [_, partition, offset, ..] = ERRORS.map(|name| record.header(name));
    let partition = std::str::from_utf8(partition?).ok()?.parse().ok()?;
    let offset = std::str::from_utf8(offset?).ok()?.parse().ok()?;
    Some((partition, offset))
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

    use iris_core::{Classifier, Model, Schema, Scratch, TrainingSet};

    use super::outcomes::{BruteForce, PAPER_MODEL, Row};
    use super::*;

    const VERSION: &str = "0000000000000001";
    const RIGHT: &str = r#"{"x":1,"Label":"a"}"#;
    const MISPREDICTED: &str = r#"{"x":1,"Label":"b"}"#;

    /// A model that answers `a`, and a record that cannot be classified.
    fn ledger() -> Ledger {
        let mut outcomes = Outcomes::default();
        for (value, is_mispredicted) in [(RIGHT, false), (MISPREDICTED, true)] {
            let prediction = Prediction {
                value: predicted(value).into_bytes(),
                votes: "1.0".to_owned(),
                is_mispredicted,
            };
            outcomes.predict(VERSION, value.as_bytes(), prediction);
        }
        outcomes.reject(Some(b"garbage"), "not_json");
        Ledger::new("input", outcomes)
    }

    fn predicted(value: &str) -> String {
        value.replace('}', r#","PredictedLabel":"a"}"#)
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
        let provenance = format!("00-{VERSION}-0-{source}-1.0");
        StoredRecord {
            headers: vec![(PROVENANCE.to_owned(), provenance.into())],
            ..record(0, offset, value)
        }
    }

    fn dead_letter(offset: i64, source: i64, value: &str) -> StoredRecord {
        let source = source.to_string();
        let message = "not_json: it is not";
        let service = ["iris-classifier", "0.1.0", "1"];
        let values = ["input", "0", &source, "classify", message]
            .into_iter()
            .chain(service);
        let headers = ERRORS.into_iter().zip(values);
        StoredRecord {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            ..record(0, offset, value)
        }
    }

    /// A right one, a misprediction and a dead letter.
    fn books() -> Books {
        let mispredicted = predicted(MISPREDICTED);
        Books {
            input: vec![
                record(0, 0, RIGHT),
                record(0, 1, MISPREDICTED),
                record(0, 2, "garbage"),
            ],
            predictions: vec![
                outcome(0, 0, &predicted(RIGHT)),
                outcome(1, 1, &mispredicted),
            ],
            feedback: vec![outcome(0, 1, &mispredicted)],
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
        let unknown = |books: &mut Books| books.input[0].value = Some(b"{}".to_vec());
        assert_eq!(counts(unknown, 3), wrong(1), "nobody has recorded it");
    }

    #[test]
    fn keys_timestamps_and_headers_are_judged_too() {
        let changes: [fn(&mut StoredRecord); 4] = [
            |record| record.key = Some(b"key".to_vec()),
            |record| record.timestamp = Some(1),
            |record| record.headers.push(("more".to_owned(), Vec::new())),
            |record| record.headers[0].0.push('x'),
        ];
        let wrong = Counts {
            wrong: 1,
            ..Counts::default()
        };
        for (number, change) in changes.into_iter().enumerate() {
            let outcomes: [fn(&mut Books) -> &mut StoredRecord; 3] = [
                |books| &mut books.predictions[0],
                |books| &mut books.feedback[0],
                |books| &mut books.dead_letters[0],
            ];
            for outcome in outcomes {
                let found = counts(|books| change(outcome(books)), 3);
                // Without its own header an outcome has no source: its input is lost, or its feedback missing.
                let is_lost = Counts {
                    lost: found.lost,
                    torn: found.torn,
                    ..wrong
                };
                assert_eq!(found, if number == 3 { is_lost } else { wrong }, "{number}");
            }
        }
        let other_votes = |books: &mut Books| {
            books.predictions[0].headers[0].1 = format!("00-{VERSION}-0-0-0.1").into();
        };
        assert_eq!(counts(other_votes, 3), wrong);
        let other_model = |books: &mut Books| {
            books.predictions[0].headers[0].1 = b"00-0000000000000002-0-0-1.0".to_vec();
        };
        assert_eq!(counts(other_model, 3), wrong);
    }

    #[test]
    fn a_dead_letter_for_another_reason_or_from_elsewhere_is_wrong() {
        for (header, value) in [(0, "other"), (3, "sink"), (4, "no_value: x"), (7, "2")] {
            let change = |books: &mut Books| books.dead_letters[0].headers[header].1 = value.into();
            let expected = Counts {
                wrong: 1,
                ..Counts::default()
            };
            assert_eq!(counts(change, 3), expected, "{value}");
        }
    }

    #[test]
    fn what_is_classified_but_cannot_be_is_wrong_and_the_reverse() {
        let expected = Counts {
            wrong: 1,
            ..Counts::default()
        };
        let classified = |books: &mut Books| {
            books.dead_letters.clear();
            books.predictions.push(outcome(2, 2, "{}"));
        };
        assert_eq!(counts(classified, 3), expected);
        let rejected = |books: &mut Books| {
            books.predictions.remove(0);
            books.dead_letters.insert(0, dead_letter(0, 0, RIGHT));
        };
        assert_eq!(counts(rejected, 3), expected);
    }

    #[test]
    fn feedback_for_a_right_prediction_is_wrong() {
        let more = |books: &mut Books| {
            let right = books.predictions[0].clone();
            books.feedback.insert(0, right);
        };
        let expected = Counts {
            wrong: 1,
            ..Counts::default()
        };
        assert_eq!(counts(more, 3), expected);
    }

    /// The books of a pipeline that serves a classifier under the name of the paper's model, over the 150 rows.
    fn books_of(classifier: &Classifier, rows: &[Row]) -> Books {
        let mut books = Books::default();
        let mut scratch = Scratch::default();
        for (offset, row) in (0..).zip(rows) {
            let decision = classifier.decide(Some(&row.value), &mut scratch).unwrap();
            let mut value = Vec::new();
            classifier.write_value(&decision, &mut value);
            let votes: Vec<String> = scratch.votes().iter().map(u32::to_string).collect();
            let provenance = format!("00-{PAPER_MODEL}-0-{offset}-{}", votes.join("."));
            let outcome = StoredRecord {
                value: Some(value),
                headers: vec![(PROVENANCE.to_owned(), provenance.into())],
                ..record(0, offset, "")
            };
            if decision.mispredicted {
                books.feedback.push(outcome.clone());
            }
            books.predictions.push(outcome);
            let input = StoredRecord {
                value: Some(row.value.clone()),
                ..record(0, offset, "")
            };
            books.input.push(input);
        }
        books
    }

    /// The paper's classifier with other training rows, or another number of neighbours.
    fn classifier(
        neighbors: usize,
        change: impl FnOnce(&mut Vec<([f64; 4], String)>),
    ) -> Classifier {
        let mut rows = BruteForce::of_the_paper().unwrap().training_rows();
        change(&mut rows);
        let rows = rows
            .iter()
            .map(|(features, label)| (&features[..], label.as_str()));
        let model = Model::fit(TrainingSet::new(Schema::default(), rows), neighbors).unwrap();
        Classifier::new(Arc::new(model))
    }

    #[test]
    fn a_wrong_classifier_is_found() {
        let rows = Row::iris().unwrap();
        let ledger = Ledger::new("input", Outcomes::of_the_paper(&rows).unwrap());
        let end = [(0, 150)].into();
        let audit =
            |classifier: &Classifier| ledger.audit(&books_of(classifier, &rows), &end).counts();
        assert_eq!(audit(&classifier(5, |_| ())), Counts::default());
        let two_labels_swapped = classifier(5, |rows| {
            let other = rows.iter().position(|row| row.1 != rows[0].1).unwrap();
            let label = rows[0].1.clone();
            rows[0].1 = std::mem::replace(&mut rows[other].1, label);
        });
        assert!(audit(&two_labels_swapped).wrong > 0);
        assert!(audit(&classifier(4, |_| ())).wrong > 0);
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
