//! From a record to its outcome: a prediction, with feedback if it is wrong, or a dead letter.

use std::time::{Duration, Instant};

use iris_core::{Classifier, Decision, PROVENANCE_HEADER, Provenance, Rejection, Scratch};
use iris_kafka::exactly_once::{Outbox, Processor};
use iris_kafka::{DeadLetter, Fault, OutgoingRecord, Record, Topics};

use crate::NAME;
use crate::metrics::{Counts, Metrics};
use crate::record_log::RecordLog;
use crate::settings::ClassifierSettings;
use crate::summary::Summary;

/// The step that dead letters name.
const STAGE: &str = "classify";

/// Classifies the records of one worker.
#[derive(Debug)]
pub(crate) struct Classify {
    classifier: Classifier,
    topics: Topics,
    publish_predictions: bool,
    provenance: bool,
    metrics: Metrics,
    scratch: Scratch,
    value: Vec<u8>,
    header: String,
    log: RecordLog,
    /// What the open transaction has done.
    counts: Counts,
    open: Summary,
    /// What the committed ones have.
    done: Summary,
}

impl Classify {
    pub(crate) fn new(
        classifier: Classifier,
        topics: &Topics,
        settings: &ClassifierSettings,
        metrics: Metrics,
    ) -> Self {
        let label_name = &classifier.model().training_set().schema().label;
        let counts = Counts {
            predictions: vec![0; classifier.model().classes().len()],
            ..Counts::default()
        };
        Self {
            log: RecordLog::new(label_name),
            classifier,
            topics: topics.clone(),
            publish_predictions: settings.publish_predictions,
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
        self.log
            .prediction(partition, offset, decision.class, decision.label.as_deref());
        if self.publish_predictions || decision.mispredicted {
            self.classifier.write_value(decision, &mut self.value);
            let mut headers = record.headers();
            if self.provenance {
                let votes = self.scratch.votes();
                Provenance::write(
                    self.classifier.model_version(),
                    partition,
                    offset,
                    votes,
                    &mut self.header,
                );
                headers = headers.set(PROVENANCE_HEADER, &self.header);
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
        self.counts.predictions[decision.class] += 1;
        self.open.predictions += 1;
        self.open.labelled += u64::from(decision.label.is_some());
        self.open.mispredicted += u64::from(decision.mispredicted);
        Ok(())
    }

    fn set_aside(
        &mut self,
        record: &Record<'_>,
        outbox: &Outbox<'_>,
        rejection: &Rejection,
    ) -> Result<(), Fault> {
        let reason = rejection.reason();
        let message = format!("{reason}: {rejection}");
        let dead_letter = DeadLetter {
            stage: STAGE,
            message: &message,
            service: NAME,
            version: env!("CARGO_PKG_VERSION"),
        };
        outbox.send(OutgoingRecord {
            topic: &self.topics.dead_letters,
            partition: Some(record.partition()),
            timestamp: record.timestamp(),
            key: record.key(),
            value: record.value(),
            headers: dead_letter.headers(record),
        })?;
        self.log
            .dead_letter(record.partition(), record.offset(), &message);
        *self.counts.dead_letters.entry(reason).or_default() += 1;
        self.open.dead_letters += 1;
        Ok(())
    }

    /// Starts counting anew.
    fn reset(&mut self) {
        self.counts.clear();
        self.open = Summary::default();
    }
}

impl Processor for Classify {
    fn process(&mut self, record: &Record<'_>, outbox: &Outbox<'_>) -> Result<(), Fault> {
        self.open.first_read.get_or_insert_with(Instant::now);
        *self.counts.consumed.entry(record.partition()).or_default() += 1;
        match self.classifier.decide(record.value(), &mut self.scratch) {
            Ok(decision) => self.predict(record, outbox, &decision),
            Err(rejection) => self.set_aside(record, outbox, &rejection),
        }
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
            duration,
        );
        self.log.write(class_name);
        self.reset();
    }

    fn aborted(&mut self, _: &Fault) {
        self.metrics.aborted();
        self.log.clear();
        self.reset();
    }
}
