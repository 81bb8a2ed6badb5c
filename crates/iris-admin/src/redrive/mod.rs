//! Sends dead letters back to where they came from, each once, whatever happens to this process.
//!
//! The letters of a batch and the receipts for them are one transaction. A run begins by fencing any other, which settles
//! what that one has left open; then it reads all receipts, and only then the letters. Letters are never held in memory,
//! receipts are, as stretches of offsets.

mod receipts;
mod selection;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Write, stdout};
use std::ops::ControlFlow;

use anyhow::Context;
use iris_contract::dead_letter::REMOVED_BY_REDRIVE;
use iris_contract::redrive_receipt::{self, RECEIPT_HEADER};
use iris_contract::{Origin, Topics};
use iris_kafka::startup::{Cluster, Need, connect};
use iris_kafka::{Headers, OutgoingRecord, Record, TopicReader, TransactionalProducer};
use iris_service::Service;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::NAME;
use crate::args::RedriveArgs;
use crate::settings::Settings;
use receipts::Receipts;
use selection::{Destinations, Letter, Selection, Verdict};

/// The most dead letters that go back in one transaction.
const BATCH: u64 = 500;

/// What was done, or in a dry run would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    dry_run: bool,
    /// Dead letters sent back, by reason.
    redriven: BTreeMap<String, u64>,
    /// Those that an earlier run has sent back.
    sent_before: u64,
    /// Those that were not asked for.
    not_selected: u64,
    /// Records that are no dead letters of this pipeline, or have no place to go back to.
    skipped: u64,
}

/// Sends dead letters back.
///
/// # Errors
/// If the cluster refuses. What was sent back until then is, and will not be sent again.
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
    let Some(report) = tokio::task::spawn_blocking(move || redrive.run()).await?? else {
        return Ok(());
    };
    let mut out = stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

struct Redrive {
    selection: Selection,
    dry_run: bool,
    settings: Settings,
    stop: CancellationToken,
}

/// The transaction that is being filled.
struct Batch<'a> {
    producer: &'a mut TransactionalProducer,
    receipts: Receipts,
    letters: u64,
}

impl Redrive {
    /// `None` if it was stopped before it began.
    fn run(&self) -> anyhow::Result<Option<Report>> {
        let Settings {
            kafka,
            topics,
            service,
            ..
        } = &self.settings;
        let wait = service.wait_for_broker;
        let needs = [Need::read(&topics.dead_letters)];
        let Some(cluster) = connect(kafka, NAME, wait, &self.stop, &mut |_| (), &needs)? else {
            return Ok(None);
        };
        let transactional_id = format!("{NAME}-redrive-{}", topics.dead_letters);
        let mut producer = TransactionalProducer::new(kafka, NAME, &transactional_id)?;
        if !self.dry_run && !producer.prepare(&self.stop, &mut |_| ())? {
            return Ok(None);
        }
        let mut sent_before = Receipts::default();
        self.visit(|record| {
            if let Some(version) = record.header(RECEIPT_HEADER) {
                let (partition, offset) = (record.partition(), record.offset());
                sent_before.read(partition, offset, version, record.value())?;
            }
            Ok(())
        })?;
        let destinations = destinations(topics, &cluster);
        let mut report = Report {
            dry_run: self.dry_run,
            ..Report::default()
        };
        let mut batch = Batch {
            producer: &mut producer,
            receipts: Receipts::default(),
            letters: 0,
        };
        self.visit(|record| {
            self.consider(record, &destinations, &sent_before, &mut batch, &mut report)
        })
        .and_then(|()| batch.commit(&topics.dead_letters))
        .context(
            "the batch in progress was not sent; what was sent before it will not be sent again",
        )?;
        Ok(Some(report))
    }

    fn consider(
        &self,
        record: &Record<'_>,
        destinations: &Destinations,
        sent_before: &Receipts,
        batch: &mut Batch<'_>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        if record.header(RECEIPT_HEADER).is_some() {
            return Ok(());
        }
        let (partition, offset) = (record.partition(), record.offset());
        let origin = Origin::read(|name| record.header(name));
        let letter = Letter {
            partition,
            offset,
            created_ms: record.timestamp(),
            origin: origin.as_ref(),
        };
        let verdict = self.selection.judge(letter, destinations, sent_before);
        if let Some(why) = verdict.why_skipped() {
            info!("partition {partition}, offset {offset} {why}: skipped");
        }
        if let (Verdict::Redrive(_), Some(origin), false) = (&verdict, &origin, self.dry_run) {
            batch.add(record, origin)?;
            if batch.letters >= BATCH {
                batch.commit(&self.settings.topics.dead_letters)?;
            }
        }
        report.count(&verdict);
        Ok(())
    }

    /// Shows every record of the dead-letter topic to `visit`.
    fn visit(
        &self,
        mut visit: impl FnMut(&Record<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let topic = &self.settings.topics.dead_letters;
        let mut reader = TopicReader::open(&self.settings.kafka, topic)?;
        reader.read_to_end(&self.stop, &mut |_| (), |record| {
            visit(&record)?;
            anyhow::Ok(ControlFlow::<Infallible>::Continue(()))
        })?;
        Ok(())
    }
}

