//! From a record to its outcome: a prediction, with feedback if it is wrong, or a dead letter.

use std::time::{Duration, Instant};

use iris_core::{Classifier, Decision, PROVENANCE_HEADER, Scratch};
use iris_kafka::exactly_once::{Outbox, Processor};
use iris_kafka::{DeadLetter, Fault, Headers, OutgoingRecord, Record, Topics, now_ms};
use iris_service::{Span, Spans, TRACEPARENT_HEADER};
use tokio::sync::watch;

use crate::NAME;
use crate::metrics::{Counts, Metrics};
use crate::record_log::RecordLog;
use crate::settings::ClassifierSettings;
use crate::summary::Summary;

/// The step that dead letters name.
const STAGE: &str = "classify";

/// The reason of a record whose outcome a topic does not take.
const TOO_LARGE: &str = "outcome_too_large";

/// The topic of summaries has one partition: they are few, and there they have an order.
const SUMMARIES_PARTITION: i32 = 0;

/// Classifies the records of one worker.
#[derive(Debug)]
pub(crate) struct Classify {
    /// The model to serve.
    served: watch::Receiver<Classifier>,
    /// The one that the open transaction uses.
    classifier: Classifier,
    topics: Topics,
    group: String,
    publish_predictions: bool,
    publish_summaries: bool,
    provenance: bool,
    metrics: Metrics,
    scratch: Scratch,
    value: Vec<u8>,
    header: String,
    log: RecordLog,
    tracer: Spans,
    /// Those of the open transaction's records that are traced.
    spans: Vec<Span>,
    /// What the open transaction has done.
    counts: Counts,
    open: Summary,
    /// What the committed ones have.
    done: Summary,
}

impl Classify {
    pub(crate) fn new(
        mut served: watch::Receiver<Classifier>,
        group: &str,
        topics: &Topics,
        settings: &ClassifierSettings,
        metrics: Metrics,
        tracer: Spans,
    ) -> Self {
        let classifier = served.borrow_and_update().clone();
        metrics.activated(&classifier.model_version().to_string(), now_ms());
        let label_name = &classifier.model().training_set().schema().label;
        let counts = Counts::new(classifier.model().classes().len());
        Self {
            log: RecordLog::new(label_name),
            tracer,
            spans: Vec::new(),
            served,
            classifier,
            topics: topics.clone(),
            group: group.to_owned(),
            publish_predictions: settings.publish_predictions,
            publish_summaries: settings.publish_summaries,
            provenance: settings.provenance,
            metrics,
            scratch: Scratch::default(),
            value: Vec::new(),
            header: String::new(),
            counts,
            open: Summary::default(),
            done: Summary::default(),
        }
    }

    /// What was committed.
    pub(crate) fn summary(&self) -> Summary {
        self.done
    }

    fn predict(
        &mut self,
        record: &Record<'_>,
        outbox: &Outbox<'_>,
        decision: &Decision<'_>,
    ) -> Result<(), Fault> {
        let (partition, offset) = (record.partition(), record.offset());
        self.log.prediction(partition, offset, decision);
        let traced = if self.tracer.is_on() {
            let class = self.classifier.class_name(decision.class).to_owned();
            let version = self.classifier.model_version().to_string();
            let notes = [
                ("iris.predicted_class", class),
                ("iris.model_version", version),
            ];
            self.follow(record, notes)
        } else {
            None
        };
        if self.publish_predictions || decision.mispredicted {
            self.classifier.write_value(decision, &mut self.value);
            let mut headers = record.headers();
            if self.provenance {
                let (votes, header) = (self.scratch.votes(), &mut self.header);
                let provenance = self.classifier.provenance();
                provenance.write(partition, offset, votes, header);
                headers = headers.set(PROVENANCE_HEADER, &self.header);
            }
            if let Some(traceparent) = &traced {
                headers = headers.set(TRACEPARENT_HEADER, traceparent);
            }
            let outcome = |topic, headers| OutgoingRecord {
                topic,
                partition: Some(partition),
                timestamp: record.timestamp(),
                key: record.key(),
                value: Some(&self.value),
                headers,
            };
            if decision.mispredicted {
                outbox.send(outcome(&self.topics.feedback, headers.clone()))?;
                self.log.feedback(&self.value);
            }
            if self.publish_predictions {
                outbox.send(outcome(&self.topics.predictions, headers))?;
            }
        }
        self.counts.predicted(decision.class);
        if let Some(label) = &decision.label {
            let actual = if decision.mispredicted {
                self.classifier.class_of(label)
            } else {
                Some(decision.class)
            };
            self.counts.evaluated(actual, decision.class);
        }
        self.open.predictions += 1;
        self.open.labelled += u64::from(decision.label.is_some());
        self.open.mispredicted += u64::from(decision.mispredicted);
        Ok(())
    }

