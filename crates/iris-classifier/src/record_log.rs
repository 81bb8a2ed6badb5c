//! A log line for each record, in the paper's words, once its outcome is committed.
//!
//! Lines are kept while a transaction is open: what is logged has happened, and has happened once.

use iris_service::RECORD_TARGET;
use tracing::{Level, enabled, info, warn};

/// The lines of the open transaction.
#[derive(Debug)]
pub(crate) struct RecordLog {
    /// The label's name, for "Predicted Species".
    label_name: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Prediction {
        partition: i32,
        offset: i64,
        class: usize,
        label: Option<Box<str>>,
    },
    Feedback {
        value: Box<str>,
    },
    DeadLetter {
        partition: i32,
        offset: i64,
        message: Box<str>,
    },
}

impl RecordLog {
    pub(crate) fn new(label_name: &str) -> Self {
        Self {
            label_name: label_name.to_owned(),
            lines: Vec::new(),
        }
    }

    pub(crate) fn prediction(
        &mut self,
        partition: i32,
        offset: i64,
        class: usize,
        label: Option<&str>,
    ) {
        if enabled!(target: RECORD_TARGET, Level::INFO) {
            self.lines.push(Line::Prediction {
                partition,
                offset,
                class,
                label: label.map(Box::from),
            });
        }
    }

    pub(crate) fn feedback(&mut self, value: &[u8]) {
        if enabled!(target: RECORD_TARGET, Level::INFO) {
            self.lines.push(Line::Feedback {
                value: String::from_utf8_lossy(value).into(),
            });
        }
    }

    pub(crate) fn dead_letter(&mut self, partition: i32, offset: i64, message: &str) {
        self.lines.push(Line::DeadLetter {
            partition,
            offset,
            message: message.into(),
        });
    }

    /// Writes the lines of a transaction that was committed. `class_name` names a class.
    pub(crate) fn write<'a>(&mut self, class_name: impl Fn(usize) -> &'a str) {
        let name = &self.label_name;
        for line in self.lines.drain(..) {
            match line {
                Line::Prediction {
                    partition,
                    offset,
                    class,
                    label,
                } => {
                    let (predicted, truth) =
                        (class_name(class), label.as_deref().unwrap_or("unknown"));
                    info!(
                        target: RECORD_TARGET, partition, offset, predicted, truth,
                        "Partition: {partition}, Predicted {name}: {predicted}, True {name}: {truth}"
                    );
                }
                Line::Feedback { value } => {
                    info!(target: RECORD_TARGET, value = &*value, "Feedback: {value}")
                }
                Line::DeadLetter {
                    partition,
                    offset,
                    message,
                } => {
                    warn!(
                        target: RECORD_TARGET, partition, offset, reason = &*message,
                        "Dead letter: partition {partition}, offset {offset}: {message}"
                    );
                }
            }
        }
    }

    /// Forgets the lines of a transaction that failed.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }
}
