//! The requests of a transactional producer about topics, over its own connections.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::{ProducerState, TransactionalProducer};
use crate::change::describer::{PendingStates, unknown_id};
use crate::change::identity::{TopicId, TopicState};
use crate::exactly_once::fault::Fault;

/// How long the request for a topic's id may take.
const ID_TIMEOUT: Duration = Duration::from_secs(3);

impl TransactionalProducer {
    /// Asks the cluster for the states of topics, in the given order, over this client's connections for the reason of
    /// [`topic_id`](Self::topic_id).
    ///
    /// # Errors
    /// The client's error if there is none or no broker answers in time.
    pub(in crate::exactly_once) fn topic_states(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<TopicState>, KafkaError> {
        match &self.state {
            ProducerState::Absent => Err(KafkaError::Canceled),
            ProducerState::Ready(producer) | ProducerState::Open(producer) => producer
                .describer
                .states(producer.client().client(), topics, timeout),
        }
    }

    /// Asks the cluster for the number of a topic's partitions. From then on, records can be sent to all of them.
    ///
    /// # Errors
    /// The client's error if there is none or no broker answers in time.
    pub(in crate::exactly_once) fn refresh_partitions(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<usize, KafkaError> {
        let (ProducerState::Ready(producer) | ProducerState::Open(producer)) = &self.state else {
            return Err(KafkaError::Canceled);
        };
        let metadata = producer
            .client()
            .client()
            .fetch_metadata(Some(topic), timeout)?;
        let topics = metadata.topics().iter();
        let found = topics.map(|topic| topic.partitions().len()).next();
        Ok(found.unwrap_or_default())
    }

    /// Asks the cluster for the state of a topic, whose id [`topic_id`](Self::topic_id) returns. It is asked over this
    /// client's connections, because on a consumer's a request waits behind the open fetch.
    pub(in crate::exactly_once) fn request_topic(
        &self,
        topic: &str,
    ) -> Result<PendingStates, Fault> {
        let producer = self.opened()?;
        let client = producer.client().client();
        producer
            .describer
            .request(client, &[topic], ID_TIMEOUT)
            .map_err(|error| Fault::Abortable(unknown_id(topic, &error)))
    }

    /// Waits for the id of a topic; `None` if the brokers have no ids.
    pub(in crate::exactly_once) fn topic_id(
        &self,
        topic: &str,
        requested: &PendingStates,
    ) -> Result<Option<TopicId>, Fault> {
        let states = self.opened()?.describer.answer(requested);
        let states = states.map_err(|error| Fault::Abortable(unknown_id(topic, &error)))?;
        let state = states.into_iter().next().unwrap_or(TopicState::Missing);
        state.into_id(topic).map_err(Fault::Abortable)
    }
}
