//! The loop that moves feedback from the topic to the store.
//!
//! The store's offsets decide where reading goes on; Kafka is told of them only so that the lag can be seen. A store
//! that is out of reach, locked or full is tried again until it is not; meanwhile nothing is read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use backon::{BackoffBuilder, ExponentialBuilder};
use iris_core::{PROVENANCE_HEADER, Schema};
use iris_kafka::defence::Defence;
use iris_kafka::startup::{Cluster, Need};
use iris_kafka::{Consumer, Offsets, RebalanceListener, Record, Start, now_ms, pause};
use iris_service::{
    Part, RECORD_TARGET, Service, Span, Spans, TRACEPARENT_HEADER, Work, supervise,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::NAME;
use crate::feedback::{Feedback, Source};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// Rows of one database transaction, give or take what was read at once: 13 values each, of the 32,766 that a statement
/// of SQLite takes.
const BATCH_ROWS: usize = 1_000;

/// How long one wait for input lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the store may take to answer. Short enough that a stalled sink says why within 15 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

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
        spans: service.spans.clone(),
        runtime: Handle::current(),
        positions: Positions::default(),
        settings,
    };
    let work: Work<Summary> = Box::new(move || sink.work());
    let ended = supervise(vec![(NAME.to_owned(), work)], service, grace).await?;
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
    spans: Spans,
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
        if !Defence::StoreOffsets.is_on() {
            return Vec::new();
        }
        let Some(stored) = self.sink.stored_offsets(&self.store) else {
            return Vec::new();
        };
        let starts = starts(partitions, &stored);
        *self.sink.positions() = stored;
        starts
    }
}

/// Where reading assigned partitions begins. Where the store has nothing yet, that is the beginning, whatever Kafka's offsets
/// say.
fn starts(partitions: &[i32], stored: &Offsets) -> Vec<(i32, i64)> {
    let start = |&partition| (partition, stored.get(&partition).copied().unwrap_or(0));
    partitions.iter().map(start).collect()
}

/// Rows on their way to the store, and how they move the offsets.
#[derive(Default)]
struct Batch {
    rows: Vec<Feedback>,
    /// Those of records that are traced.
    spans: Vec<Span>,
    next: Offsets,
}

/// What a record is to a batch and to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Novelty {
    /// The store has it, or something else in its place.
    Stored,
    /// The batch has it.
    InBatch,
    /// It is yet to be stored.
    New,
}

impl Batch {
    /// What the record at a place is, with the store's offsets in `positions`.
    fn novelty(&self, positions: &Offsets, partition: i32, offset: i64) -> Novelty {
        let is_before = |next: Option<&i64>| next.is_some_and(|&next| offset < next);
        if is_before(positions.get(&partition)) {
            Novelty::Stored
        } else if is_before(self.next.get(&partition)) {
            Novelty::InBatch
        } else {
            Novelty::New
        }
    }

