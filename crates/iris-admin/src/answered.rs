//! Which model answered: an input record, with the answer given again by the same model; or at a time.
//!
//! A prediction has its input's partition and time, and says where it came from; so it is found by time and a look at what
//! follows, without reading whole topics.

use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use comfy_table::{Table, presets};
use iris_contract::{Classifier, PROVENANCE_HEADER, Provenance, Scratch};
use iris_core::ModelVersion;
use iris_kafka::{Positions, StoredRecord, TopicReader, end_offsets, offsets_at};
use iris_registry::Registry;
use iris_registry::RegistryTopic;
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::AnsweredArgs;
use crate::models::{print_json, time};
use crate::settings::Settings;

/// Who answered a record, and whether the same answer comes again.
#[derive(Debug, Serialize)]
struct Answer {
    partition: i32,
    offset: i64,
    record_time: Option<String>,
    prediction_topic: String,
    prediction_offset: i64,
    model_version: ModelVersion,
    predicted: String,
    votes: Vec<u32>,
    is_same_when_replayed: bool,
}

/// Who answered first in a partition, from a time on.
#[derive(Debug, Serialize)]
struct FirstAnswer {
    partition: i32,
    prediction_offset: i64,
    record_time: Option<String>,
    model_version: ModelVersion,
}

/// Carries the command out.
///
/// # Errors
/// If there is no such record or no answer to it; if the answer does not come again.
pub(crate) fn run(
    args: &AnsweredArgs,
    settings: &Settings,
    registry: &RegistryTopic,
) -> anyhow::Result<()> {
    match (args.partition, args.offset, args.time) {
        (Some(partition), Some(offset), _) => {
            let answer = replay(settings, registry, partition, offset)?;
            if args.json {
                print_json(&answer)?;
            } else {
                write!(stdout(), "{answer}")?;
            }
            ensure!(
                answer.is_same_when_replayed,
                "model {} answers otherwise now",
                answer.model_version
            );
            Ok(())
        }
        (_, _, Some(since)) => {
            let known = registry.read()?;
            let answers = first_answers(settings, since)?;
            if args.json {
                return print_json(&answers);
            }
            let champion = champion_at(&known, since)
                .map_or_else(|| "none".to_owned(), |version| version.to_string());
            Ok(writeln!(
                stdout(),
                "champion at {since}: {champion}\n{}",
                table(&answers)
            )?)
        }
        _ => bail!("say which record, by --partition and --offset, or a --time"),
    }
}

fn replay(
    settings: &Settings,
    registry: &RegistryTopic,
    partition: i32,
    offset: i64,
) -> anyhow::Result<Answer> {
    let topics = &settings.topics;
    let input = first_from(settings, &topics.input, partition, offset, |_| true)?
        .filter(|record| record.offset == offset)
        .with_context(|| {
            format!(
                "partition {partition} of topic `{}` has no record at offset {offset}",
                topics.input
            )
        })?;
    let (topic, prediction, provenance) = [&topics.predictions, &topics.feedback]
        .into_iter()
        .find_map(|topic| {
            let found = prediction_of(settings, topic, &input);
            found
                .transpose()
                .map(|found| found.map(|(record, provenance)| (topic, record, provenance)))
        })
        .transpose()?
        .context(
            "there is no prediction of it with its provenance: it is a dead letter, is yet to be classified, or \
             predictions are not published",
        )?;
    let model = registry
        .load(&registry.read()?, provenance.model_version)?
        .model;
    let classifier = Classifier::new(Arc::new(model));
    answer_again(&classifier, &input, topic, &prediction, provenance)
}

/// Has the model that answered a record answer it again, and compares the two.
fn answer_again(
    classifier: &Classifier,
    input: &StoredRecord,
    topic: &str,
    prediction: &StoredRecord,
    provenance: Provenance,
) -> anyhow::Result<Answer> {
    let version = provenance.model_version;
    let (mut scratch, mut value) = (Scratch::default(), Vec::new());
    let decision = classifier
        .classify(input.value.as_deref(), &mut scratch)
        .with_context(|| format!("model {version} classifies it no more"))?;
    classifier.write_value(&decision, &mut value);
    Ok(Answer {
        partition: input.partition,
        offset: input.offset,
        record_time: time(input.timestamp),
        prediction_topic: topic.to_owned(),
        prediction_offset: prediction.offset,
        model_version: version,
        predicted: classifier.class_name(decision.class).to_owned(),
        is_same_when_replayed: prediction.value.as_deref() == Some(&value)
            && provenance.votes == scratch.votes(),
        votes: provenance.votes,
    })
}