impl Batch<'_> {
    fn add(&mut self, record: &Record<'_>, origin: &Origin) -> anyhow::Result<()> {
        if !self.producer.is_open() {
            self.producer.begin()?;
        }
        let (name, attempt) = origin.next_attempt();
        let headers = REMOVED_BY_REDRIVE
            .into_iter()
            .fold(record.headers(), Headers::without);
        self.producer.send(OutgoingRecord {
            topic: &origin.topic,
            partition: Some(origin.partition),
            timestamp: record.timestamp(),
            key: record.key(),
            value: record.value(),
            headers: headers.set(name, &attempt),
        })?;
        self.receipts.insert(record.partition(), record.offset());
        self.letters += 1;
        Ok(())
    }

    fn commit(&mut self, dead_letters: &str) -> anyhow::Result<()> {
        if !self.producer.is_open() {
            return Ok(());
        }
        for (partition, value) in std::mem::take(&mut self.receipts).values() {
            self.producer.send(OutgoingRecord {
                topic: dead_letters,
                partition: Some(partition),
                timestamp: None,
                key: None,
                value: Some(&value),
                headers: Headers::default().set(RECEIPT_HEADER, redrive_receipt::VERSION),
            })?;
        }
        self.producer.commit()?;
        self.letters = 0;
        Ok(())
    }
}

/// The topics that dead letters may go back to: those that the pipeline reads records from which it can refuse.
fn destinations(topics: &Topics, cluster: &Cluster) -> Destinations {
    let partitions = |topic: &String| (topic.clone(), cluster.partitions(topic).unwrap_or(0));
    Destinations::new([&topics.input, &topics.labels].map(partitions))
}

impl Report {
    fn count(&mut self, verdict: &Verdict<'_>) {
        match *verdict {
            Verdict::Redrive(reason) => *self.redriven.entry(reason.to_owned()).or_default() += 1,
            Verdict::NotSelected => self.not_selected += 1,
            Verdict::SentBefore => self.sent_before += 1,
            Verdict::NoDeadLetter | Verdict::ForeignTopic(_) | Verdict::NoSuchPartition { .. } => {
                self.skipped += 1
            }
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total: u64 = self.redriven.values().sum();
        let sent = if self.dry_run {
            "would be sent back"
        } else {
            "sent back"
        };
        writeln!(f, "{total} dead letters {sent}")?;
        for (reason, count) in &self.redriven {
            writeln!(f, "  {count:>8}  {reason}")?;
        }
        writeln!(
            f,
            "{} sent back earlier, {} not selected, {} skipped",
            self.sent_before, self.not_selected, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_counted_and_told_with_its_reason() {
        let foreign = Verdict::ForeignTopic("other");
        let no_partition = Verdict::NoSuchPartition {
            topic: "input",
            partition: 9,
        };
        let mut report = Report {
            dry_run: true,
            ..Report::default()
        };
        for (times, verdict) in [
            (12, Verdict::Redrive("no_value")),
            (3, Verdict::Redrive("not_json")),
            (1, Verdict::SentBefore),
            (2, Verdict::NotSelected),
            (1, Verdict::NoDeadLetter),
            (1, foreign),
            (1, no_partition),
        ] {
            for _ in 0..times {
                report.count(&verdict);
            }
        }
        let expected = "15 dead letters would be sent back\n        12  no_value\n         3  not_json\n\
                        1 sent back earlier, 2 not selected, 3 skipped\n";
        assert_eq!(report.to_string(), expected);
        report.dry_run = false;
        assert!(
            report
                .to_string()
                .starts_with("15 dead letters sent back\n")
        );
        let json = serde_json::json!({
            "dry_run": false,
            "redriven": { "no_value": 12, "not_json": 3 },
            "sent_before": 1,
            "not_selected": 2,
            "skipped": 3,
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), json);
    }
}
