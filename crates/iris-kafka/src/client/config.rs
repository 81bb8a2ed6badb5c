//! The librdkafka settings of every client that this crate creates, each with its reason.
//!
//! A setting that is not listed has librdkafka's default. Settings that the user passes through are applied last, so they
//! take precedence. Those that the guarantees depend on are refused when the settings are read.

use std::path::PathBuf;

use iris_core::InvalidSetting;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use secrecy::ExposeSecret as _;

use crate::client::credentials::{Credentials, KEY_PASSWORD, system_authorities};
use crate::client::settings::KafkaSettings;

/// The client id of a client that reads without a consumer group, unless the settings name another.
const READER_NAME: &str = "iris-reader";

/// How often a client reports statistics, in milliseconds; [`ClientHealth`](crate::ClientHealth) is derived from them. Reports wait
/// in memory until the client is polled, so a client that may be idle without being polled has none.
const STATISTICS_INTERVAL_MS: &str = "1000";

/// How long a broker keeps a transaction open before it aborts it, in milliseconds. Records that are not delivered by
/// then have expired, too.
const TRANSACTION_TIMEOUT_MS: u32 = 15_000;

/// The largest record that a transactional producer accepts, in bytes before compression. The topic's own limit applies to
/// the compressed batch; the broker enforces it.
const MAX_TRANSACTIONAL_RECORD_BYTES: &str = "268435456";

/// The client's queue of unacknowledged records.
const MAX_QUEUED_RECORDS: &str = "500000";
const MAX_QUEUED_KBYTES: &str = "65536";

/// The librdkafka settings that name authorities.
const PASSED_AUTHORITIES: [&str; 2] = ["ssl.ca.location", "ssl.ca.pem"];

/// Returns the settings that every client of a service shares, without those that the user passes through.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
fn shared(settings: &KafkaSettings, service: &str) -> Result<ClientConfig, InvalidSetting> {
    let mut config = ClientConfig::new();
    let client_id = if settings.client_id.is_empty() {
        service
    } else {
        &settings.client_id
    };
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", client_id)
        // A broker that has just restarted may not know the others yet. librdkafka then forgets them until its next metadata
        // request, by default after 5 min.
        .set("topic.metadata.refresh.interval.ms", "5000")
        // `ClientHealth` logs a lost connection once for each client, not once per connection.
        .set("log.connection.close", "false")
        // A broker that comes back is used again within 2 s; by default within 10 s.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        // Requests are sent at once rather than collected.
        .set("socket.nagle.disable", "true")
        .set_log_level(RDKafkaLogLevel::Warning);
    secure(settings, &mut config)?;
    Ok(config)
}

/// Adds encryption and authentication.
fn secure(settings: &KafkaSettings, config: &mut ClientConfig) -> Result<(), InvalidSetting> {
    let security = &settings.security;
    let credentials = Credentials::read(settings)?;
    config.set("security.protocol", security.protocol.name());
    if security.protocol.authenticates() {
        config
            .set("sasl.mechanism", security.sasl_mechanism.name())
            .set("sasl.username", &security.username);
        if let Some(password) = credentials.password {
            config.set("sasl.password", password.expose_secret());
        }
    }
    if let Some(password) = credentials.key_password {
        config.set(KEY_PASSWORD, password.expose_secret());
    }
    let files = [
        ("ssl.ca.location", &authorities(settings)?),
        ("ssl.certificate.location", &security.certificate),
        ("ssl.key.location", &security.key),
    ];
    for (name, file) in files {
        if let Some(file) = file {
            config.set(name, file.to_string_lossy());
        }
    }
    Ok(())
}