    fn add(&mut self, row: Feedback, span: Option<Span>, partition: i32, offset: i64) {
        self.rows.push(row);
        self.spans.extend(span);
        self.next.insert(partition, offset + 1);
    }
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
        let Some(store) = self.persist("open", async || Store::open(url.expose()).await)? else {
            return Ok(summary);
        };
        info!("storing {topic} in {url}");
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
        let group = &self.settings.feedback_sink.group_id;
        self.metrics.lag.watch(group, topic, consumer.client_health());
        let mut first = None;
        while !self.stop.is_cancelled() {
            let batch = self.read(&consumer, &store)?;
            if batch.next.is_empty() {
                let stalled = consumer.stalled_partition();
                let problem = stalled.map(|found| found.to_string());
                self.part
                    .report(consumer.client_health().problem().or(problem));
                if let Some(stalled) = stalled
                    && stalled.should_restart
                {
                    warn!("{stalled}: reading anew from the store's offsets");
                    consumer.restart_at(&self.positions())?;
                }
                continue;
            }
            self.part.report(consumer.client_health().problem());
            let started = *first.get_or_insert_with(Instant::now);
            if self.write(&consumer, &store, &batch)? {
                summary.stored += batch.rows.len() as u64;
                summary.elapsed = started.elapsed();
                batch.spans.into_iter().for_each(Span::end);
            } else {
                let fail = |span: Span| span.fail("not stored by this sink");
                batch.spans.into_iter().for_each(fail);
            }
        }
        self.part.finish();
        Ok(summary)
    }

    /// Reads what is there, until there is a batch.
    fn read(&self, consumer: &Consumer, store: &Store) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        let mut timeout = POLL_TIMEOUT;
        while batch.rows.len() < BATCH_ROWS {
            let records = consumer.read(timeout)?;
            if records.is_empty() {
                break;
            }
            timeout = Duration::ZERO;
            for record in records {
                let (partition, offset) = (record.partition(), record.offset());
                let row = self.row(&record);
                let novelty = batch.novelty(&self.positions(), partition, offset);
                match novelty {
                    Novelty::Stored => self.check_same(store, &row)?,
                    Novelty::InBatch => {}
                    Novelty::New => {
                        let traceparent = record.header(TRACEPARENT_HEADER);
                        let span =
                            self.spans
                                .follow(traceparent, record.topic(), partition, offset);
                        batch.add(row, span, partition, offset);
                    }
                }
            }
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

    /// Passes over a record that the client hands out again, but refuses one that only has the place of the one that is
    /// stored: then the topic is not the one that the store was filled from.
    fn check_same(&self, store: &Store, row: &Feedback) -> anyhow::Result<()> {
        let (topic, partition, offset) =
            (&row.source_topic, row.source_partition, row.source_offset);
        let stored = self.persist("read_row", async || {
            store.row(topic, partition, offset).await
        })?;
        // Without an answer the service is stopping.
        stored.map_or(Ok(()), |stored| require_same(stored.as_ref(), row))
    }

    /// Stores a batch, for as long as it takes. Returns whether it did: not after a stop, nor if another sink has.
    fn write(&self, consumer: &Consumer, store: &Store, batch: &Batch) -> anyhow::Result<bool> {
        let topic = &self.settings.topics.feedback;
        let before = self.positions().clone();
        let after = if Defence::StoreOffsets.is_on() {
            &batch.next
        } else {
            &Offsets::new()
        };
        let stored = self.persist("append", async || {
            match store.append(topic, &batch.rows, &before, after).await {
                Err(StoreError::Conflict { partition }) => Ok(Err(partition)),
                other => other.map(Ok),
            }
        })?;
        match stored {
            None => Ok(false),
            Some(Err(partition)) => {
                warn!(
                    "records of partition {partition} were stored meanwhile, by another sink or in a call whose answer was lost: going \
                     on where the store is"
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
                self.metrics.stored(&batch.rows, now_ms());
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
        self.persist("read_offsets", async || store.offsets(topic).await)
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
        mut call: impl AsyncFnMut() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .build();
        loop {
            let started = Instant::now();
            let answer = async { tokio::time::timeout(ANSWER_TIMEOUT, call()).await };
            let result = self
                .runtime
                .block_on(answer)
                .unwrap_or(Err(StoreError::NoAnswer { operation }));
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

/// Checks that the store has this very row in its place.
fn require_same(stored: Option<&Feedback>, row: &Feedback) -> anyhow::Result<()> {
    ensure!(
        stored == Some(row),
        "the store has read partition {} of topic `{}` beyond offset {}, but the topic has something else there: it was \
         deleted and created again; name another store with --store",
        row.source_partition,
        row.source_topic,
        row.source_offset
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(partition: i32, offset: i64) -> Feedback {
        Feedback {
            source_topic: "feedback".to_owned(),
            source_partition: partition.into(),
            source_offset: offset,
            ..Feedback::default()
        }
    }

    #[test]
    fn each_assigned_partition_begins_at_the_stores_offset_or_at_the_beginning() {
        let stored = [(0, 7), (2, 9)].into();
        assert_eq!(starts(&[2, 1], &stored), [(2, 9), (1, 0)]);
        assert_eq!(starts(&[], &stored), []);
    }

    #[test]
    fn a_record_is_new_at_or_after_the_offsets_of_its_own_partition_only() {
        let mut batch = Batch::default();
        let positions = [(0, 5)].into();
        batch.add(row(0, 7), None, 0, 7);
        for (partition, offset, novelty) in [
            (0, 4, Novelty::Stored),
            (0, 5, Novelty::InBatch),
            (0, 7, Novelty::InBatch),
            (0, 8, Novelty::New),
            (1, 0, Novelty::New),
        ] {
            let found = batch.novelty(&positions, partition, offset);
            assert_eq!(found, novelty, "partition {partition}, offset {offset}");
        }
        batch.add(row(1, 0), None, 1, 0);
        assert_eq!(batch.next, [(0, 8), (1, 1)].into());
        assert_eq!(batch.rows, [row(0, 7), row(1, 0)]);
    }

    #[test]
    fn a_row_that_the_store_has_otherwise_or_not_at_all_means_another_topic() {
        let (known, mut other) = (row(3, 7), row(3, 7));
        other.value = "something else".to_owned();
        assert!(require_same(Some(&known), &known).is_ok());
        for stored in [None, Some(&other)] {
            let refused = require_same(stored, &known).unwrap_err().to_string();
            assert!(
                refused.starts_with(
                    "the store has read partition 3 of topic `feedback` beyond offset 7"
                ),
                "{refused}"
            );
        }
    }

    fn sink(stop: CancellationToken, runtime: &tokio::runtime::Runtime) -> Sink {
        let service = Service::detached(NAME);
        let settings = Settings::default();
        Sink {
            schema: settings.dataset.schema(),
            part: service.health.part("sink"),
            metrics: Metrics::register(&service),
            stop,
            spans: service.spans.clone(),
            runtime: runtime.handle().clone(),
            positions: Positions::default(),
            settings,
        }
    }

    fn no_answer() -> StoreError {
        StoreError::NoAnswer {
            operation: "read feedback",
        }
    }

    #[test]
    fn a_store_that_fails_is_tried_until_the_service_is_stopped() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let sink = sink(stop.clone(), &runtime);
        let mut calls = 0;
        let stored = sink.persist("test", async || {
            calls += 1;
            stop.cancel();
            Err::<(), _>(no_answer())
        });
        assert!(matches!(stored, Ok(None)), "{stored:?}");
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_store_with_another_schema_is_not_tried_again() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let sink = sink(CancellationToken::new(), &runtime);
        let mut calls = 0;
        let refused = sink.persist("test", async || {
            calls += 1;
            Err::<(), _>(StoreError::Migrate {
                store: "sqlite://x".to_owned(),
                source: sqlx::migrate::MigrateError::VersionMissing(7),
            })
        });
        assert!(
            matches!(refused, Err(StoreError::Migrate { .. })),
            "{refused:?}"
        );
        assert_eq!(calls, 1);
    }

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
