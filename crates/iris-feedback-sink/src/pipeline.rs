//! The loop that moves feedback from the topic to the store.
//!
//! The store's offsets decide where reading goes on; Kafka is told of them only so that the lag can be seen. A store
//! that is out of reach, locked or full is tried again until it is not; meanwhile nothing is read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use iris_core::{PROVENANCE_HEADER, Schema};
use iris_kafka::startup::{Cluster, Need};
use iris_kafka::{Consumer, Offsets, RebalanceListener, Record, Start, pause};
use iris_service::{Part, RECORD_TARGET, Service, Work, supervise};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::NAME;
use crate::feedback::{Feedback, Source};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// The most rows of one database transaction: 13 values each, of the 32,766 that a statement of SQLite takes.
const BATCH_ROWS: usize = 1_000;

/// How long one wait for input lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// What a run has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows stored.
    pub stored: u64,
    /// From the first record to the last one stored.
    pub elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 {
            self.stored as f64 / seconds
        } else {
            0.0
        };
        write!(
            f,
            "{} feedback records stored in {seconds:.3} s, {rate:.0} records/s",
            self.stored
        )
    }
}

/// Stores feedback until the service is stopped.
///
/// # Errors
/// If the cluster cannot be used, or the topic is not the one that the store was filled from.
pub async fn run(settings: Settings, service: &Service) -> anyhow::Result<Summary> {
    let grace = settings.service.shutdown_grace();
    let sink = Sink {
        schema: settings.dataset.schema(),
        part: service.health.part("sink"),
        metrics: Metrics::register(service),
        stop: service.stop.clone(),
        runtime: Handle::current(),
        positions: Positions::default(),
        settings,
    };
    let work: Work<Summary> = Box::new(move || sink.work());
    let ended = supervise(vec![(NAME.to_owned(), work)], &service.stop, grace).await?;
    ended.into_iter().next().context("no work was done")
}

/// For each partition that was ever assigned, the store's offset of it.
type Positions = Arc<Mutex<Offsets>>;

#[derive(Clone)]
struct Sink {
    settings: Settings,
    schema: Schema,
    part: Arc<Part>,
    metrics: Metrics,
    stop: CancellationToken,
    runtime: Handle,
    positions: Positions,
}

/// Starts each partition at the store's offset.
struct AtTheStoresOffsets {
    sink: Sink,
    store: Store,
}

impl RebalanceListener for AtTheStoresOffsets {
    fn assigned(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let Some(stored) = self.sink.stored_offsets(&self.store) else {
            return Vec::new();
        };
        let known = |&partition: &i32| stored.get(&partition).map(|&offset| (partition, offset));
        let offsets: Vec<(i32, i64)> = partitions.iter().filter_map(known).collect();
        *self.sink.positions() = stored;
        // Where the store has nothing yet, reading starts at the beginning, whatever Kafka's offsets say.
        partitions
            .iter()
            .map(|&partition| {
                offsets
                    .iter()
                    .copied()
                    .find(|(p, _)| *p == partition)
                    .unwrap_or((partition, 0))
            })
            .collect()
    }
}

/// Rows on their way to the store, and how they move the offsets.
#[derive(Default)]
struct Batch {
    rows: Vec<Feedback>,
    next: Offsets,
}

