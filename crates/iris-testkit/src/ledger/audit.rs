//! Compares outcomes with the input records and with the expected outcomes.

use std::collections::{BTreeMap, BTreeSet};

use iris_kafka::{Positions, StoredRecord};

use super::deleted::{Losses, Truncations};
use super::findings::{FindingKind, Findings};
use super::outcomes::{ExpectedOutcome, ExpectedOutcomes, ExpectedPrediction};
use super::records::CommittedRecords;
use super::source::{ERRORS, PROVENANCE, Source, by_source, model_version};

/// Audits the records of one pipeline against expected outcomes.
#[derive(Debug)]
pub struct Ledger {
    topic: String,
    expected: ExpectedOutcomes,
}

/// The outcome records of one input record.
#[derive(Clone, Copy)]
struct Outcome<'r> {
    prediction: Option<&'r StoredRecord>,
    feedback: Option<&'r StoredRecord>,
    dead_letter: Option<&'r StoredRecord>,
}

impl Outcome<'_> {
    fn exists(&self) -> bool {
        self.prediction.is_some() || self.dead_letter.is_some()
    }
}

/// The outcome records of all input records, by topic.
struct OutcomesBySource<'r> {
    predictions: BTreeMap<Source, &'r StoredRecord>,
    feedback: BTreeMap<Source, &'r StoredRecord>,
    dead_letters: BTreeMap<Source, &'r StoredRecord>,
}

impl<'r> OutcomesBySource<'r> {
    fn of(records: &'r CommittedRecords, findings: &mut Findings) -> Self {
        let from_provenance = Source::from_provenance;
        let from_headers = Source::from_error_headers;
        let CommittedRecords {
            predictions,
            feedback,
            dead_letters,
            ..
        } = records;
        Self {
            predictions: by_source(predictions, from_provenance, "prediction", findings),
            feedback: by_source(feedback, from_provenance, "feedback", findings),
            dead_letters: by_source(dead_letters, from_headers, "dead letter", findings),
        }
    }

    fn get(&self, source: Source) -> Outcome<'r> {
        Outcome {
            prediction: self.predictions.get(&source).copied(),
            feedback: self.feedback.get(&source).copied(),
            dead_letter: self.dead_letters.get(&source).copied(),
        }
    }

    /// Adds a finding for feedback without a prediction, and for outcomes of records that do not exist.
    fn check_sources(&self, inputs: &BTreeMap<Source, &StoredRecord>, findings: &mut Findings) {
        for source in self.feedback.keys() {
            if !self.predictions.contains_key(source) {
                let case = format!("{source} has feedback, but no prediction");
                findings.add(FindingKind::Torn, case);
            }
        }
        for source in self.predictions.keys().chain(self.dead_letters.keys()) {
            if !inputs.contains_key(source) {
                let case = format!("{source} has an outcome, but is not an input record");
                findings.add(FindingKind::Wrong, case);
            }
        }
    }
}

impl Ledger {
    /// Creates a ledger for a pipeline that reads `topic`. Every record sent there must have an expected outcome.
    #[must_use]
    pub fn new(topic: &str, expected: ExpectedOutcomes) -> Self {
        Self {
            topic: topic.to_owned(),
            expected,
        }
    }

    /// Compares the outcomes with the input records below the group's committed offsets: each of these must have its
    /// outcome, and no other record may have one.
    #[must_use]
    pub fn audit(&self, records: &CommittedRecords, committed: &Positions) -> Findings {
        self.audit_truncated(records, committed, &Truncations::default())
            .0
    }

    /// Does the same if the oldest input records were deleted while they were processed: a record below the group's committed
    /// offset that was deleted unread has no outcome. The input records include those that were deleted. Returns the records
    /// that were deleted unread, too.
    #[must_use]
    pub fn audit_truncated(
        &self,
        records: &CommittedRecords,
        committed: &Positions,
        truncations: &Truncations,
    ) -> (Findings, Losses) {
        let mut findings = Findings::default();
        let inputs: BTreeMap<Source, &StoredRecord> = records
            .input
            .iter()
            .map(|record| (Source::of(record), record))
            .collect();
        let outcomes = OutcomesBySource::of(records, &mut findings);
        let mut missing = BTreeSet::new();
        for (&source, input) in &inputs {
            let is_committed = committed
                .get(source.partition)
                .is_some_and(|committed| source.offset < committed);
            let outcome = outcomes.get(source);
            let mut add = |kind, text: &str| findings.add(kind, format!("{source} {text}"));
            if outcome.exists() {
                if !is_committed {
                    let text = "has an outcome, but its offset is not committed";
                    add(FindingKind::Torn, text);
                }
                self.check(input, outcome, &mut add);
            } else if is_committed {
                missing.insert(source);
            }
        }
        let (losses, unexplained) = Losses::explain(&missing, truncations);
        for source in unexplained {
            findings.add(FindingKind::Lost, format!("{source} has no outcome"));
        }
        outcomes.check_sources(&inputs, &mut findings);
        (findings, losses)
    }

