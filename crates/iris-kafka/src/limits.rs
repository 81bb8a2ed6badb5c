//! The most that the client library can do on a machine: only reading, only writing, and both, with the services' settings
//! but without their guarantees.
//!
//! For comparison in benchmarks only. Nothing here recovers from an error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::BaseProducer;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::config;
use crate::client::settings::KafkaSettings;
use crate::headers::Headers;
use crate::offsets::{PartitionOffset, Positions};
use crate::record::OutgoingRecord;
use crate::sys::flush::flush;

/// How long one wait lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a flush may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Records between two reads of the clock and of the other workers' count.
const STRIDE: u64 = 256;

/// Why a limit cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Settings(#[from] iris_core::InvalidSetting),
    /// The client or the cluster refuses a request.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// The time from the first record to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When the first record was available.
    pub first: Instant,
    /// When the last one was finished.
    pub last: Instant,
}

/// Input that workers share until all of it has been read.
#[derive(Debug)]
pub struct Backlog<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The consumer group whose members the workers are.
    pub group_id: &'a str,
    /// The records in the topic.
    pub records: u64,
    /// The records that all workers have read so far.
    pub read: AtomicU64,
}

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its partition.
    pub partition: i32,
    /// When it was created or appended, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// An idempotent producer without transactions.
pub struct Unguarded {
    client: BaseProducer,
}

impl std::fmt::Debug for Unguarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unguarded").finish_non_exhaustive()
    }
}

impl Unguarded {
    fn new(settings: &KafkaSettings, service: &str) -> Result<Self, LimitError> {
        Ok(Self {
            client: config::benchmark_producer(settings, service)?.create()?,
        })
    }

    /// Appends a record, waiting while the client's queue is full.
    ///
    /// # Errors
    /// The client's error if it refuses the record.
    pub fn send(&self, record: OutgoingRecord<'_>) -> Result<(), KafkaError> {
        let mut record = record.into_base_record(());
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    self.client.poll(Duration::from_millis(1));
                    record = refused;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Waits until every record is acknowledged.
    fn flush(&self) -> Result<(), KafkaError> {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        while !flush(&self.client) {
            if Instant::now() >= deadline {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
        }
        Ok(())
    }
}

fn reader(
    settings: &KafkaSettings,
    service: &str,
    backlog: &Backlog<'_>,
) -> Result<BaseConsumer, LimitError> {
    let config = config::group_consumer(settings, service, backlog.group_id, None)?;
    let client: BaseConsumer = config.create()?;
    client.subscribe(&[backlog.topic])?;
    Ok(client)
}

/// Reads, calls `each` for each record, and `pause` from time to time and at the end.
fn read(
    client: &BaseConsumer,
    backlog: &Backlog<'_>,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), KafkaError>,
    mut pause: impl FnMut(bool) -> Result<(), KafkaError>,
) -> Result<Option<Span>, LimitError> {
    let mut span: Option<Span> = None;
    let mut count = 0;
    while backlog.read.load(Ordering::Relaxed) < backlog.records {
        match client.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                let first = span.map_or_else(Instant::now, |span| span.first);
                each(&message)?;
                count += 1;
                if count < STRIDE && span.is_some() {
                    continue;
                }
                span = Some(Span {
                    first,
                    last: Instant::now(),
                });
                pause(false)?;
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        let before = backlog.read.fetch_add(count, Ordering::Relaxed);
        if count > 0 && before + count >= backlog.records {
            break;
        }
        count = 0;
    }
    pause(true)?;
    if let Some(span) = &mut span {
        span.last = Instant::now();
    }
    Ok(span)
}

/// Reads records and drops them.
///
/// # Errors
/// [`LimitError`] if something fails.
pub fn consume(
    settings: &KafkaSettings,
    service: &str,
    backlog: &Backlog<'_>,
) -> Result<Option<Span>, LimitError> {
    let client = reader(settings, service, backlog)?;
    read(&client, backlog, |_| Ok(()), |_| Ok(()))
}

/// Reads records and calls `each` with each of them and a producer. With a commit interval, the offsets are committed in that
/// interval, after the written records are acknowledged: at least once.
///
/// # Errors
/// [`LimitError`] if something fails.
pub fn consume_and_produce(
    settings: &KafkaSettings,
    service: &str,
    backlog: &Backlog<'_>,
    commit_interval: Option<Duration>,
    mut each: impl FnMut(Input<'_>, &Unguarded) -> Result<(), KafkaError>,
) -> Result<Option<Span>, LimitError> {
    let client = reader(settings, service, backlog)?;
    let output = Unguarded::new(settings, service)?;
    let offsets = std::cell::RefCell::new(Positions::new());
    let mut committed = Instant::now();
    read(
        &client,
        backlog,
        |message| {
            let input = Input {
                partition: message.partition(),
                timestamp: message.timestamp().to_millis(),
                key: message.key(),
                value: message.payload(),
            };
            each(input, &output)?;
            let record = PartitionOffset::new(message.partition(), message.offset());
            offsets.borrow_mut().advance(record);
            Ok(())
        },
        |is_end| {
            output.client.poll(Duration::ZERO);
            let is_due = commit_interval.is_some_and(|interval| committed.elapsed() >= interval);
            if is_end || is_due {
                output.flush()?;
            }
            if is_due || (is_end && commit_interval.is_some()) {
                let mut list = TopicPartitionList::new();
                for (partition, offset) in offsets.borrow().iter() {
                    list.add_partition_offset(backlog.topic, partition, Offset::Offset(offset))?;
                }
                client.commit(&list, CommitMode::Async)?;
                committed = Instant::now();
            }
            Ok(())
        },
    )
}

/// Writes `records` records, each with `headers`, and with the values and the partitions in rotation.
///
/// # Errors
/// [`LimitError`] if something fails.
pub fn produce(
    settings: &KafkaSettings,
    service: &str,
    topic: &str,
    partitions: i32,
    values: &[Vec<u8>],
    headers: &Headers,
    records: u64,
) -> Result<Span, LimitError> {
    let output = Unguarded::new(settings, service)?;
    let first = Instant::now();
    let turns = values.iter().cycle().zip((0..partitions).cycle());
    for (n, (value, partition)) in (0..records).zip(turns) {
        if n.is_multiple_of(STRIDE) {
            output.client.poll(Duration::ZERO);
        }
        output.send(OutgoingRecord {
            topic,
            partition: Some(partition),
            timestamp: None,
            key: None,
            value: Some(value),
            headers: headers.clone(),
        })?;
    }
    output.flush()?;
    Ok(Span {
        first,
        last: Instant::now(),
    })
}
