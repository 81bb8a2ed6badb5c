//! The topics that a session reads.

use std::collections::BTreeMap;

use iris_kafka::{Positions, ReadError, TopicId, TopicReader, TopicWatcher, end_offsets};

use super::context::Context;
use super::error::SessionError;
use crate::NAME;
use crate::merge::Topic;

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

/// Opens a topic at the checkpoint's offsets, which belong to the topic with this id, and adds it to the lag metrics.
///
/// # Errors
/// [`ReadError`] if the topic cannot be read.
pub(super) fn open(
    context: &Context,
    sources: &BTreeMap<String, Positions>,
    topic_id: Option<&TopicId>,
    topic: Topic,
) -> Result<(Topic, TopicReader), ReadError> {
    let name = context.topic_name(topic);
    let beginning = Positions::new();
    let start = sources.get(name).unwrap_or(&beginning);
    let reader = TopicReader::resume(&context.settings.kafka, name, start, topic_id)?;
    let lag = &context.metrics.lag;
    lag.watch_reader(name, reader.client_health());
    Ok((topic, reader))
}
