//! Which model answered: an input record, with the answer given again by the same model; or at a time.
//!
//! A prediction has its input's partition and time, and says where it came from; so it is found by time and a look at what
//! follows, without reading whole topics.

use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use comfy_table::{Table, presets};
use iris_core::{Classifier, ModelVersion, PROVENANCE_HEADER, Provenance, Registry, Scratch};
use iris_kafka::{Offsets, RegistryTopic, StoredRecord, TopicReader, end_offsets, offsets_at};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::AnsweredArgs;
use crate::models::{print_json, time};
use crate::settings::Settings;

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long reading may bring nothing before it is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

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
    let version = provenance.model_version;
    let model = registry.load(&registry.read()?, version)?.model;
    let classifier = Classifier::new(Arc::new(model));
    let (mut scratch, mut value) = (Scratch::default(), Vec::new());
    let decision = classifier
        .decide(input.value.as_deref(), &mut scratch)
        .with_context(|| format!("model {version} classifies it no more"))?;
    classifier.write_value(&decision, &mut value);
    Ok(Answer {
        partition,
        offset,
        record_time: time(input.timestamp),
        prediction_topic: topic.clone(),
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
    let Some(&start) = offsets_at(&settings.kafka, topic, since)?.get(&partition) else {
        return Ok(None);
    };
    // In the input's order: what comes from a later record is past it.
    let is_it_or_past = |record: &StoredRecord| {
        provenance(record).is_some_and(|provenance| provenance.offset >= input.offset)
    };
    let found = first_from(settings, topic, partition, start, is_it_or_past)?;
    Ok(found.and_then(|record| {
        let provenance = provenance(&record)?;
        let source = (provenance.partition, provenance.offset);
        (source == (partition, input.offset)).then_some((record, provenance))
    }))
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
    let start = Offsets::from([(partition, offset)]);
    // Past the end there is nothing, and reading there would begin anew.
    let ends = end_offsets(&settings.kafka, topic)?;
    if ends.get(&partition).is_none_or(|&end| offset >= end) {
        return Ok(None);
    }
    let mut reader = TopicReader::open_at(&settings.kafka, topic, &start)?;
    let mut latest = Instant::now();
    while !reader.has_reached_the_end() {
        if let Some(record) = reader.next(POLL_TIMEOUT)? {
            latest = Instant::now();
            let record = StoredRecord::from(&record);
            if is_wanted(&record) {
                return Ok(Some(record));
            }
        } else if latest.elapsed() >= STALL_TIMEOUT {
            let seconds = STALL_TIMEOUT.as_secs();
            bail!("reading topic `{topic}` has brought nothing for {seconds} s");
        }
    }
    Ok(None)
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
