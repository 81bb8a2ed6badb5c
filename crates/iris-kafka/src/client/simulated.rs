//! For unit tests: a cluster within the process that answers as it is told to.
//!
//! librdkafka's own simulation. The offsets that a transaction commits do not show in what it says that the group has
//! committed: as if a coordinator answered that was away meanwhile. What rests on a broker is tested against one.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use crate::client::settings::KafkaSettings;

/// How long a test waits for what should come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The cluster, how to reach it, and a producer to fill it with.
pub(crate) struct SimulatedCluster {
    pub(crate) brokers: MockCluster<'static, DefaultProducerContext>,
    pub(crate) settings: KafkaSettings,
    producer: BaseProducer,
}

impl SimulatedCluster {
    /// So many brokers, and topics of one partition each.
    pub(crate) fn new(brokers: i32, topics: &[&str]) -> Self {
        let brokers = MockCluster::new(brokers).unwrap();
        for topic in topics {
            brokers.create_topic(topic, 1, 1).unwrap();
        }
        let settings = KafkaSettings {
            bootstrap_servers: brokers.bootstrap_servers(),
            ..KafkaSettings::default()
        };
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &settings.bootstrap_servers)
            .create()
            .unwrap();
        Self {
            brokers,
            settings,
            producer,
        }
    }

    /// Appends so many records to a topic.
    pub(crate) fn append(&self, topic: &str, records: usize) {
        for _ in 0..records {
            let record = BaseRecord::<(), _>::to(topic).partition(0).payload("it");
            self.producer.send(record).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Has the next fetch fail in a way after which the client goes to the beginning of the partition.
    pub(crate) fn send_to_the_beginning(&self) {
        let out_of_range = Answer::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
        self.brokers.request_errors(Api::Fetch, &[out_of_range]);
    }
}