    /// Writes a dead letter with this value.
    fn bury(
        &mut self,
        record: &Record<'_>,
        value: Option<&[u8]>,
        reason: &'static str,
        problem: &str,
        outbox: &Outbox<'_>,
    ) -> Result<(), Fault> {
        let message = DeadLetter::message(reason, problem);
        let dead_letter = DeadLetter {
            stage: STAGE,
            message: &message,
            service: NAME,
            version: env!("CARGO_PKG_VERSION"),
        };
        let mut headers = dead_letter.headers(record);
        if let Some(traceparent) = self.follow(record, [("iris.dead_letter", reason.to_owned())]) {
            headers = headers.set(TRACEPARENT_HEADER, &traceparent);
        }
        outbox.send(OutgoingRecord {
            topic: &self.topics.dead_letters,
            partition: Some(record.partition()),
            timestamp: record.timestamp(),
            key: record.key(),
            value,
            headers,
        })?;
        self.log
            .dead_letter(record.partition(), record.offset(), &message);
        self.counts.buried(reason);
        self.open.dead_letters += 1;
        Ok(())
    }

    /// Counts a record that was read, whatever comes of it.
    fn read(&mut self, record: &Record<'_>) {
        self.open.first_read.get_or_insert_with(Instant::now);
        self.counts
            .read(record.partition(), record.offset(), record.timestamp());
    }

    /// Begins the span of a record that is traced. Returns the header that takes the trace on.
    fn follow<const N: usize>(
        &mut self,
        record: &Record<'_>,
        notes: [(&'static str, String); N],
    ) -> Option<String> {
        let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
        let traceparent = record.header(TRACEPARENT_HEADER);
        let mut span = self.tracer.follow(traceparent, topic, partition, offset)?;
        for (name, value) in notes {
            span.note(name, value);
        }
        let traceparent = span.traceparent();
        self.spans.push(span);
        Some(traceparent)
    }

    /// Starts counting anew.
    fn reset(&mut self) {
        self.counts.clear();
        self.open = Summary::default();
    }
}

impl Processor for Classify {
    fn begun(&mut self) {
        // Only the sender's end could be an error here, and then nothing changes any more.
        if self.served.has_changed().unwrap_or(false) {
            self.classifier = self.served.borrow_and_update().clone();
            self.counts = Counts::new(self.classifier.model().classes().len());
            let version = self.classifier.model_version().to_string();
            self.metrics.activated(&version, now_ms());
        }
    }

    fn process(&mut self, record: &Record<'_>, outbox: &Outbox<'_>) -> Result<(), Fault> {
        self.read(record);
        match self.classifier.decide(record.value(), &mut self.scratch) {
            Ok(decision) => self.predict(record, outbox, &decision),
            Err(rejection) => {
                let (reason, problem) = (rejection.reason(), rejection.to_string());
                self.bury(record, record.value(), reason, &problem, outbox)
            }
        }
    }

    fn set_aside(
        &mut self,
        record: &Record<'_>,
        with_value: bool,
        outbox: &Outbox<'_>,
    ) -> Result<(), Fault> {
        self.read(record);
        let bytes = record.value().map_or(0, <[u8]>::len);
        let (value, more) = if with_value {
            (record.value(), "")
        } else {
            (
                None,
                "; the dead-letter topic does not take it either, so it is only in its own topic",
            )
        };
        let problem =
            format!("an output topic does not take the outcome of these {bytes} bytes{more}");
        self.bury(record, value, TOO_LARGE, &problem, outbox)
    }

    fn committing(&mut self, outbox: &Outbox<'_>) -> Result<(), Fault> {
        if !self.publish_summaries {
            return Ok(());
        }
        let class_name = |class| self.classifier.class_name(class);
        let version = self.classifier.model_version();
        let now = now_ms();
        let summary = self.counts.summary(&self.group, version, class_name, now);
        let value = serde_json::to_vec(&summary)
            .map_err(|error| Fault::Abortable(format!("writing a summary: {error}")))?;
        outbox.send(OutgoingRecord {
            topic: &self.topics.summaries,
            partition: Some(SUMMARIES_PARTITION),
            timestamp: Some(now),
            key: None,
            value: Some(&value),
            headers: Headers::default(),
        })
    }

    fn committed(&mut self, duration: Duration) {
        self.open.last_committed = Some(Instant::now());
        self.done = self.done.plus(self.open);
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