/// Returns the authorities to trust: those of the settings or else of the system. `None` if the protocol needs none, or if the
/// user passes them through.
///
/// # Errors
/// [`InvalidSetting`] if the system has none.
pub fn authorities(settings: &KafkaSettings) -> Result<Option<PathBuf>, InvalidSetting> {
    let security = &settings.security;
    let is_passed_through = PASSED_AUTHORITIES
        .iter()
        .any(|name| settings.librdkafka.contains_key(*name));
    if !security.protocol.encrypts() || is_passed_through {
        return Ok(None);
    }
    if security.ca.is_some() {
        return Ok(security.ca.clone());
    }
    match system_authorities() {
        Some(path) => Ok(Some(path)),
        None => Err(InvalidSetting::new(
            "security.ca",
            "is unset, and this system has no certificate authorities: install its package ca-certificates, or set \
             `security.ca` to a file of those that have signed the brokers' certificates",
        )),
    }
}

/// Adds the settings that the user passes through to librdkafka.
fn passed_through(mut config: ClientConfig, settings: &KafkaSettings) -> ClientConfig {
    for (name, value) in &settings.librdkafka {
        config.set(name, value);
    }
    config
}

/// Returns the settings of a client that describes, creates or deletes topics.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn admin(
    settings: &KafkaSettings,
    service: &str,
) -> Result<ClientConfig, InvalidSetting> {
    Ok(passed_through(shared(settings, service)?, settings))
}

/// The time until a member that does not report is replaced, in milliseconds.
const SESSION_TIMEOUT_MS: &str = "10000";

/// The same of a static member: longer than a restart takes, also if its container is moved to another machine.
const STATIC_SESSION_TIMEOUT_MS: &str = "30000";

/// Returns the settings of a consumer in a group: one that never commits by itself. With an instance it is a static member.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn group_consumer(
    settings: &KafkaSettings,
    service: &str,
    group_id: &str,
    instance: Option<&str>,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = shared(settings, service)?;
    if let Some(instance) = instance {
        config.set("group.instance.id", instance);
    }
    // In the new protocol, these are settings of the brokers.
    if !settings.uses_new_group_protocol() {
        let session_timeout = instance.map_or(SESSION_TIMEOUT_MS, |_| STATIC_SESSION_TIMEOUT_MS);
        config
            // Partitions that stay with a member are read on during a rebalance.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_timeout)
            // The time until the other members learn that one has joined or left.
            .set("heartbeat.interval.ms", "500");
    }
    config
        .set("group.id", group_id)
        // A partition without a committed offset is read from its beginning.
        .set("auto.offset.reset", "earliest")
        // Offsets are committed in the transaction of the outcomes, or with the rows of a database.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        // The amount of records that is fetched ahead; it limits the memory that a backlog takes.
        .set("queued.max.messages.kbytes", "16384")
        .set("queued.min.messages", "100000")
        // Of each partition per request. Small responses arrive while the previous ones are processed; with the default of
        // 1 MiB, compressed, the queue alternates between empty and many times too full.
        .set("fetch.message.max.bytes", "262144")
        // With the default of 1 s, a consumer that has filled its queue pauses fetching for 1 s.
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    Ok(passed_through(config, settings))
}

/// Adds the settings that give a producer of many small records its throughput.
fn batched(config: &mut ClientConfig) {
    config
        .set("compression.type", "lz4")
        // How long a batch waits to fill while input keeps arriving; a commit does not wait for it.
        .set("linger.ms", "30")
        // How long a transaction waits while the coordinator still writes the end of the previous one.
        .set("retry.backoff.ms", "2")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", MAX_QUEUED_RECORDS)
        .set("queue.buffering.max.kbytes", MAX_QUEUED_KBYTES)
        .set("message.max.bytes", MAX_TRANSACTIONAL_RECORD_BYTES)
        // A commit reports that all records were delivered, so a report for each record is not needed.
        .set("delivery.report.only.error", "true");
}

/// Returns the settings of a producer that writes in transactions. A transactional id makes it idempotent.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn transactional_producer(
    settings: &KafkaSettings,
    service: &str,
    transactional_id: &str,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = shared(settings, service)?;
    // librdkafka refuses records that may be sent for longer than their transaction may be open.
    let chosen = settings.librdkafka.get("transaction.timeout.ms");
    let chosen = chosen.and_then(|chosen| chosen.parse().ok());
    let record_timeout: u32 = TRANSACTION_TIMEOUT_MS.min(chosen.unwrap_or(u32::MAX));
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string())
        .set("message.timeout.ms", record_timeout.to_string());
    batched(&mut config);
    Ok(passed_through(config, settings))
}

