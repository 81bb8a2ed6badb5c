//! Sends dead letters back to the partitions that they were read from, each once, even if a run is killed.
//!
//! A batch of dead letters and the receipts for them are one transaction. A run first fences any other run, which settles that
//! run's open transaction; then it reads all receipts, and only then the dead letters. It holds in memory one batch and the
//! receipts as ranges of offsets. A dead letter that its destination refuses is skipped, and the rest is sent. If the topic is
//! recreated meanwhile, the run fails.

mod batch;
mod isolation;
mod receipts;
mod report;
mod selection;
mod sender;
mod source;

use std::ops::ControlFlow;

use anyhow::Context;
use iris_contract::redrive_receipt::RECEIPT_HEADER;
use iris_contract::rights::redrive_transactional_id;
use iris_contract::{Origin, Topics};
use iris_kafka::startup::{Cluster, Need, connect};
use iris_kafka::{Fault, ReadError, Record, Rights, TopicReader, TransactionalProducer};
use iris_service::Service;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::NAME;
use crate::args::RedriveArgs;
use crate::output::print;
use crate::settings::Settings;
use receipts::Receipts;
use report::RedriveReport;
use selection::{Destinations, Letter, Selection, Verdict};
use sender::Sender;
use source::Source;

/// The name of the role whose rights the command needs.
const ROLE: &str = "iris-admin-redrive";

/// Sends dead letters back.
///
/// # Errors
/// If the cluster refuses. Dead letters sent back before the error are not sent again by the next run.
pub async fn run(args: RedriveArgs, settings: &Settings, service: &Service) -> anyhow::Result<()> {
    let json = args.json;
    let redrive = Redrive {
        selection: Selection {
            reasons: args.reason,
            partitions: args.partition,
            since: args.since,
            until: args.until,
        },
        dry_run: args.dry_run,
        settings: settings.clone(),
        stop: service.stop.clone(),
    };
    match tokio::task::spawn_blocking(move || redrive.run()).await?? {
        Some(report) => print(&report, json),
        None => Ok(()),
    }
}

/// One run of the command.
struct Redrive {
    selection: Selection,
    dry_run: bool,
    settings: Settings,
    stop: CancellationToken,
}

impl Redrive {
    /// Sends the selected dead letters back. Returns `None` if it was stopped before it started.
    fn run(&self) -> anyhow::Result<Option<RedriveReport>> {
        let Settings { kafka, topics, .. } = &self.settings;
        let wait = self.settings.service.wait_for_broker;
        // Receipts have no key.
        let needs = if self.dry_run {
            [Need::read(&topics.dead_letters)]
        } else {
            [Need::write(&topics.dead_letters).without_keys()]
        };
        let Some(cluster) = connect(kafka, ROLE, wait, &self.stop, &mut |_| (), &needs)? else {
            return Ok(None);
        };
        let rights = self.rights();
        if let Some(missing) = rights.missing() {
            return Err(missing.into());
        }
        let transactional_id = kafka.prefixed(&redrive_transactional_id(&topics.dead_letters));
        let mut producer = TransactionalProducer::new(kafka, NAME, &transactional_id)?;
        let outputs = [&topics.input, &topics.labels, &topics.dead_letters].map(String::as_str);
        let prepared = self.dry_run
            || producer
                .prepare_for(&outputs, &self.stop, &mut |_| ())
                .map_err(|fault| {
                    let denied = fault.denied(&transactional_id, "");
                    let missing = denied.and_then(|denied| rights.explain(denied));
                    match missing {
                        Some(missing) => anyhow::Error::new(fault).context(missing),
                        None => fault.into(),
                    }
                })?;
        if !prepared {
            return Ok(None);
        }
        let source = Source::open(kafka, &topics.dead_letters)?;
        let receipts = self.receipts(&source)?;
        let destinations = destinations(topics, &cluster);
        let mut sender = Sender::new(&mut producer, &source);
        let mut report = RedriveReport::new(self.dry_run);
        self.visit(|record| {
            if record.header(RECEIPT_HEADER).is_some() {
                return Ok(());
            }
            let origin = Origin::read(|name| record.header(name));
            let letter = Letter::of(record, origin.as_ref());
            let verdict = self.selection.judge(letter, &destinations, &receipts);
            self.apply(verdict, record, origin.as_ref(), &mut sender)?;
            report.count(&verdict);
            Ok(())
        })
        .and_then(|()| sender.commit())
        .map_err(|error| explained(error, &rights))
        .context("the current batch was not sent; the next run skips the batches sent before it")?;
        for letter in sender.into_refused() {
            report.refuse(&letter.reason);
        }
        Ok(Some(report))
    }

