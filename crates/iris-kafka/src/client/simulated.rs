//! librdkafka's simulated cluster, for unit tests.
//!
//! Offsets that a transaction commits do not become the group's committed offsets in it, as if the coordinator were out of
//! date. Behaviour that depends on them is tested with a real broker.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use crate::client::settings::KafkaSettings;

/// How long a test waits for an expected event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A simulated cluster, the settings to reach it, and a producer to fill it.
pub(crate) struct SimulatedCluster {
    pub(crate) brokers: MockCluster<'static, DefaultProducerContext>,
    pub(crate) settings: KafkaSettings,
    producer: BaseProducer,
}

impl SimulatedCluster {
    /// Starts `brokers` brokers and creates `topics`, each with one partition.
    pub(crate) fn new(brokers: i32, topics: &[&str]) -> Self {
        let brokers = MockCluster::new(brokers).unwrap();
        for topic in topics {
            brokers.create_topic(topic, 1, 1).unwrap();
        }
        let settings = KafkaSettings {
            bootstrap_servers: brokers.bootstrap_servers(),
            // A rewound consumer fetches again only when its pending fetch returns.
            librdkafka: [("fetch.wait.max.ms".to_owned(), "20".to_owned())].into(),
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

    /// Appends `records` records to a topic.
    pub(crate) fn append(&self, topic: &str, records: usize) {
        for _ in 0..records {
            let record = BaseRecord::<(), _>::to(topic).partition(0).payload("it");
            self.producer.send(record).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Makes the next fetch fail so that the client restarts at the beginning of the partition.
    pub(crate) fn reset_next_fetch(&self) {
        let out_of_range = Answer::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
        self.brokers.request_errors(Api::Fetch, &[out_of_range]);
    }
}
