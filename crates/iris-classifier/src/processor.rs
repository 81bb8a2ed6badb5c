//! From a record to its outcome: a prediction, with feedback if it is a misprediction, or a dead letter.

use std::time::{Duration, Instant};

use iris_contract::dead_letter::{OUTCOME_REJECTED, OUTCOME_TOO_LARGE};
use iris_contract::{Classification, Classifier, DeadLetter, PROVENANCE_HEADER, Scratch, Topics};
use iris_kafka::exactly_once::{Cause, Outcomes, Part, Processor, Refusal};
use iris_kafka::{
    Fault, HeaderView, Headers, InputRecord, OutgoingRecord, PartitionOffset, now_ms,
};
use iris_service::{Span, Spans, TRACEPARENT_HEADER};
use tokio::sync::watch;

use crate::NAME;
use crate::counts::{Counts, Origin};
use crate::metrics::Metrics;
use crate::record_log::RecordLog;
use crate::settings::ClassifierSettings;
use crate::summary::ClassifierSummary;
use crate::summary_partition::SummaryPartitions;

/// The step that dead letters name.
const STAGE: &str = "classify";

/// Classifies the records of one worker.
#[derive(Debug)]
pub(crate) struct Classify {
    /// The champion, as the registry names it.
    champion: watch::Receiver<Classifier>,
    /// The champion when the open transaction began.
    classifier: Classifier,
    topics: Topics,
    group: String,
    /// The process and the worker, as summaries name them.
    worker: String,
    summary_partitions: SummaryPartitions,
    publish_predictions: bool,
    publish_summaries: bool,
    provenance: bool,
    metrics: Metrics,
    scratch: Scratch,
    value: Vec<u8>,
    header: String,
    log: RecordLog,
    tracer: Spans,
    /// The spans of the traced records of the open transaction.
    spans: Vec<Span>,
    /// The counts of the open transaction.
    counts: Counts,
    open: ClassifierSummary,
    /// The counts of all committed transactions.
    committed: ClassifierSummary,
}

impl Classify {
    pub(crate) fn new(
        mut champion: watch::Receiver<Classifier>,
        origin: Origin<'_>,
        topics: &Topics,
        settings: &ClassifierSettings,
        metrics: Metrics,
        tracer: Spans,
    ) -> Self {
        let classifier = champion.borrow_and_update().clone();
        metrics.activated(&classifier.model_version().to_string(), now_ms());
        let label_name = &classifier.model().training_set().schema().label;
        let counts = Counts::new(classifier.model().classes().len());
        Self {
            log: RecordLog::new(label_name),
            tracer,
            spans: Vec::new(),
            champion,
            classifier,
            topics: topics.clone(),
            group: origin.group.to_owned(),
            worker: origin.worker.to_owned(),
            summary_partitions: SummaryPartitions::default(),
            publish_predictions: settings.publish_predictions,
            publish_summaries: settings.publish_summaries,
            provenance: settings.provenance,
            metrics,
            scratch: Scratch::default(),
            value: Vec::new(),
            header: String::new(),
            counts,
            open: ClassifierSummary::default(),
            committed: ClassifierSummary::default(),
        }
    }

    /// Returns the counts of all committed transactions.
    pub(crate) fn summary(&self) -> ClassifierSummary {
        self.committed
    }

    /// Sends and counts a prediction.
    fn predict(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
        classification: &Classification<'_>,
    ) -> Result<(), Fault> {
        self.log
            .prediction(record.partition, record.offset, classification);
        let traceparent = self.trace_prediction(record, classification);
        if self.publish_predictions || classification.mispredicted {
            self.send_prediction(record, outcomes, classification, traceparent.as_deref())?;
        }
        self.counts.predicted(classification.class);
        if let Some(label) = &classification.label {
            let actual = if classification.mispredicted {
                self.classifier.class_of(label)
            } else {
                Some(classification.class)
            };
            self.counts.evaluated(actual, classification.class);
        }
        self.open.predictions += 1;
        self.open.labelled += u64::from(classification.label.is_some());
        self.open.mispredicted += u64::from(classification.mispredicted);
        Ok(())
    }