/// The prediction of an input record in a topic that has its partitions.
fn prediction_of(
    settings: &Settings,
    topic: &str,
    input: &StoredRecord,
) -> anyhow::Result<Option<(StoredRecord, Provenance)>> {
    let partition = input.partition;
    let since = input.timestamp.unwrap_or_default();
    let Some(start) = offsets_at(&settings.kafka, topic, since)?.get(partition) else {
        return Ok(None);
    };
    let is_it_or_past = |record: &StoredRecord| is_of_or_past(record, input);
    let found = first_from(settings, topic, partition, start, is_it_or_past)?;
    Ok(found.and_then(|record| {
        let provenance = provenance_of(&record, input)?;
        Some((record, provenance))
    }))
}

/// Whether a prediction is of an input record or a later one: a partition's predictions are in the input's order.
fn is_of_or_past(prediction: &StoredRecord, input: &StoredRecord) -> bool {
    provenance(prediction).is_some_and(|provenance| provenance.offset >= input.offset)
}

/// The provenance of a prediction, if it is of this input record.
fn provenance_of(prediction: &StoredRecord, input: &StoredRecord) -> Option<Provenance> {
    provenance(prediction).filter(|provenance| {
        (provenance.partition, provenance.offset) == (input.partition, input.offset)
    })
}

fn provenance(record: &StoredRecord) -> Option<Provenance> {
    let header = record.header(PROVENANCE_HEADER)?;
    std::str::from_utf8(header).ok()?.parse().ok()
}

/// The first record of a partition, from an offset on, that is wanted.
fn first_from(
    settings: &Settings,
    topic: &str,
    partition: i32,
    offset: i64,
    is_wanted: impl Fn(&StoredRecord) -> bool,
) -> anyhow::Result<Option<StoredRecord>> {
    let start = Positions::from([(partition, offset)]);
    // Past the end there is nothing, and reading there would begin anew.
    let ends = end_offsets(&settings.kafka, topic)?;
    if ends.get(partition).is_none_or(|end| offset >= end) {
        return Ok(None);
    }
    let mut reader = TopicReader::open_at(&settings.kafka, topic, &start)?;
    let never = CancellationToken::new();
    reader.read_to_end(&never, &mut |_| (), |record| {
        let record = StoredRecord::from(&record);
        Ok(if is_wanted(&record) {
            ControlFlow::Break(record)
        } else {
            ControlFlow::Continue(())
        })
    })
}

/// In each partition the first prediction of a record from `since` or later.
fn first_answers(settings: &Settings, since: Timestamp) -> anyhow::Result<Vec<FirstAnswer>> {
    let topic = &settings.topics.predictions;
    let starts = offsets_at(&settings.kafka, topic, since.as_millisecond())?;
    let mut answers = Vec::new();
    for (partition, start) in starts {
        let says = |record: &StoredRecord| provenance(record).is_some();
        if let Some(record) = first_from(settings, topic, partition, start, says)?
            && let Some(provenance) = provenance(&record)
        {
            answers.push(FirstAnswer {
                partition,
                prediction_offset: record.offset,
                record_time: time(record.timestamp),
                model_version: provenance.model_version,
            });
        }
    }
    Ok(answers)
}

/// The version that the decisions up to a time had made the champion.
fn champion_at(registry: &Registry, when: Timestamp) -> Option<ModelVersion> {
    registry
        .decisions()
        .take_while(|recorded| {
            recorded
                .timestamp
                .is_none_or(|timestamp| timestamp <= when.as_millisecond())
        })
        .filter(|recorded| recorded.decision.action.makes_champion())
        .last()
        .map(|recorded| recorded.decision.version)
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let votes: Vec<String> = self.votes.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "record       partition {}, offset {}{}",
            self.partition,
            self.offset,
            self.record_time
                .as_ref()
                .map_or_else(String::new, |time| format!(", of {time}"))
        )?;
        writeln!(
            f,
            "prediction   {}, votes {}; offset {} of {}",
            self.predicted,
            votes.join("."),
            self.prediction_offset,
            self.prediction_topic
        )?;
        writeln!(f, "answered by  model {}", self.model_version)?;
        let replayed = if self.is_same_when_replayed {
            "the same answer, byte for byte"
        } else {
            "another answer"
        };
        writeln!(f, "replayed     {replayed}")
    }
}

