//! A log line for each record, in the paper's words, once its outcome is committed.
//!
//! Lines are kept while a transaction is open, so that each committed outcome is logged exactly once.

use iris_contract::Classification;
use iris_service::{RECORD_TARGET, hold_lines};
use tracing::{Level, enabled, info, warn};

/// The lines of the open transaction.
#[derive(Debug)]
pub(crate) struct RecordLog {
    /// The label's name, as in "Predicted Species".
    label_name: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Prediction {
        partition: i32,
        offset: i64,
        class: usize,
        truth: Truth,
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

/// The ground truth of a record.
#[derive(Debug)]
enum Truth {
    /// The predicted class.
    Predicted,
    /// Another label.
    Other(Box<str>),
    /// The record has no label.
    Unknown,
}

impl RecordLog {
    /// Returns a log without lines.
    pub(crate) fn new(label_name: &str) -> Self {
        Self {
            label_name: label_name.to_owned(),
            lines: Vec::new(),
        }
    }

    /// Adds a prediction's line, if such lines are logged.
    pub(crate) fn prediction(
        &mut self,
        partition: i32,
        offset: i64,
        classification: &Classification<'_>,
    ) {
        if enabled!(target: RECORD_TARGET, Level::INFO) {
            let truth = match &classification.label {
                Some(label) if classification.mispredicted => Truth::Other(Box::from(&**label)),
                Some(_) => Truth::Predicted,
                None => Truth::Unknown,
            };
            self.lines.push(Line::Prediction {
                partition,
                offset,
                class: classification.class,
                truth,
            });
        }
    }

    /// Adds a feedback record's line, if such lines are logged.
    pub(crate) fn feedback(&mut self, value: &[u8]) {
        if enabled!(target: RECORD_TARGET, Level::INFO) {
            self.lines.push(Line::Feedback {
                value: String::from_utf8_lossy(value).into(),
            });
        }
    }

    /// Adds a dead letter's line.
    pub(crate) fn dead_letter(&mut self, partition: i32, offset: i64, message: &str) {
        self.lines.push(Line::DeadLetter {
            partition,
            offset,
            message: message.into(),
        });
    }

    /// Writes the lines of a committed transaction. `class_name` returns the name of a class.
    pub(crate) fn write<'a>(&mut self, class_name: impl Fn(usize) -> &'a str) {
        let _held = hold_lines();
        let name = &self.label_name;
        for line in self.lines.drain(..) {
            match line {
                Line::Prediction {
                    partition,
                    offset,
                    class,
                    truth,
                } => {
                    let predicted = class_name(class);
                    let truth = match &truth {
                        Truth::Predicted => predicted,
                        Truth::Other(label) => label,
                        Truth::Unknown => "unknown",
                    };
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

    /// Drops the lines of an aborted transaction.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }
}
