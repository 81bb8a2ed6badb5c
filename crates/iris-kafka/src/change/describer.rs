//! Asks the cluster for the ids and partitions of topics.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::change::identity::TopicState;
use crate::sys::admin::Request;
use crate::sys::client::Alive;
use crate::sys::describe::{Allowed, DescribedTopic, Descriptions, Question};

/// A request for the states of topics that no broker has answered yet.
#[derive(Debug)]
pub(crate) struct PendingStates {
    topics: Vec<String>,
    broker: i32,
    request: Request,
}

/// Describes topics over one client.
#[derive(Debug)]
pub(crate) struct Describer {
    descriptions: Descriptions,
    /// The broker that is asked: one that has answered. By default librdkafka asks the controller, which may not be
    /// reachable.
    broker: Mutex<Option<i32>>,
}

impl Describer {
    /// Returns a describer over a client.
    ///
    /// # Errors
    /// The client's error if it cannot create a queue.
    pub(crate) fn new(client: Alive) -> Result<Self, KafkaError> {
        let descriptions = Descriptions::new(client);
        Ok(Self {
            descriptions: descriptions
                .ok_or_else(|| KafkaError::ClientCreation("no queue".to_owned()))?,
            broker: Mutex::default(),
        })
    }

    /// Asks for the states of topics and does not wait for the answer. The first request waits for a broker that answers.
    ///
    /// # Errors
    /// The client's error if there is no such broker.
    pub(crate) fn request<C: ClientContext>(
        &self,
        client: &Client<C>,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<PendingStates, KafkaError> {
        let question = Question {
            topics,
            with_allowed: false,
        };
        self.ask(client, question, timeout)
    }

    fn ask<C: ClientContext>(
        &self,
        client: &Client<C>,
        question: Question<'_>,
        timeout: Duration,
    ) -> Result<PendingStates, KafkaError> {
        let known = *self.broker.lock();
        let broker = match known {
            Some(broker) => broker,
            None => find_broker(client, timeout)?,
        };
        let topics = question.topics;
        let request = self
            .descriptions
            .request(broker, question, timeout)
            .inspect_err(|_| *self.broker.lock() = None)?;
        Ok(PendingStates {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            broker,
            request,
        })
    }

    /// Waits for the answer to the latest request. Returns the state of each topic, in the order of the request.
    ///
    /// # Errors
    /// The client's error if the broker does not answer in time.
    pub(crate) fn answer(&self, pending: &PendingStates) -> Result<Vec<TopicState>, KafkaError> {
        let described = self.described(pending)?;
        let state = |topic: &String| {
            let found = described.iter().find(|found| found.name == *topic);
            found.map_or(TopicState::Missing, |found| {
                TopicState::of(found.found.clone())
            })
        };
        Ok(pending.topics.iter().map(state).collect())
    }

    fn described(&self, pending: &PendingStates) -> Result<Vec<DescribedTopic>, KafkaError> {
        let described = self
            .descriptions
            .answer(&pending.request)
            .inspect_err(|_| *self.broker.lock() = None)?;
        *self.broker.lock() = Some(pending.broker);
        Ok(described)
    }

    /// Returns for each topic the operations that the user may carry out, in the given order; the broker's error if it does
    /// not describe the topic, and `None` if it does not list operations.
    ///
    /// # Errors
    /// The client's error if no broker answers in time.
    pub(crate) fn allowed<C: ClientContext>(
        &self,
        client: &Client<C>,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<Result<Option<Allowed>, RDKafkaErrorCode>>, KafkaError> {
        let question = Question {
            topics,
            with_allowed: true,
        };
        let described = self.described(&self.ask(client, question, timeout)?)?;
        let of = |topic: &&str| {
            let found = described.iter().find(|found| found.name == *topic);
            match found {
                Some(found) => found.found.clone().map(|_| found.allowed),
                None => Err(RDKafkaErrorCode::UnknownTopicOrPartition),
            }
        };
        Ok(topics.iter().map(of).collect())
    }

    /// Returns the state of each topic, in the given order.
    ///
    /// # Errors
    /// The client's error if no broker answers in time.
    pub(crate) fn states<C: ClientContext>(
        &self,
        client: &Client<C>,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<TopicState>, KafkaError> {
        self.answer(&self.request(client, topics, timeout)?)
    }
}

/// Describes why the id of a topic is not known.
pub(crate) fn unknown_id(topic: &str, error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OperationTimedOut) => {
            format!("cannot read the id of topic `{topic}`: the brokers did not answer in time")
        }
        _ => format!("cannot read the id of topic `{topic}`: {error}"),
    }
}

/// Returns a broker that answers: the one that returns the metadata or, if the client does not know its id, any.
fn find_broker<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Result<i32, KafkaError> {
    let metadata = client.fetch_metadata(None, timeout)?;
    let answered = metadata.orig_broker_id();
    let any = || metadata.brokers().first().map(|broker| broker.id());
    (answered >= 0)
        .then_some(answered)
        .or_else(any)
        .ok_or(KafkaError::MetadataFetch(
            RDKafkaErrorCode::BrokerNotAvailable,
        ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    #[test]
    fn topics_are_described_in_the_given_order_and_keep_their_ids() {
        let cluster = SimulatedCluster::new(1, &["input", "output"]);
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &cluster.settings.bootstrap_servers)
            .set("group.id", "test")
            .create()
            .unwrap();
        let client = Arc::new(client);
        let describer = Describer::new(Alive::new(&client)).unwrap();
        let states = |topics: &[&str]| describer.states(client.client(), topics, PATIENCE).unwrap();
        let [output, input] = &states(&["output", "input"])[..] else {
            panic!("two states")
        };
        assert_ne!(output, input);
        assert_eq!(states(&["input"]), std::slice::from_ref(input));
        let TopicState::Exists { id, partitions } = input else {
            panic!("{input:?}")
        };
        assert!(id.is_some());
        assert_eq!(*partitions, 1);
    }
}
