//! Sends the rows on schedule and waits for their delivery.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_core::Dataset;
use iris_kafka::startup::{Need, connect};
use iris_kafka::{Headers, ProduceError, Producer, Rights, pause};
use iris_service::{
    Part, Service, TRACEPARENT_HEADER, UsageError, Work, read_dataset, supervise_with, watcher,
};
use tracing::info;

use crate::NAME;
use crate::deliveries::{Deliveries, Shared, Undelivered};
use crate::progress::Progress;
use crate::rows::{Rows, check_key_column};
use crate::schedule::Schedule;
use crate::settings::Settings;

/// How long one wait for deliveries lasts.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// The longest time between two reports of the health.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducerSummary {
    /// The number of records that the brokers have acknowledged.
    pub delivered: u64,
    /// The number of records to send; 0 if the service was stopped before it was known.
    pub planned: u64,
    /// The time from the first record to the last acknowledgement.
    pub elapsed: Duration,
    /// The topic.
    pub topic: String,
}

impl fmt::Display for ProducerSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            delivered,
            planned,
            elapsed,
            topic,
        } = self;
        if *planned == 0 {
            return write!(
                f,
                "No records sent to topic '{topic}': stopped before the first one"
            );
        }
        let seconds = elapsed.as_secs_f64();
        let rate = *delivered as f64 / seconds.max(f64::MIN_POSITIVE);
        let of = if delivered == planned {
            "All"
        } else {
            "Not all"
        };
        write!(
            f,
            "{of} records sent to topic '{topic}': {delivered} of {planned} in {seconds:.3} s, {rate:.0} records/s"
        )
    }
}

/// Sends the dataset as the settings say. Ends when every record is acknowledged or the service is stopped.
///
/// # Errors
/// [`UsageError`] if the dataset cannot be used; another error if the cluster cannot, or a record was not delivered.
pub async fn run(
    settings: Settings,
    service: &Service,
    progress: Progress,
) -> anyhow::Result<ProducerSummary> {
    let read = read_dataset(&settings.dataset, &service.stop).map_err(UsageError::new)?;
    let Some(dataset) = read else {
        return Ok(ProducerSummary {
            topic: settings.topics.input,
            ..ProducerSummary::default()
        });
    };
    check_key_column(&dataset, &settings.producer.key, &settings.dataset.path)?;
    let grace = settings.service.shutdown_grace();
    let part = service.health.part("producer");
    let sender = Sender {
        settings,
        service: service.clone(),
        dataset,
        progress,
        part,
    };
    let rights = Rights::new(&sender.settings.kafka, NAME, &[need(&sender.settings)]);
    let watched = rights.clone();
    let watcher = watcher("rights", move |until, report| watched.watch(until, report));
    let work: Work<ProducerSummary> = Box::new(move || {
        sender.send_all().map_err(|error| {
            let is_undelivered = error.is::<Undelivered>() || error.is::<ProduceError>();
            match is_undelivered.then(|| rights.missing()).flatten() {
                Some(missing) => error.context(missing),
                None => error,
            }
        })
    });
    let work = vec![(NAME.to_owned(), work)];
    let sent = supervise_with(work, vec![watcher], service, grace).await?;
    sent.into_iter().next().context("no work was done")
}

/// Returns the topic that the producer needs.
fn need(settings: &Settings) -> Need<'_> {
    let need = Need::write(&settings.topics.input);
    if settings.producer.key.is_empty() {
        need.without_keys()
    } else {
        need
    }
}

/// Sends one dataset.
struct Sender {
    settings: Settings,
    service: Service,
    dataset: Dataset,
    progress: Progress,
    part: Arc<Part>,
}

