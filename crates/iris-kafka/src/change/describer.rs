//! Asks the cluster for the ids and partitions of topics.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::change::identity::{TopicId, TopicState};
use crate::sys::describe::Descriptions;

/// Describes topics over one client.
#[derive(Debug)]
pub(crate) struct Describer {
    descriptions: Descriptions,
    /// The broker that is asked: one that has answered. By default librdkafka asks the controller, which may not be
    /// reachable.
    broker: Mutex<Option<i32>>,
}

impl Describer {
    /// Returns a describer that must be dropped before the client.
    ///
    /// # Errors
    /// The client's error if it cannot create a queue.
    pub(crate) fn new<C: ClientContext>(client: &Client<C>) -> Result<Self, KafkaError> {
        let descriptions = Descriptions::new(client);
        Ok(Self {
            descriptions: descriptions
                .ok_or_else(|| KafkaError::ClientCreation("no queue".to_owned()))?,
            broker: Mutex::default(),
        })
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
        let known = *self.broker.lock();
        let broker = match known {
            Some(broker) => broker,
            None => find_broker(client, timeout)?,
        };
        let described = self
            .descriptions
            .describe(client, broker, topics, timeout)
            .inspect_err(|_| *self.broker.lock() = None)?;
        *self.broker.lock() = Some(broker);
        let state = |topic: &&str| {
            let found = described.iter().find(|found| found.name == *topic);
            found.map_or(TopicState::Missing, |found| {
                TopicState::of(found.found.clone())
            })
        };
        Ok(topics.iter().map(state).collect())
    }

    /// Returns the id of a topic; `None` if the brokers have no ids.
    ///
    /// # Errors
    /// A message, if the topic does not exist or no broker answers in time.
    pub(crate) fn id<C: ClientContext>(
        &self,
        client: &Client<C>,
        topic: &str,
        timeout: Duration,
    ) -> Result<Option<TopicId>, String> {
        let states = self.states(client, &[topic], timeout).map_err(|error| {
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::OperationTimedOut) => {
                    format!(
                        "cannot read the id of topic `{topic}`: the brokers did not answer in time"
                    )
                }
                _ => format!("cannot read the id of topic `{topic}`: {error}"),
            }
        })?;
        let state = states.into_iter().next();
        state.unwrap_or(TopicState::Missing).into_id(topic)
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
        let describer = Describer::new(client.client()).unwrap();
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
