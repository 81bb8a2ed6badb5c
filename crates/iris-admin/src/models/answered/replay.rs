//! Classifies a record again and compares the prediction with the stored one.

use std::fmt;

use anyhow::Context;
use iris_contract::{Classifier, Scratch};
use iris_core::ModelVersion;
use iris_kafka::StoredRecord;
use iris_service::printable;
use serde::Serialize;

use super::lookup::FoundPrediction;
use crate::output::time;

/// The stored prediction of a record, and whether the model predicts the same again.
#[derive(Debug, Serialize)]
pub(super) struct Replay {
    partition: i32,
    offset: i64,
    record_time: Option<String>,
    prediction_topic: String,
    prediction_offset: i64,
    pub(super) model_version: ModelVersion,
    predicted: String,
    votes: Vec<u32>,
    pub(super) is_same_when_replayed: bool,
}

/// Classifies an input record again with the model of its stored prediction, and compares the two.
///
/// # Errors
/// If the model rejects the record.
pub(super) fn replay(
    classifier: &Classifier,
    input: &StoredRecord,
    stored: FoundPrediction,
) -> anyhow::Result<Replay> {
    let FoundPrediction {
        topic,
        record,
        provenance,
    } = stored;
    let version = provenance.model_version;
    let (mut scratch, mut value) = (Scratch::default(), Vec::new());
    let classification = classifier
        .classify(input.value.as_deref(), &mut scratch)
        .with_context(|| format!("model {version} now rejects the record"))?;
    classifier.write_value(&classification, &mut value);
    Ok(Replay {
        partition: input.partition,
        offset: input.offset,
        record_time: time(input.timestamp),
        prediction_topic: topic,
        prediction_offset: record.offset,
        model_version: version,
        predicted: classifier.class_name(classification.class).to_owned(),
        is_same_when_replayed: record.value.as_deref() == Some(&value)
            && provenance.votes == scratch.votes(),
        votes: provenance.votes,
    })
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            offset,
            prediction_topic,
            prediction_offset,
            ..
        } = self;
        let predicted = printable(&self.predicted);
        let votes: Vec<String> = self.votes.iter().map(ToString::to_string).collect();
        let votes = votes.join(".");
        let time = self.record_time.as_ref();
        let time = time.map_or_else(String::new, |time| format!(", of {time}"));
        let replayed = if self.is_same_when_replayed {
            "the same prediction, byte for byte"
        } else {
            "another prediction"
        };
        writeln!(
            f,
            "record       partition {partition}, offset {offset}{time}"
        )?;
        writeln!(
            f,
            "prediction   {predicted}, votes {votes}; offset {prediction_offset} of {prediction_topic}"
        )?;
        writeln!(f, "answered by  model {}", self.model_version)?;
        writeln!(f, "replayed     {replayed}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iris_contract::Provenance;
    use iris_core::{Lineage, Model};

    use super::super::super::samples::artefact;
    use super::super::lookup::provenance_of;
    use super::super::lookup::tests::{prediction, record};
    use super::*;

    const INPUT: &str = r#"{"x":9}"#;
    const PREDICTED: &str = r#"{"x":9,"PredictedSpecies":"b"}"#;

    fn model() -> Model {
        artefact(10.0, Lineage::default()).model
    }

    /// Replays `input` against a stored prediction with this value and these votes.
    fn replayed(input: &str, value: &str, votes: Vec<u32>) -> anyhow::Result<Replay> {
        let (model, input) = (model(), record(2, 14, input));
        let mut record = prediction(&model, 2, 14, PREDICTED);
        record.value = Some(value.as_bytes().to_vec());
        let provenance = Provenance {
            votes,
            ..provenance_of(&record, &input).unwrap()
        };
        let stored = FoundPrediction {
            topic: "predictions".to_owned(),
            record,
            provenance,
        };
        replay(&Classifier::new(Arc::new(model)), &input, stored)
    }

    #[test]
    fn a_prediction_is_the_same_if_its_bytes_and_its_votes_are() {
        let is_same = |value: &str, votes| {
            let replay = replayed(INPUT, value, votes).unwrap();
            replay.is_same_when_replayed
        };
        assert!(is_same(PREDICTED, vec![0, 1]));
        assert!(!is_same(&PREDICTED.replace("9,", "9, "), vec![0, 1]));
        assert!(!is_same(PREDICTED, vec![1, 0]));
    }

    #[test]
    fn a_replay_is_shown_with_the_record_the_prediction_and_the_model() {
        let replay = replayed(INPUT, PREDICTED, vec![0, 1]).unwrap();
        let version = model().version();
        assert_eq!(
            replay.to_string(),
            format!(
                "record       partition 2, offset 14, of 1970-01-01T00:00:01Z\n\
                 prediction   b, votes 0.1; offset 70 of predictions\n\
                 answered by  model {version}\n\
                 replayed     the same prediction, byte for byte\n"
            )
        );
    }

    #[test]
    fn a_record_that_the_model_rejects_is_an_error_that_names_the_model() {
        let version = model().version();
        let error = replayed("{}", PREDICTED, vec![0, 1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("model {version} now rejects the record")
        );
    }
}
