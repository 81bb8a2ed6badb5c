//! Runs many workers that read one topic as one group, and write each record and a summary of each transaction, as the classifier
//! does but without a model: BOOTSTRAP GROUP INPUT OUTPUT SUMMARIES PROCESS WORKERS. Serves health and metrics at the address in
//! `IRIS__TELEMETRY__HTTP_ADDR`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use iris_kafka::exactly_once::{CommitPolicy, Outcomes, Processor, Refusal, Worker};
use iris_kafka::{Fault, Headers, InputRecord, KafkaSettings, OutgoingRecord, Start};
use iris_service::{Service, TelemetrySettings, Work, supervise};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

/// The name under which brokers log the clients.
const NAME: &str = "scale-worker";

/// How long workers may take to end.
const GRACE: Duration = Duration::from_secs(25);

/// The classifier's default.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> ExitCode {
    iris_service::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [
        bootstrap_servers,
        group,
        input,
        output,
        summaries,
        process,
        workers,
    ] = &args[..]
    else {
        bail!("usage: scale-worker BOOTSTRAP GROUP INPUT OUTPUT SUMMARIES PROCESS WORKERS");
    };
    let telemetry = TelemetrySettings {
        http_addr: std::env::var("IRIS__TELEMETRY__HTTP_ADDR").unwrap_or_default(),
        log: "warn".to_owned(),
        ..TelemetrySettings::default()
    };
    let service = Service::start(NAME, &telemetry, None).await?;
    let metrics = Metrics::register(&service);
    let kafka = KafkaSettings {
        bootstrap_servers: bootstrap_servers.clone(),
        ..KafkaSettings::default()
    };
    let work = (0..workers.parse::<usize>()?)
        .map(|number| {
            let start = Start {
                topic: input.clone(),
                group_id: group.clone(),
                partitions: None,
                instance: None,
            };
            let copy = Copy {
                output: output.clone(),
                summaries: summaries.clone(),
                partition: 0,
                metrics: metrics.clone(),
            };
            let id = format!("{group}-{process}-{number}");
            worker(&service, &kafka, start, id, copy)
        })
        .collect();
    supervise(work, &service, GRACE).await?;
    Ok(())
}

/// Returns the work of one worker, with its name.
fn worker(
    service: &Service,
    kafka: &KafkaSettings,
    start: Start,
    transactional_id: String,
    copy: Copy,
) -> (String, Work<()>) {
    let part = service.health.part(&transactional_id);
    let (kafka, stop) = (kafka.clone(), service.stop.clone());
    let name = transactional_id.clone();
    let work = move || {
        let policy = CommitPolicy {
            commit_interval: COMMIT_INTERVAL,
            linger: Duration::ZERO,
            max_records: 100_000,
            idle_timeout: None,
        };
        let mut worker = Worker::start(&kafka, NAME, start, &transactional_id, policy, copy)?;
        worker.run(&stop, &mut |problem| part.report(problem))?;
        part.finish();
        worker.finish(|_| ());
        Ok(())
    };
    (name, Box::new(work))
}

/// Counts commits under the names of the classifier's metrics.
#[derive(Clone)]
struct Metrics {
    transactions: Family<Vec<(String, String)>, Counter>,
    durations: Histogram,
}

impl Metrics {
    fn register(service: &Service) -> Self {
        let metrics = Self {
            transactions: Family::default(),
            durations: Histogram::new(exponential_buckets(0.000_5, 1.1, 120)),
        };
        let mut registry = service.metrics();
        registry.register(
            "transactions",
            "Transactions by outcome",
            metrics.transactions.clone(),
        );
        registry.register_with_unit(
            "transaction_duration",
            "Duration of the commits of transactions",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        drop(registry);
        metrics
    }

    fn count(&self, outcome: &str) {
        let labels = vec![("outcome".to_owned(), outcome.to_owned())];
        self.transactions.get_or_create(&labels).inc();
    }
}

/// Writes each record to the output, and a summary of each transaction.
struct Copy {
    output: String,
    summaries: String,
    /// The partition of the latest record.
    partition: i32,
    metrics: Metrics,
}

impl Processor for Copy {
    fn partitioned_outputs(&self) -> Vec<String> {
        vec![self.output.clone()]
    }

    fn process(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        self.partition = record.partition;
        outcomes.send(OutgoingRecord {
            topic: &self.output,
            partition: Some(record.partition),
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: Headers::default(),
        })
    }

    fn dead_letter(
        &mut self,
        record: &InputRecord<'_>,
        _: Refusal<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        self.process(record, outcomes)
    }

    fn committing(&mut self, outcomes: &mut dyn Outcomes) -> Result<(), Fault> {
        outcomes.send(OutgoingRecord {
            topic: &self.summaries,
            partition: Some(self.partition),
            timestamp: None,
            key: None,
            value: Some(b"{\"records\":1}"),
            headers: Headers::default(),
        })
    }

    fn committed(&mut self, duration: Duration) {
        self.metrics.count("committed");
        self.metrics.durations.observe(duration.as_secs_f64());
    }

    fn aborted(&mut self, _: &Fault) {
        self.metrics.count("aborted");
    }
}