fn table(answers: &[FirstAnswer]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["partition", "record of", "prediction's offset", "version"]);
    for answer in answers {
        table.add_row([
            answer.partition.to_string(),
            answer.record_time.clone().unwrap_or_default(),
            answer.prediction_offset.to_string(),
            answer.model_version.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use iris_contract::ProvenanceWriter;
    use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
    use iris_registry::Grounds;

    use super::*;

    /// A model that calls what is nearer to 0 `a`, and what is nearer to `x` `b`.
    fn model(x: f64) -> Model {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        let rows = [(&[0.0][..], "a"), (&[x][..], "b")];
        Model::fit(TrainingSet::new(schema, rows.into_iter()), 1).unwrap()
    }

    fn record(partition: i32, offset: i64, value: &str) -> StoredRecord {
        StoredRecord {
            partition,
            offset,
            timestamp: Some(1_000),
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    /// A model's prediction of the record at this place, at offset 70 of its topic.
    fn prediction(model: &Model, partition: i32, offset: i64, value: &str) -> StoredRecord {
        let mut header = String::new();
        ProvenanceWriter::new(model.version()).write(partition, offset, &[0, 1], &mut header);
        StoredRecord {
            headers: vec![(PROVENANCE_HEADER.to_owned(), header.into_bytes())],
            ..record(partition, 70, value)
        }
    }

    const ASKED: &str = r#"{"x":9}"#;
    const ANSWERED: &str = r#"{"x":9,"PredictedSpecies":"b"}"#;

    #[test]
    fn a_prediction_is_found_by_the_place_in_its_provenance() {
        let (model, input) = (model(10.0), record(2, 14, ASKED));
        for (partition, offset, is_of_or_past_it, is_of_it) in [
            (2, 13, false, false),
            (2, 14, true, true),
            (2, 15, true, false),
            (3, 14, true, false),
        ] {
            let prediction = prediction(&model, partition, offset, ANSWERED);
            let found = provenance_of(&prediction, &input).is_some();
            assert_eq!(
                is_of_or_past(&prediction, &input),
                is_of_or_past_it,
                "{offset}"
            );
            assert_eq!(found, is_of_it, "partition {partition}, offset {offset}");
        }
        let without = record(2, 14, ANSWERED);
        assert!(!is_of_or_past(&without, &input) && provenance_of(&without, &input).is_none());
        let header = (PROVENANCE_HEADER.to_owned(), b"\xff".to_vec());
        let unreadable = StoredRecord {
            headers: vec![header],
            ..without
        };
        assert!(!is_of_or_past(&unreadable, &input));
    }

    fn again(model: &Model, value: &str, votes: Vec<u32>) -> Answer {
        let (input, mut prediction) = (record(2, 14, ASKED), prediction(model, 2, 14, ANSWERED));
        prediction.value = Some(value.as_bytes().to_vec());
        let provenance = Provenance {
            votes,
            ..provenance_of(&prediction, &input).unwrap()
        };
        let classifier = Classifier::new(Arc::new(model.clone()));
        answer_again(&classifier, &input, "predictions", &prediction, provenance).unwrap()
    }

    #[test]
    fn an_answer_is_the_same_if_its_bytes_and_its_votes_are() {
        let model = model(10.0);
        assert!(again(&model, ANSWERED, vec![0, 1]).is_same_when_replayed);
        assert!(!again(&model, &ANSWERED.replace("9,", "9, "), vec![0, 1]).is_same_when_replayed);
        assert!(!again(&model, ANSWERED, vec![1, 0]).is_same_when_replayed);
        let answer = again(&model, ANSWERED, vec![0, 1]);
        let version = model.version();
        assert_eq!(
            answer.to_string(),
            format!(
                "record       partition 2, offset 14, of 1970-01-01T00:00:01Z\n\
                 prediction   b, votes 0.1; offset 70 of predictions\n\
                 answered by  model {version}\n\
                 replayed     the same answer, byte for byte\n"
            )
        );
    }

    #[test]
    fn a_record_that_the_model_does_not_take_is_an_error_that_names_the_model() {
        let model = model(10.0);
        let prediction = prediction(&model, 2, 14, ANSWERED);
        let input = record(2, 14, "{}");
        let provenance = provenance_of(&prediction, &input).unwrap();
        let classifier = Classifier::new(Arc::new(model));
        let version = classifier.model_version();
        let refused = answer_again(&classifier, &input, "predictions", &prediction, provenance);
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("model {version} classifies it no more")
        );
    }

    #[test]
    fn the_champion_at_a_time_is_that_of_the_last_decision_before_it_that_made_one() {
        let mut registry = Registry::default();
        let versions = [10.0, 20.0, 30.0].map(|x| model(x).version());
        for (x, is_promoted, time) in [(10.0, true, 10), (20.0, false, 20), (30.0, true, 30)] {
            let artefact = Artefact {
                model: model(x),
                lineage: Lineage::default(),
            };
            for entry in registry.enter(&artefact, is_promoted, Grounds::default()) {
                let (key, value) = (entry.key.as_bytes(), Some(&entry.value[..]));
                registry.apply(0, Some(time), key, value).unwrap();
            }
        }
        for (time, champion) in [
            (9, None),
            (10, Some(versions[0])),
            (29, Some(versions[0])),
            (30, Some(versions[2])),
            (99, Some(versions[2])),
        ] {
            let time = Timestamp::from_millisecond(time).unwrap();
            assert_eq!(champion_at(&registry, time), champion, "{time}");
        }
    }
}