    /// Returns the rights that the run needs. A destination that the user may not see looks like one that does not exist.
    fn rights(&self) -> Rights {
        let topics = &self.settings.topics;
        let destination = if self.dry_run {
            Need::describe
        } else {
            Need::write
        };
        let mut needs = vec![
            Need::read(&topics.dead_letters),
            destination(&topics.input),
            destination(&topics.labels),
        ];
        if !self.dry_run {
            needs.push(Need::write(&topics.dead_letters));
        }
        Rights::new(&self.settings.kafka, ROLE, &needs)
    }

    /// Sends a dead letter back, or logs why it is skipped.
    fn apply(
        &self,
        verdict: Verdict<'_>,
        record: &Record<'_>,
        origin: Option<&Origin>,
        sender: &mut Sender<'_>,
    ) -> anyhow::Result<()> {
        if let Some(why) = verdict.why_skipped() {
            let (partition, offset) = (record.partition(), record.offset());
            info!("partition {partition}, offset {offset} {why}: skipped");
        }
        match (verdict, origin) {
            (Verdict::Redrive(_), Some(origin)) if !self.dry_run => sender.send(record, origin),
            _ => Ok(()),
        }
    }

    /// Reads the receipts of all earlier runs.
    fn receipts(&self, source: &Source) -> anyhow::Result<Receipts> {
        let mut receipts = Receipts::of_topic(source.topic_id().cloned());
        self.visit(|record| {
            if let Some(version) = record.header(RECEIPT_HEADER) {
                let (partition, offset) = (record.partition(), record.offset());
                receipts.read(partition, offset, version, record.value())?;
            }
            Ok(())
        })?;
        Ok(receipts)
    }

    /// Passes every record of the dead-letter topic to `visit`.
    fn visit(
        &self,
        mut visit: impl FnMut(&Record<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let topic = &self.settings.topics.dead_letters;
        let mut reader = TopicReader::open(&self.settings.kafka, topic)?;
        let visited: Option<()> = reader.read_to_end(&self.stop, &mut |_| (), |record| {
            visit(&record)?;
            anyhow::Ok(ControlFlow::Continue(()))
        })?;
        debug_assert!(visited.is_none());
        Ok(())
    }
}

/// Returns an error with the rights whose lack explains it: rights that were taken away during the run.
fn explained(error: anyhow::Error, rights: &Rights) -> anyhow::Error {
    let is_denied = error.chain().any(|cause| {
        let fault = cause.downcast_ref::<Fault>();
        let read = cause.downcast_ref::<ReadError>();
        matches!(fault, Some(Fault::NotAuthorised(_)))
            || read.is_some_and(|read| read.denied().is_some())
    });
    match is_denied.then(|| rights.missing()).flatten() {
        Some(missing) => error.context(missing),
        None => error,
    }
}

/// Returns the topics that dead letters may go back to: those whose records a service can reject.
fn destinations(topics: &Topics, cluster: &Cluster) -> Destinations {
    let partitions = |topic: &String| (topic.clone(), cluster.partitions(topic).unwrap_or(0));
    Destinations::new([&topics.input, &topics.labels].map(partitions))
}