/// Returns the settings of a benchmark's producer: as a transactional one, but without transactions.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
#[cfg(feature = "limits")]
pub(crate) fn benchmark_producer(
    settings: &KafkaSettings,
    service: &str,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = shared(settings, service)?;
    batched(&mut config);
    config.set("enable.idempotence", "true");
    Ok(passed_through(config, settings))
}

/// Returns the settings of an idempotent producer without transactions.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn producer(
    settings: &KafkaSettings,
    service: &str,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = shared(settings, service)?;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // The hash that Java clients use, so that a key is assigned to the same partition by every client.
        .set("partitioner", "murmur2_random")
        // A record is retried without a time limit.
        .set("message.timeout.ms", "0")
        .set("compression.type", "lz4")
        // Enough to fill batches; 0 would send one request per record.
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", MAX_QUEUED_RECORDS)
        .set("queue.buffering.max.kbytes", MAX_QUEUED_KBYTES)
        // The brokers' default limit.
        .set("message.max.bytes", "1048576")
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    Ok(passed_through(config, settings))
}

/// The purpose of reading a topic without a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// To the end of the topic, then closed.
    ToEnd,
    /// Indefinitely, reporting each end on the way and the client's health.
    Tailing,
    /// Indefinitely, with few records to expect.
    Waiting,
}

impl ReadMode {
    /// How long a broker may hold a fetch that finds no records, in milliseconds. The end of a partition is reported when
    /// such a fetch returns.
    fn fetch_wait_ms(self) -> &'static str {
        match self {
            Self::ToEnd => "20",
            Self::Tailing => "100",
            Self::Waiting => "500",
        }
    }

    /// How often the client reports statistics, in milliseconds; 0 for never.
    fn statistics_interval_ms(self) -> &'static str {
        match self {
            Self::ToEnd | Self::Waiting => "0",
            Self::Tailing => STATISTICS_INTERVAL_MS,
        }
    }
}

/// Which records a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Those of committed transactions, up to the first transaction that is still open.
    Committed,
    /// All records.
    Uncommitted,
}

impl Isolation {
    fn level(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// Returns the settings of a client outside any group. librdkafka requires a group id for the calls that it makes; nothing
/// is ever committed under this one.
fn groupless(settings: &KafkaSettings) -> Result<ClientConfig, InvalidSetting> {
    let mut config = shared(settings, READER_NAME)?;
    config
        .set("group.id", settings.prefixed(READER_NAME))
        .set("enable.auto.commit", "false");
    Ok(config)
}

/// Returns the settings of a client that reads a topic's committed records.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn topic_reader(
    settings: &KafkaSettings,
    mode: ReadMode,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = groupless(settings)?;
    config
        .set("enable.partition.eof", "true")
        // Where an offset has been deleted, reading continues at the next one that exists.
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        // With the default of 1 s, a client that has filled its queue pauses fetching for 1 s.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", mode.fetch_wait_ms())
        .set("statistics.interval.ms", mode.statistics_interval_ms());
    Ok(passed_through(config, settings))
}

/// Returns the settings of a client that reads a topic's newest committed records from time to time.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn newest_records(settings: &KafkaSettings) -> Result<ClientConfig, InvalidSetting> {
    let mut config = groupless(settings)?;
    config
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        // A broker always returns at least one batch.
        .set("fetch.message.max.bytes", "65536")
        // Only the records that exist are wanted, and the next read must not wait for the client's pause between fetches.
        .set("queued.min.messages", "1")
        .set("fetch.queue.backoff.ms", "5");
    Ok(passed_through(config, settings))
}

/// Returns the settings of a client that asks for the end offsets of partitions.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn end_offsets(
    settings: &KafkaSettings,
    isolation: Isolation,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = groupless(settings)?;
    config.set("isolation.level", isolation.level());
    Ok(passed_through(config, settings))
}

