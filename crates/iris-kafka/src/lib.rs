//! The pipeline's view of Kafka, and the only crate that names rdkafka.
//!
//! [`Consumer`] hands out [`Record`]s, [`TransactionalProducer`] and [`exactly_once::Worker`] make outputs and input
//! offsets one transaction, [`Producer`] sends without a transaction and counts what was delivered, [`Admin`] creates
//! and describes topics, and [`startup`] is what every service does before its first record. Client settings that
//! matter for throughput, latency or the guarantees are set here and nowhere else.
//!
//! Deliberately absent: what a record means (iris-core) and where settings come from (iris-service).

mod admin;
mod client;
mod clock;
mod consume;
mod dead_letter;
pub mod defence;
pub mod exactly_once;
#[cfg(feature = "limits")]
pub mod limits;
mod pause;
mod produce;
mod read;
mod record;
mod registry;
mod sys;
mod topics;

pub use admin::startup;
pub use admin::topics::{
    Admin, AdminError, PartitionDescription, TopicDescription, TopicOutcome, TopicSpec,
};
pub use client::health::ClientHealth;
pub use client::settings::{KafkaSettings, SaslMechanism, Security, SecurityProtocol};
pub use clock::now_ms;
pub use consume::consumer::{ConsumeError, Consumer, RebalanceListener, Revocation, Start};
pub use consume::lag::LagMetrics;
pub use consume::stalled::StalledPartition;
pub use dead_letter::{DeadLetter, Origin};
pub use exactly_once::transaction::{Fault, Offsets, TransactionalProducer};
pub use pause::pause;
pub use produce::producer::{Delivery, DeliveryListener, ProduceError, Producer};
pub use read::reader::{
    GroupOffsets, Read, ReadError, StoredRecord, TopicReader, end_offsets, is_settled, offsets_at,
    read_to_end,
};
pub use read::tail::{Tail, TopicEnds};
pub use record::{Headers, OutgoingRecord, Record};
pub use registry::{Follower, RegistryTopic, RegistryTopicError, RegistryWriter};
pub use topics::Topics;

/// The version of librdkafka.
#[must_use]
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
