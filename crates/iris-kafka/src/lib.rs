//! The pipeline's view of Kafka, and the only crate that names rdkafka.
//!
//! [`Consumer`] hands out [`Record`]s, [`TransactionalProducer`] and [`exactly_once::Worker`] make outputs and input
//! offsets one transaction, [`Producer`] sends without a transaction and counts what was delivered, [`Admin`] creates
//! and describes topics, and [`startup`] is what every service does before its first record. Client settings that
//! matter for throughput, latency or the guarantees are set here and nowhere else.
//!
//! Deliberately absent: what a record means (iris-core) and where settings come from (iris-service).

mod admin;
mod caller;
mod clock;
mod connection;
mod consumer;
mod dead_letter;
pub mod defence;
pub mod exactly_once;
mod flush;
mod headers;
mod inbox;
mod lag;
#[cfg(feature = "limits")]
pub mod limits;
mod membership;
mod pause;
mod producer;
mod reader;
mod record;
mod registry;
mod settings;
#[cfg(test)]
mod simulated;
mod standstill;
pub mod startup;
mod tail;
mod topics;
mod transaction;

pub use admin::{
    Admin, AdminError, PartitionDescription, TopicDescription, TopicOutcome, TopicSpec,
};
pub use clock::now_ms;
pub use connection::Connection;
pub use consumer::{ConsumeError, Consumer, RebalanceListener, Revocation, Start};
pub use dead_letter::{DeadLetter, Origin};
pub use lag::LagMetrics;
pub use pause::pause;
pub use producer::{Delivery, DeliveryListener, ProduceError, Producer};
pub use reader::{
    GroupOffsets, Read, ReadError, StoredRecord, TopicReader, end_offsets, is_settled, offsets_at,
    read_to_end,
};
pub use record::{Headers, OutgoingRecord, Record};
pub use registry::{Follower, RegistryTopic, RegistryTopicError, RegistryWriter};
pub use settings::{KafkaSettings, SaslMechanism, Security, SecurityProtocol};
pub use standstill::Standstill;
pub use tail::{Tail, TopicEnds};
pub use topics::Topics;
pub use transaction::{Fault, Offsets, TransactionalProducer};

/// The version of librdkafka.
#[must_use]
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