    /// Compares the outcome of an input record with the expected one.
    fn check(
        &self,
        input: &StoredRecord,
        outcome: Outcome<'_>,
        add: &mut impl FnMut(FindingKind, &str),
    ) {
        if outcome.prediction.is_some() && outcome.dead_letter.is_some() {
            add(
                FindingKind::Duplicated,
                "has a prediction and a dead letter",
            );
        }
        match self.expected.of(input.value.as_deref()) {
            None => add(FindingKind::Wrong, "has a value that was not sent"),
            Some(ExpectedOutcome::Predictions(by_model)) => {
                check_prediction(input, outcome, by_model, add);
            }
            Some(ExpectedOutcome::DeadLetter(reason)) => {
                self.check_dead_letter(input, outcome, reason, add);
            }
        }
    }

    fn check_dead_letter(
        &self,
        input: &StoredRecord,
        outcome: Outcome<'_>,
        reason: &str,
        add: &mut impl FnMut(FindingKind, &str),
    ) {
        let mut wrong = |text: &str| add(FindingKind::Wrong, text);
        let Some(dead_letter) = outcome.dead_letter else {
            return wrong("is classified, but must be dead-lettered");
        };
        if dead_letter.value != input.value || !has_key_and_timestamp_of(dead_letter, input) {
            wrong("has a dead letter with another key, value or timestamp");
        }
        let Some((own, errors)) = dead_letter.headers.split_at_checked(input.headers.len()) else {
            return wrong("has a dead letter without the record's headers");
        };
        let names = errors.iter().map(|(name, _)| name.as_str());
        if own != input.headers || !names.eq(ERRORS) {
            return wrong("has a dead letter with other headers");
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
        let is_expected = topic == self.topic.as_bytes()
            && partition == input.partition.to_string().as_bytes()
            && offset == input.offset.to_string().as_bytes()
            && (stage, service, attempt) == (b"classify", b"iris-classifier", b"1");
        if !is_expected {
            wrong("has a dead letter with other header values");
        }
        if !message.starts_with(format!("{reason}: ").as_bytes()) {
            let message = String::from_utf8_lossy(message);
            wrong(&format!(
                "has a dead letter with the reason `{message}` instead of `{reason}`"
            ));
        }
    }
}

/// Compares a prediction, and its feedback, with the expected prediction of the model that it names.
fn check_prediction(
    input: &StoredRecord,
    outcome: Outcome<'_>,
    by_model: &BTreeMap<String, ExpectedPrediction>,
    add: &mut impl FnMut(FindingKind, &str),
) {
    let Some(prediction) = outcome.prediction else {
        return add(
            FindingKind::Wrong,
            "is dead-lettered, but must be classified",
        );
    };
    let Some((version, expected)) =
        model_version(prediction).and_then(|version| by_model.get_key_value(version))
    else {
        return add(FindingKind::Wrong, "was classified by an unknown model");
    };
    let (partition, offset) = (input.partition, input.offset);
    let provenance = format!("00-{version}-{partition}-{offset}-{}", expected.votes);
    let mut headers = input.headers.clone();
    headers.push((PROVENANCE.to_owned(), provenance.into_bytes()));
    let is_expected = |record: &StoredRecord| {
        record.value.as_ref() == Some(&expected.value)
            && record.headers == headers
            && has_key_and_timestamp_of(record, input)
    };
    if !is_expected(prediction) {
        add(FindingKind::Wrong, "has an unexpected prediction");
    }
    match (expected.is_mispredicted, outcome.feedback) {
        (true, None) => add(FindingKind::Torn, "is mispredicted, but has no feedback"),
        (false, Some(_)) => add(
            FindingKind::Wrong,
            "has feedback, but is predicted correctly",
        ),
        (true, Some(feedback)) if !is_expected(feedback) => {
            add(FindingKind::Wrong, "has unexpected feedback");
        }
        _ => {}
    }
}

/// Returns whether an outcome has its input's key and timestamp. Its partition is checked against its own headers.
fn has_key_and_timestamp_of(outcome: &StoredRecord, input: &StoredRecord) -> bool {
    outcome.key == input.key && outcome.timestamp == input.timestamp
}

#[cfg(test)]
mod tests;
