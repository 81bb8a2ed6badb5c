//! Moves feedback from the topic to the store.
//!
//! The store's offsets decide where reading resumes; they are committed to Kafka only to show the lag. They include transaction
//! markers and aborted records at the end of a partition, so that the lag of a drained partition is 0. While the store cannot be
//! reached, is locked or is full, its calls are repeated and nothing is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_core::Schema;
use iris_feedback_store::{FeedbackStore, StoreError, StoredOffsets};
use iris_kafka::defence::Defence;
use iris_kafka::startup::{Need, connect};
use iris_kafka::{
    ConsumeError, Consumer, PartitionOffset, Positions, RebalanceListener, Rights, Start,
    TopicWatcher, now_ms,
};
use iris_service::{RECORD_TARGET, Service, Span, Spans, Work, supervise_with, watcher};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::NAME;
use crate::batch::{Batch, starts};
use crate::metrics::Metrics;
use crate::retry::StoreCaller;
use crate::settings::{FeedbackSinkSettings, Settings};
use crate::source::Source;
use crate::summary::SinkSummary;

/// How often an idle sink checks whether the topic was recreated. With records, it checks before each batch is stored.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);

/// How often an idle sink looks for transaction markers that it has read without a record.
const MARKERS_INTERVAL: Duration = Duration::from_millis(500);

/// Stores feedback until the service is stopped.
///
/// # Errors
/// If the cluster or the store cannot be used, or the topic is not the one that the store was filled from.
pub async fn run(settings: Settings, service: &Service) -> anyhow::Result<SinkSummary> {
    let grace = settings.service.shutdown_grace();
    let sink = Sink {
        schema: settings.dataset.schema(),
        caller: StoreCaller {
            runtime: Handle::current(),
            part: service.health.part("sink"),
            metrics: Metrics::register(service),
            stop: service.stop.clone(),
            is_failing: Arc::default(),
        },
        spans: service.spans.clone(),
        watcher: Arc::new(TopicWatcher::open(
            &settings.kafka,
            NAME,
            &[&settings.topics.feedback],
        )?),
        source: Arc::default(),
        settings,
    };
    let rights = Rights::new(
        &sink.settings.kafka,
        NAME,
        &[Need::read(&sink.settings.topics.feedback)],
    );
    let watched = rights.clone();
    let watcher = watcher("rights", move |until, report| watched.watch(until, report));
    let work: Work<SinkSummary> = Box::new(move || {
        sink.work().map_err(|error| {
            let consume = error.downcast_ref::<ConsumeError>();
            match consume
                .and_then(ConsumeError::denied)
                .and_then(|denied| rights.explain(denied))
            {
                Some(missing) => error.context(missing),
                None => error,
            }
        })
    });
    let work = vec![(NAME.to_owned(), work)];
    let ended = supervise_with(work, vec![watcher], service, grace).await?;
    ended.into_iter().next().context("no work was done")
}

#[derive(Clone)]
pub(crate) struct Sink {
    settings: Settings,
    pub(crate) schema: Schema,
    pub(crate) caller: StoreCaller,
    pub(crate) spans: Spans,
    pub(crate) watcher: Arc<TopicWatcher>,
    source: Arc<Mutex<Source>>,
}

/// Starts each assigned partition at the store's offset.
struct StartAtStoredOffsets {
    sink: Sink,
    store: FeedbackStore,
}

impl RebalanceListener for StartAtStoredOffsets {
    fn assigned(&self, partitions: &[i32]) -> Vec<PartitionOffset> {
        if !Defence::StoreOffsets.is_on() {
            return Vec::new();
        }
        let Some(stored) = self.sink.stored_offsets(&self.store) else {
            return Vec::new();
        };
        let starts = starts(partitions, &stored);
        let mut source = self.sink.source();
        source.positions = stored;
        source.is_reported = false;
        starts
    }
}