    /// Sends a prediction to the topic of predictions, if it is published, and a misprediction to the topic of feedback.
    fn send_prediction(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
        classification: &Classification<'_>,
        traceparent: Option<&str>,
    ) -> Result<(), Fault> {
        self.classifier.write_value(classification, &mut self.value);
        let mut headers = record.headers.to_outgoing();
        if self.provenance {
            let (votes, header) = (self.scratch.votes(), &mut self.header);
            let provenance = self.classifier.provenance();
            provenance.write(record.partition, record.offset, votes, header);
            headers = headers.set(PROVENANCE_HEADER, &self.header);
        }
        if let Some(traceparent) = traceparent {
            headers = headers.set(TRACEPARENT_HEADER, traceparent);
        }
        let outcome = |topic, headers| OutgoingRecord {
            topic,
            partition: Some(record.partition),
            timestamp: record.timestamp,
            key: record.key,
            value: Some(&self.value),
            headers,
        };
        if classification.mispredicted {
            outcomes.send(outcome(&self.topics.feedback, headers.clone()))?;
            self.log.feedback(&self.value);
        }
        if self.publish_predictions {
            outcomes.send(outcome(&self.topics.predictions, headers))?;
        }
        Ok(())
    }

    /// Sends and counts a dead letter with the parts of its record that are `kept`.
    fn send_dead_letter(
        &mut self,
        record: &InputRecord<'_>,
        kept: &InputRecord<'_>,
        reason: &'static str,
        problem: &str,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        let message = DeadLetter::message(reason, problem);
        let dead_letter = DeadLetter {
            stage: STAGE,
            message: &message,
            service: NAME,
            version: env!("CARGO_PKG_VERSION"),
        };
        let (partition, offset) = (record.partition, record.offset);
        let added = dead_letter.headers(record.topic, partition, offset, |name| {
            record.headers.last(name)
        });
        let added = added
            .each_ref()
            .map(|(name, value)| (*name, value.as_ref()));
        let mut headers = kept.headers.to_outgoing().set_all(added);
        if let Some(traceparent) = self.trace(kept, [("iris.dead_letter", reason.to_owned())]) {
            headers = headers.set(TRACEPARENT_HEADER, &traceparent);
        }
        outcomes.send(OutgoingRecord {
            topic: &self.topics.dead_letters,
            partition: Some(partition),
            timestamp: kept.timestamp,
            key: kept.key,
            value: kept.value,
            headers,
        })?;
        self.log.dead_letter(partition, offset, &message);
        self.counts.dead_lettered(reason);
        self.open.dead_letters += 1;
        Ok(())
    }

    /// Counts a record that was read, whatever its outcome.
    fn count_read(&mut self, record: &InputRecord<'_>) {
        self.open.first_read.get_or_insert_with(Instant::now);
        let place = PartitionOffset::new(record.partition, record.offset);
        self.counts.read(place, record.timestamp);
    }

    /// Starts the span of a prediction, if its record is traced. Returns the header that continues the trace.
    fn trace_prediction(
        &mut self,
        record: &InputRecord<'_>,
        classification: &Classification<'_>,
    ) -> Option<String> {
        if !self.tracer.is_on() {
            return None;
        }
        let class = self.classifier.class_name(classification.class).to_owned();
        let version = self.classifier.model_version().to_string();
        let notes = [
            ("iris.predicted_class", class),
            ("iris.model_version", version),
        ];
        self.trace(record, notes)
    }