impl Sink {
    fn positions(&self) -> std::sync::MutexGuard<'_, Offsets> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> anyhow::Result<Summary> {
        let topic = &self.settings.topics.feedback;
        let waiting = &mut |cause| self.part.report(Some(cause));
        let wait = self.settings.service.wait_for_broker;
        let mut summary = Summary::default();
        let Some(cluster) = Cluster::find(&self.settings.kafka, NAME, wait, &self.stop, waiting)?
        else {
            return Ok(summary);
        };
        cluster.require(Need {
            topic,
            operation: "read",
            partitions: 1,
        })?;
        let url = &self.settings.feedback_sink.store;
        let Some(store) = self.persist("open", || self.runtime.block_on(Store::open(url)))? else {
            return Ok(summary);
        };
        info!("storing {topic} in {}", crate::settings::hide_password(url));
        let start = Start {
            topic: topic.clone(),
            group_id: self.settings.feedback_sink.group_id.clone(),
            partitions: None,
        };
        let listener = AtTheStoresOffsets {
            sink: self.clone(),
            store: store.clone(),
        };
        let consumer =
            Consumer::start(&self.settings.kafka, NAME, start, Some(Box::new(listener)))?;
        let mut first = None;
        while !self.stop.is_cancelled() {
            let batch = self.read(&consumer)?;
            self.part.report(consumer.connection().problem());
            if batch.next.is_empty() {
                continue;
            }
            let started = *first.get_or_insert_with(Instant::now);
            if self.write(&consumer, &store, &batch)? {
                summary.stored += batch.rows.len() as u64;
                summary.elapsed = started.elapsed();
            }
        }
        self.part.finish();
        Ok(summary)
    }

    /// Reads what is there, at most a batch.
    fn read(&self, consumer: &Consumer) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        let mut timeout = POLL_TIMEOUT;
        while batch.rows.len() < BATCH_ROWS {
            let Some(record) = consumer.poll(timeout)? else {
                break;
            };
            timeout = Duration::ZERO;
            self.check_place(&record)?;
            batch.rows.push(self.row(&record));
            batch.next.insert(record.partition(), record.offset() + 1);
        }
        Ok(batch)
    }

    fn row(&self, record: &Record<'_>) -> Feedback {
        let source = Source {
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset(),
            created_ms: record.timestamp(),
            provenance: record.header(PROVENANCE_HEADER),
        };
        Feedback::read(&self.schema, source, record.value())
    }

    /// Refuses a record that the store must have already: then the topic is not the one that the store was filled from.
    fn check_place(&self, record: &Record<'_>) -> anyhow::Result<()> {
        let (partition, offset) = (record.partition(), record.offset());
        match self.positions().get(&partition) {
            Some(&next) if offset < next => bail!(
                "the store has read partition {partition} of topic `{}` up to offset {next}, but the topic starts anew at \
                 {offset}: it was deleted and created again; name another store with --store",
                record.topic()
            ),
            _ => Ok(()),
        }
    }

    /// Stores a batch, for as long as it takes. Returns whether it did: not after a stop, nor if another sink has.
    fn write(&self, consumer: &Consumer, store: &Store, batch: &Batch) -> anyhow::Result<bool> {
        let topic = &self.settings.topics.feedback;
        let before = self.positions().clone();
        let stored = self.persist("append", || {
            match self
                .runtime
                .block_on(store.append(topic, &batch.rows, &before, &batch.next))
            {
                Err(StoreError::Conflict { partition }) => Ok(Err(partition)),
                other => other.map(Ok),
            }
        })?;
        match stored {
            None => Ok(false),
            Some(Err(partition)) => {
                warn!(
                    "another sink has stored records of partition {partition}: going on where it stopped"
                );
                if let Some(offsets) = self.stored_offsets(store) {
                    consumer.restart_at(&offsets)?;
                    *self.positions() = offsets;
                }
                Ok(false)
            }
            Some(Ok(())) => {
                for row in &batch.rows {
                    info!(
                        target: RECORD_TARGET, partition = row.source_partition, offset = row.source_offset,
                        value = row.value, "Stored: {}", row.value
                    );
                }
                self.metrics.stored(batch.rows.len());
                consumer.commit_in_background(
                    batch
                        .next
                        .iter()
                        .map(|(&partition, &offset)| (partition, offset)),
                );
                self.positions().extend(&batch.next);
                Ok(true)
            }
        }
    }

    fn stored_offsets(&self, store: &Store) -> Option<Offsets> {
        let topic = &self.settings.topics.feedback;
        self.persist("read_offsets", || {
            self.runtime.block_on(store.offsets(topic))
        })
        .ok()
        .flatten()
    }

    /// Calls the store until it succeeds; `None` after a stop. Not ready meanwhile.
    ///
    /// # Errors
    /// If trying again cannot help: the schema was made by something else.
    fn persist<T>(
        &self,
        operation: &'static str,
        mut call: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .build();
        loop {
            let started = Instant::now();
            let result = call();
            self.metrics
                .operation(operation, result.is_ok(), started.elapsed());
            let error = match result {
                Ok(value) => return Ok(Some(value)),
                Err(error @ StoreError::Migrate { .. }) => return Err(error),
                Err(error) => error,
            };
            let cause = format!("{:#}", anyhow::Error::new(error));
            let delay = delays.next().unwrap_or_default();
            warn!("{cause}; trying again in {} ms", delay.as_millis());
            self.part.report(Some(cause));
            if !pause(delay, &self.stop) {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_count_time_and_rate() {
        let summary = Summary {
            stored: 4,
            elapsed: Duration::from_secs(2),
        };
        assert_eq!(
            summary.to_string(),
            "4 feedback records stored in 2.000 s, 2 records/s"
        );
        assert_eq!(
            Summary::default().to_string(),
            "0 feedback records stored in 0.000 s, 0 records/s"
        );
    }
}