impl Sink {
    pub(crate) fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock()
    }

    pub(crate) fn topic(&self) -> &str {
        &self.settings.topics.feedback
    }

    /// Connects to the store and to the cluster, then moves records until the service is stopped.
    fn work(&self) -> anyhow::Result<SinkSummary> {
        let url = &self.settings.feedback_sink.store()?;
        let mut open = async || FeedbackStore::open(url).await;
        // A store that cannot be used is refused even while there is no broker.
        let opened = self.caller.attempt("open", &mut open)?;
        let waiting = &mut |cause| self.caller.part.report(Some(cause));
        let (kafka, wait) = (&self.settings.kafka, self.settings.service.wait_for_broker);
        let needs = [Need::read(self.topic())];
        if connect(kafka, NAME, wait, &self.caller.stop, waiting, &needs)?.is_none() {
            return Ok(SinkSummary::default());
        }
        let opened = match opened {
            Some(store) => Some(store),
            None => self.caller.call("open", open)?,
        };
        let Some(store) = opened else {
            return Ok(SinkSummary::default());
        };
        info!("storing {} in {url}", self.topic());
        let consumer = self.subscribe(&store)?;
        let summary = if self.identify(&consumer, &store)? {
            self.move_records(consumer, &store)?
        } else {
            SinkSummary::default()
        };
        self.caller.part.finish();
        Ok(summary)
    }

    fn subscribe(&self, store: &FeedbackStore) -> anyhow::Result<Consumer> {
        let FeedbackSinkSettings {
            group_id,
            instance,
            static_membership,
            ..
        } = &self.settings.feedback_sink;
        let group = self.settings.kafka.prefixed(group_id);
        let start = Start {
            topic: self.topic().to_owned(),
            group_id: group.clone(),
            partitions: None,
            instance: static_membership.then(|| instance.clone()),
        };
        let listener = Box::new(StartAtStoredOffsets {
            sink: self.clone(),
            store: store.clone(),
        });
        let consumer = Consumer::start(&self.settings.kafka, NAME, start, Some(listener))?;
        let lag = &self.caller.metrics.lag;
        lag.watch(&group, self.topic(), consumer.client_health());
        Ok(consumer)
    }

    fn move_records(
        &self,
        mut consumer: Consumer,
        store: &FeedbackStore,
    ) -> anyhow::Result<SinkSummary> {
        let mut summary = SinkSummary::default();
        let mut first = None;
        let mut confirmed = Instant::now();
        let mut passed = Instant::now();
        while !self.caller.stop.is_cancelled() {
            // A client that has read the previous topic may not find the leaders of the new one.
            if std::mem::take(&mut self.source().needs_consumer) {
                consumer = self.subscribe(store)?;
            } else if consumer.is_removed() {
                warn!("the group has removed this consumer; joining it again with a new client");
                consumer = self.subscribe(store)?;
            }
            let mut batch = self.read(&consumer, store)?;
            if self.source().needs_consumer {
                continue;
            }
            let is_due = !batch.rows.is_empty() || passed.elapsed() >= MARKERS_INTERVAL;
            if batch.is_drained && is_due {
                self.pass_markers(&consumer, &mut batch);
                passed = Instant::now();
            }
            if batch.next.is_empty() {
                self.check_progress(&consumer)?;
                if confirmed.elapsed() >= CONFIRM_INTERVAL {
                    self.confirm(&consumer, store)?;
                    confirmed = Instant::now();
                }
                continue;
            }
            self.caller.part.report(consumer.problem());
            if !batch.rows.is_empty() {
                first.get_or_insert_with(Instant::now);
            }
            if self.write(&consumer, store, &batch)? {
                summary.stored += batch.rows.len() as u64;
                if !batch.rows.is_empty() {
                    summary.elapsed = first.map_or(Duration::ZERO, |first| first.elapsed());
                }
                batch.spans.into_iter().for_each(Span::end);
            } else {
                let fail = |span: Span| span.fail("not stored by this sink");
                batch.spans.into_iter().for_each(fail);
            }
        }
        Ok(summary)
    }

    /// Reports why nothing was read, if there is a reason, and restarts a stalled partition.
    fn check_progress(&self, consumer: &Consumer) -> anyhow::Result<()> {
        let positions = self.source().positions.clone();
        for (partition, position) in positions.iter() {
            consumer.explain_start(partition, position);
        }
        let stalled = consumer.stalled_partition();
        let problem = consumer.problem();
        let problem = problem.or(stalled.map(|stalled| stalled.to_string()));
        self.caller.part.report(problem);
        if let Some(stalled) = stalled
            && stalled.should_restart
        {
            warn!("{stalled}; restarting at the store's offsets");
            consumer.restart_at(&positions)?;
        }
        Ok(())
    }

    /// Stores a batch. Returns whether this sink stored it: false after a stop, and if another sink was first.
    fn write(
        &self,
        consumer: &Consumer,
        store: &FeedbackStore,
        batch: &Batch,
    ) -> anyhow::Result<bool> {
        if !self.confirm(consumer, store)? {
            return Ok(false);
        }
        let (topic, before): (String, StoredOffsets) = {
            let source = self.source();
            (source.name.clone(), source.positions.clone().into())
        };
        let after: StoredOffsets = if Defence::StoreOffsets.is_on() {
            batch.next.clone().into()
        } else {
            StoredOffsets::new()
        };
        let append = async || match store.append(&topic, &batch.rows, &before, &after).await {
            Err(StoreError::Conflict { partition }) => Ok(Err(partition)),
            other => other.map(Ok),
        };
        // A consumer that is not polled leaves its group, and its events fill the memory. If a rebalance gives a partition of the
        // batch to another sink, the store's offsets show that.
        let serve = || Ok::<(), anyhow::Error>(consumer.serve(Duration::ZERO)?);
        let stored = self.caller.call_while("append", append, serve)?;
        match stored {
            None => Ok(false),
            Some(Err(partition)) => {
                self.resume_after_conflict(consumer, store, partition)?;
                Ok(false)
            }
            Some(Ok(())) => {
                self.stored(consumer, batch);
                Ok(true)
            }
        }
    }

    /// Logs and counts a stored batch, and shows its offsets in Kafka.
    fn stored(&self, consumer: &Consumer, batch: &Batch) {
        for row in &batch.rows {
            info!(
                target: RECORD_TARGET, partition = row.source_partition, offset = row.source_offset,
                value = row.value, "Stored: {}", row.value
            );
        }
        self.caller
            .metrics
            .stored(self.topic(), &batch.rows, now_ms());
        consumer.commit_in_background(batch.next.iter());
        self.source().positions.extend(batch.next.iter());
    }

    fn resume_after_conflict(
        &self,
        consumer: &Consumer,
        store: &FeedbackStore,
        partition: i32,
    ) -> anyhow::Result<()> {
        warn!(
            "records of partition {partition} are stored already, by another sink or by a call whose answer was lost; \
             resuming at the store's offsets"
        );
        if let Some(offsets) = self.stored_offsets(store) {
            consumer.restart_at(&offsets)?;
            self.source().positions = offsets;
        }
        Ok(())
    }

    /// Returns the store's offsets; `None` after a stop.
    pub(crate) fn stored_offsets(&self, store: &FeedbackStore) -> Option<Positions> {
        let topic = self.source().name.clone();
        let offsets = self
            .caller
            .call("read_offsets", async || store.offsets(&topic).await);
        Some(offsets.ok()??.into_iter().collect())
    }
}