    /// Starts the span of a record, if it is traced. Returns the header that continues the trace.
    fn trace<const N: usize>(
        &mut self,
        record: &InputRecord<'_>,
        notes: [(&'static str, String); N],
    ) -> Option<String> {
        let traceparent = record.headers.last(TRACEPARENT_HEADER);
        let (topic, partition, offset) = (record.topic, record.partition, record.offset);
        let mut span = self.tracer.follow(traceparent, topic, partition, offset)?;
        for (name, value) in notes {
            span.note(name, value);
        }
        let traceparent = span.traceparent();
        self.spans.push(span);
        Some(traceparent)
    }

    /// Resets the counts of the open transaction.
    fn reset(&mut self) {
        self.counts.clear();
        self.open = ClassifierSummary::default();
    }
}

/// Describes why a record is dead-lettered after a topic has refused its outcome, and which parts the dead letter leaves out.
fn describe(refusal: Refusal<'_>, record: &InputRecord<'_>) -> String {
    let (refused, omitted) = (refusal.refused, refusal.omitted);
    let bytes = record.value.map_or(0, <[u8]>::len);
    let mut text = format!(
        "topic `{}` refused the outcome of this record of {bytes} bytes",
        refused.topic
    );
    // The smallest dead letter has no space for the broker's text.
    if !omitted.has(Part::Key) {
        text = format!("{text}: {}", refused.error);
    }
    let parts: Vec<String> = omitted
        .parts()
        .map(|part| match (part, record.timestamp) {
            (Part::Timestamp, Some(timestamp)) => format!("timestamp {timestamp}"),
            _ => part.to_string(),
        })
        .collect();
    DeadLetter::without(&text, &parts)
}

impl Processor for Classify {
    fn partitioned_outputs(&self) -> Vec<String> {
        let topics = &self.topics;
        let predictions = self.publish_predictions.then_some(&topics.predictions);
        let outcomes = [&topics.feedback, &topics.dead_letters].into_iter();
        outcomes.chain(predictions).cloned().collect()
    }

    fn transaction_output(&self) -> Option<String> {
        self.publish_summaries
            .then(|| self.topics.summaries.clone())
    }

    fn counted_partitions(&mut self, partitions: i32) {
        self.summary_partitions.set_partitions(partitions);
    }

    fn reassigned(&mut self, partitions: &[i32]) {
        self.summary_partitions.forget(partitions);
    }

    fn begun(&mut self) {
        // `has_changed` fails only if the sender is gone; then the champion cannot change any more.
        if self.champion.has_changed().unwrap_or(false) {
            self.classifier = self.champion.borrow_and_update().clone();
            self.counts = Counts::new(self.classifier.model().classes().len());
            let version = self.classifier.model_version().to_string();
            self.metrics.activated(&version, now_ms());
        }
    }

    fn process(
        &mut self,
        record: &InputRecord<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        self.count_read(record);
        match self.classifier.classify(record.value, &mut self.scratch) {
            Ok(classification) => self.predict(record, outcomes, &classification),
            Err(rejection) => {
                let (reason, problem) = (rejection.reason(), rejection.to_string());
                self.send_dead_letter(record, record, reason, &problem, outcomes)
            }
        }
    }

    fn dead_letter(
        &mut self,
        record: &InputRecord<'_>,
        refusal: Refusal<'_>,
        outcomes: &mut dyn Outcomes,
    ) -> Result<(), Fault> {
        self.count_read(record);
        let InputRecord {
            topic,
            partition,
            offset,
            ..
        } = *record;
        // A compacted topic requires a key, and a unique one keeps it from deleting this record for another with the same key.
        let place = format!("{topic}/{partition}/{offset}");
        let mut kept = *record;
        for part in refusal.omitted.parts() {
            match part {
                Part::Value => kept.value = None,
                Part::Headers => kept.headers = HeaderView::default(),
                Part::Key => kept.key = Some(place.as_bytes()),
                Part::Timestamp => kept.timestamp = Some(now_ms()),
            }
        }
        let reason = match refusal.refused.cause {
            Cause::Size => OUTCOME_TOO_LARGE,
            Cause::Timestamp | Cause::Content | Cause::Unexplained => OUTCOME_REJECTED,
        };
        let problem = describe(refusal, record);
        self.send_dead_letter(record, &kept, reason, &problem, outcomes)
    }

    fn committing(&mut self, outcomes: &mut dyn Outcomes) -> Result<(), Fault> {
        if !self.publish_summaries {
            return Ok(());
        }
        let class_name = |class| self.classifier.class_name(class);
        let version = self.classifier.model_version();
        let now = now_ms();
        let origin = Origin {
            group: &self.group,
            worker: &self.worker,
        };
        let summary = self.counts.summary(origin, version, class_name, now);
        let partition = self
            .summary_partitions
            .choose(summary.partitions.keys().copied());
        let value = serde_json::to_vec(&summary)
            .map_err(|error| Fault::Abortable(format!("writing a summary: {error}")))?;
        outcomes.send(OutgoingRecord {
            topic: &self.topics.summaries,
            partition: Some(partition),
            timestamp: Some(now),
            key: None,
            value: Some(&value),
            headers: Headers::default(),
        })
    }

    fn committed(&mut self, duration: Duration) {
        self.open.last_committed = Some(Instant::now());
        self.committed = self.committed.plus(self.open);
        let version = self.classifier.model_version().to_string();
        let class_name = |class| self.classifier.class_name(class);
        self.metrics.committed(
            &self.topics.input,
            &version,
            class_name,
            &self.counts,
            now_ms(),
            duration,
        );
        self.log.write(class_name);
        self.spans.drain(..).for_each(Span::end);
        self.reset();
    }

    fn aborted(&mut self, fault: &Fault) {
        self.metrics.aborted(fault.kind());
        let reason = fault.to_string();
        self.spans.drain(..).for_each(|span| span.fail(&reason));
        self.log.clear();
        self.reset();
    }
}

#[cfg(test)]
mod tests;