impl Sender {
    fn send_all(&self) -> anyhow::Result<ProducerSummary> {
        let Settings {
            kafka,
            topics,
            producer: settings,
            service,
            ..
        } = &self.settings;
        let stop = &self.service.stop;
        let waiting = &mut |cause| self.part.report(Some(cause));
        let mut summary = ProducerSummary {
            delivered: 0,
            planned: 0,
            elapsed: Duration::ZERO,
            topic: topics.input.clone(),
        };
        let needs = [need(&self.settings)];
        let wait = service.wait_for_broker;
        let Some(cluster) = connect(kafka, NAME, wait, stop, waiting, &needs)? else {
            return Ok(summary);
        };
        let partitions = cluster.partitions(&topics.input).unwrap_or(1);
        let schedule = Schedule {
            rows: self.dataset.len() as u64,
            rounds: settings.rounds,
            interval: settings.interval(),
            partitions: partitions as u64,
        };
        summary.planned = schedule.total();
        let deliveries = Deliveries::new(&self.service);
        let producer = Producer::start(kafka, NAME, Shared(Arc::clone(&deliveries)))?;
        self.progress.start(schedule.total());
        let started = Instant::now();
        let sent = self.follow(&schedule, &producer, &deliveries, started)?;
        while producer.wait(WAIT_STEP) > 0 {
            self.progress.reach(deliveries.delivered());
            self.part.report(producer.client_health().problem());
        }
        summary.elapsed = started.elapsed();
        summary.delivered = deliveries.delivered();
        self.progress.finish();
        self.part.finish();
        deliveries.require_all(sent)?;
        Ok(summary)
    }

    /// Passes every record to the client when it is due. Returns their number; after a stop, it is less than planned.
    fn follow(
        &self,
        schedule: &Schedule,
        producer: &Producer<Shared>,
        deliveries: &Deliveries,
        started: Instant,
    ) -> anyhow::Result<u64> {
        let stop = &self.service.stop;
        let topic = &self.settings.topics.input;
        let mut rows = Rows::new(&self.dataset, &self.settings.producer.key);
        for n in 0..schedule.total() {
            let is_check_due = !schedule.interval.is_zero() || n % 1024 == 0;
            if is_check_due {
                self.progress.reach(deliveries.delivered());
                if !self.wait_until(started + schedule.due(n), producer) {
                    info!("stopped after {n} of {} records", schedule.total());
                    return Ok(n);
                }
            }
            let span = self.service.spans.begin(topic);
            let headers = span.as_ref().map_or_else(Headers::default, |span| {
                Headers::default().set(TRACEPARENT_HEADER, &span.traceparent())
            });
            while !producer.try_send(rows.record(schedule, n, topic, headers.clone())?)? {
                if stop.is_cancelled() {
                    return Ok(n);
                }
                producer.wait_for_room();
                self.part.report(producer.client_health().problem());
            }
        }
        Ok(schedule.total())
    }

    /// Waits until `due`, and reports the health meanwhile. Returns false if the service was stopped.
    fn wait_until(&self, due: Instant, producer: &Producer<Shared>) -> bool {
        loop {
            self.part.report(producer.client_health().problem());
            let left = due.saturating_duration_since(Instant::now());
            if !pause(left.min(REPORT_INTERVAL), &self.service.stop) {
                return false;
            }
            if left <= REPORT_INTERVAL {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_the_count_the_time_and_the_rate() {
        let summary = ProducerSummary {
            delivered: 150,
            planned: 150,
            elapsed: Duration::from_millis(15_000),
            topic: "iris_demo2_topic".to_owned(),
        };
        assert_eq!(
            summary.to_string(),
            "All records sent to topic 'iris_demo2_topic': 150 of 150 in 15.000 s, 10 records/s"
        );
        let stopped = ProducerSummary {
            delivered: 75,
            ..summary
        };
        assert_eq!(
            stopped.to_string(),
            "Not all records sent to topic 'iris_demo2_topic': 75 of 150 in 15.000 s, 5 records/s"
        );
        let unread = ProducerSummary {
            topic: "iris_demo2_topic".to_owned(),
            ..ProducerSummary::default()
        };
        assert_eq!(
            unread.to_string(),
            "No records sent to topic 'iris_demo2_topic': stopped before the first one"
        );
    }
}
