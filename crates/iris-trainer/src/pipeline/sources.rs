//! The topics that a session reads.

use std::collections::BTreeMap;

use iris_kafka::{Positions, ReadError, TopicReader, TopicWatcher, end_offsets};

use super::context::Context;
use super::error::SessionError;
use crate::NAME;
use crate::checkpoint::Checkpoint;
use crate::merge::{Lane, Topic};

/// Returns a watcher of the topics, in the order of the readers.
///
/// # Errors
/// [`ReadError::Refused`] if a setting cannot be used.
pub(super) fn watcher(context: &Context) -> Result<TopicWatcher, ReadError> {
    let topics = [Topic::Predictions, Topic::Labels].map(|topic| context.topic_name(topic));
    TopicWatcher::open(&context.settings.kafka, NAME, &topics)
}

/// Checks that the topic of feedback has a partition for each one of the topic of predictions.
///
/// # Errors
/// [`SessionError::TooFewPartitions`] if it has not.
pub(super) fn check_partitions(
    context: &Context,
    predictions: &TopicReader,
) -> Result<(), SessionError> {
    let feedback = &context.settings.topics.feedback;
    let found = end_offsets(&context.settings.kafka, feedback)?.len();
    let wanted = predictions.partitions().len();
    if found >= wanted {
        return Ok(());
    }
    Err(SessionError::TooFewPartitions {
        feedback: feedback.clone(),
        found,
        predictions: predictions.topic().to_owned(),
        wanted,
    })
}

/// Opens the topics at the checkpoint's offsets, and adds them to the lag metrics. Removes the offsets and times of recreated
/// topics from the checkpoint.
///
/// # Errors
/// [`ReadError`] if a topic cannot be read.
pub(super) fn open_all(
    context: &Context,
    checkpoint: &mut Checkpoint,
) -> Result<[(Topic, TopicReader); 2], ReadError> {
    let mut open = |topic| {
        let name = context.topic_name(topic);
        let beginning = Positions::new();
        let start = checkpoint.sources.get(name).unwrap_or(&beginning);
        let id = checkpoint.topic_ids.get(name);
        let reader = TopicReader::resume(&context.settings.kafka, name, start, id)?;
        if reader.is_recreated() {
            checkpoint.sources.remove(name);
            checkpoint.times.remove(name);
        }
        let id = reader.topic_id().map(|id| (name.to_owned(), id.clone()));
        checkpoint.topic_ids.extend(id);
        let lag = &context.metrics.lag;
        lag.watch_reader(name, reader.client_health());
        Ok((topic, reader))
    };
    Ok([open(Topic::Predictions)?, open(Topic::Labels)?])
}

/// Returns the partitions of the topics, each with the stream's time at its last record, if that is known.
pub(super) fn lanes<'a>(
    context: &Context,
    readers: &'a [(Topic, TopicReader)],
    times: &'a BTreeMap<String, BTreeMap<i32, i64>>,
) -> impl Iterator<Item = (Lane, Option<i64>)> {
    readers.iter().flat_map(|(topic, reader)| {
        let times = times.get(context.topic_name(*topic));
        let since = move |partition| times.and_then(|times| times.get(partition)).copied();
        let partitions = reader.partitions().iter();
        partitions.map(move |partition| ((*topic, *partition), since(partition)))
    })
}