/// Returns the settings of a client that asks for offsets by time.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn offsets_at(settings: &KafkaSettings) -> Result<ClientConfig, InvalidSetting> {
    Ok(passed_through(groupless(settings)?, settings))
}

/// Returns the settings of a client that asks for a group's committed offsets without joining the group. With
/// [`Isolation::Committed`] it waits for open transactions that may change them.
///
/// # Errors
/// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
pub(crate) fn group_offsets(
    settings: &KafkaSettings,
    group_id: &str,
    isolation: Isolation,
) -> Result<ClientConfig, InvalidSetting> {
    let mut config = groupless(settings)?;
    config
        .set("group.id", group_id)
        .set("isolation.level", isolation.level())
        // How long to wait while an open transaction may change the offsets.
        .set("retry.backoff.ms", "2");
    Ok(passed_through(config, settings))
}

#[cfg(test)]
mod tests {
    use rdkafka::producer::BaseProducer;

    use super::*;

    #[test]
    fn settings_that_are_passed_through_take_precedence() {
        let mut settings = KafkaSettings::default();
        let passed = ("linger.ms".to_owned(), "1".to_owned());
        settings.librdkafka.extend([passed]);
        let linger = |config: Result<ClientConfig, InvalidSetting>| {
            config.unwrap().get("linger.ms").map(str::to_owned)
        };
        assert_eq!(linger(producer(&settings, "test")).as_deref(), Some("1"));
        assert_eq!(
            linger(transactional_producer(&settings, "test", "id")).as_deref(),
            Some("1")
        );
    }

    #[test]
    fn every_client_reads_committed_records_only_unless_it_asks_for_all() {
        let settings = KafkaSettings::default();
        let committed = [
            group_consumer(&settings, "test", "group", None),
            topic_reader(&settings, ReadMode::ToEnd),
            newest_records(&settings),
            end_offsets(&settings, Isolation::Committed),
            group_offsets(&settings, "group", Isolation::Committed),
        ];
        for config in committed {
            assert_eq!(
                config.unwrap().get("isolation.level"),
                Some("read_committed")
            );
        }
        let all = end_offsets(&settings, Isolation::Uncommitted).unwrap();
        assert_eq!(all.get("isolation.level"), Some("read_uncommitted"));
    }

    #[test]
    fn a_static_member_may_be_away_for_longer_than_a_restart_takes() {
        let settings = KafkaSettings::default();
        for (instance, timeout) in [(None, "10000"), (Some("pod-0"), "30000")] {
            let config = group_consumer(&settings, "test", "group", instance).unwrap();
            assert_eq!(config.get("group.instance.id"), instance);
            assert_eq!(config.get("session.timeout.ms"), Some(timeout));
        }
    }

    #[test]
    fn a_transaction_may_be_shorter_than_by_default() {
        for (chosen, wanted) in [("6000", "6000"), ("600000", "15000")] {
            let settings = KafkaSettings {
                librdkafka: [("transaction.timeout.ms".to_owned(), chosen.to_owned())].into(),
                ..KafkaSettings::default()
            };
            let config = transactional_producer(&settings, "test", "id").unwrap();
            assert_eq!(config.get("transaction.timeout.ms"), Some(chosen));
            assert_eq!(config.get("message.timeout.ms"), Some(wanted));
            let created: Result<BaseProducer, _> = config.create();
            assert!(created.is_ok(), "{chosen}");
        }
    }

    #[test]
    fn a_reader_reports_an_end_sooner_the_less_it_expects_to_wait() {
        let settings = KafkaSettings::default();
        for (mode, wait, statistics) in [
            (ReadMode::ToEnd, "20", "0"),
            (ReadMode::Tailing, "100", "1000"),
            (ReadMode::Waiting, "500", "0"),
        ] {
            let config = topic_reader(&settings, mode).unwrap();
            assert_eq!(config.get("fetch.wait.max.ms"), Some(wait));
            assert_eq!(config.get("statistics.interval.ms"), Some(statistics));
        }
    }
}
