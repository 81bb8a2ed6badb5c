//! The pipeline's view of Kafka, and the only crate that depends on rdkafka.
//!
//! - [`Consumer`] reads [`Record`]s as a member of a consumer group; [`TopicReader`] and its neighbours read without one.
//! - [`exactly_once::Worker`] consumes, processes and produces in one transaction; [`TransactionalProducer`] is the producer
//!   below it.
//! - [`Producer`] sends without a transaction, with a delivery report for each record.
//! - [`Admin`] creates and describes topics; [`startup`] runs before a service's first record.
//!
//! All client settings that affect throughput, latency or the guarantees are set in this crate.
//!
//! Deliberately absent: the meaning of a record, and the sources of settings.

mod admin;
mod change;
mod client;
mod clock;
mod consume;
pub mod defence;
pub mod exactly_once;
mod headers;
#[cfg(feature = "limits")]
pub mod limits;
mod offsets;
mod pause;
mod problem;
mod produce;
mod read;
mod record;
mod rights;
mod sys;

pub use admin::error::AdminError;
pub use admin::startup;
pub use admin::topic::{PartitionDescription, TopicDescription, TopicOutcome, TopicSpec};
pub use admin::topics::Admin;
pub use change::identity::{TopicId, TopicState, is_recreated};
pub use client::config::authorities as trusted_authorities;
pub use client::credentials::{Credentials, Identity};
pub use client::expiry::CertificateExpiry;
pub use client::health::ClientHealth;
pub use client::settings::{KafkaSettings, SaslMechanism, Security, SecurityProtocol};
pub use clock::now_ms;
pub use consume::consumer::{Consumer, Start};
pub use consume::error::ConsumeError;
pub use consume::lag::LagMetrics;
pub use consume::rebalance::{RebalanceListener, Revocation};
pub use consume::stalled::StalledPartition;
pub use exactly_once::fault::{Fault, Refusal, RefusedKind};
pub use exactly_once::producer::TransactionalProducer;
pub use headers::{HeaderView, Headers};
pub use offsets::{PartitionOffset, Positions, TopicPartition, next_offset};
pub use pause::{Backoff, pause};
pub use produce::producer::{Delivery, DeliveryListener, ProduceError, Producer};
pub use read::ends::{TopicEnds, end_offsets, is_settled, offsets_at};
pub use read::error::{ReadError, TopicChange};
pub use read::group_offsets::GroupOffsets;
pub use read::newest::NewestRecord;
pub use read::progress::ReadProgress;
pub use read::reader::{Read, TopicReader};
pub use read::source::SourceTopic;
pub use read::stored::StoredRecord;
pub use read::tail::Tail;
pub use read::to_end::read_to_end;
pub use read::watcher::TopicWatcher;
pub use record::{InputRecord, OutgoingRecord, Record};
pub use rights::{Denied, MissingRights, Rights};

/// Returns the version of librdkafka.
#[must_use]
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
