//! Joins predictions with their ground truths, in any order.
//!
//! A label from the topic of labels is the ground truth of every record with its id. It takes precedence over the label that
//! came with the record, until it is withdrawn. Predictions and labels are kept up to a number and for a time; those that
//! expire before they are joined are counted. The time is that of the [`clock`](crate::clock): no single record decides
//! which others are late.

mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use iris_contract::LabelRecord;
use iris_service::printable;
use serde::{Deserialize, Serialize};

use crate::blocks::ChangedBlocks;
use crate::clock::StreamClock;
use crate::observation::Prediction;
use crate::settings::TrainerSettings;

pub use stored::StoredJoin;

/// The limits of the predictions and labels that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum number of predictions, and of labels.
    pub records: usize,
    /// How long they are kept, in milliseconds of the stream's time.
    pub window_ms: i64,
}

/// The counts of predictions and labels that expired before they were joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Predictions without a label.
    pub predictions: u64,
    /// Labels without a prediction.
    pub labels: u64,
}

/// The records of one kind that have expired before they were joined since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unjoined {
    /// Their number.
    pub records: u64,
    /// How many of them expired because too many records were kept.
    pub above_limit: u64,
    /// The id of the first one; empty if it has none.
    pub example: String,
}

impl Unjoined {
    /// Returns the id of the first one, and the limits that they exceeded.
    #[must_use]
    pub fn describe(&self, settings: &TrainerSettings) -> String {
        let id = if self.example.is_empty() {
            "without an id".to_owned()
        } else {
            format!("id `{}`", printable(&self.example))
        };
        let window = settings.join_window_ms;
        match self.above_limit {
            0 => format!("{id} (trainer.join_window_ms is {window})"),
            above => format!(
                "{id} ({above} of them because more than trainer.max_join_records = {} were kept)",
                settings.max_join_records
            ),
        }
    }

    fn add(&mut self, id: &str, is_above_limit: bool) {
        if self.records == 0 {
            id.clone_into(&mut self.example);
        }
        self.records += 1;
        self.above_limit += u64::from(is_above_limit);
    }
}

/// A prediction that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The prediction.
    pub prediction: Prediction,
    /// Its ground truth, if it is known.
    pub truth: Option<String>,
    /// Its number in the stream of all records.
    record: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Label {
    class: String,
    timestamp: i64,
    /// Whether it was joined with a prediction.
    is_joined: bool,
    /// Its number in the stream of all records.
    record: u64,
    number: u64,
}

/// A change of a prediction's ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number under which the prediction is kept.
    pub number: u64,
    /// The previous ground truth; `None` if there was none.
    pub before: Option<String>,
    /// The new ground truth; `None` if it was withdrawn.
    pub after: Option<String>,
}

/// The predictions and labels that are kept to be joined.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    bounds: Bounds,
    clock: StreamClock,
    /// By number, in the order in which they came.
    predictions: VecDeque<Kept>,
    first: u64,
    by_id: BTreeMap<String, Vec<u64>>,
    labels: BTreeMap<String, Label>,
    labels_in_order: BTreeMap<u64, String>,
    next_label: u64,
    changed_predictions: ChangedBlocks,
    changed_labels: ChangedBlocks,
    expired: Expired,
    unjoined_predictions: Unjoined,
    unjoined_labels: Unjoined,
}

impl Join {
    /// Returns an empty join.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            clock: StreamClock::new(bounds.window_ms),
            predictions: VecDeque::new(),
            first: 0,
            by_id: BTreeMap::new(),
            labels: BTreeMap::new(),
            labels_in_order: BTreeMap::new(),
            next_label: 0,
            changed_predictions: ChangedBlocks::default(),
            changed_labels: ChangedBlocks::default(),
            expired: Expired::default(),
            unjoined_predictions: Unjoined::default(),
            unjoined_labels: Unjoined::default(),
        }
    }

    /// Returns the prediction with a number, if it is still kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Kept> {
        let position = number.checked_sub(self.first)?;
        self.predictions.get(usize::try_from(position).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Kept> {
        let position = number.checked_sub(self.first)?;
        self.predictions.get_mut(usize::try_from(position).ok()?)
    }

    /// Returns the counts of predictions and labels that expired before they were joined.
    #[must_use]
    pub fn expired(&self) -> Expired {
        self.expired
    }

    /// Takes the predictions and the labels that have expired before they were joined since the last call.
    pub fn take_unjoined(&mut self) -> [Unjoined; 2] {
        [&mut self.unjoined_predictions, &mut self.unjoined_labels].map(std::mem::take)
    }

    /// Returns the time of the stream in milliseconds since the epoch. `None` before there have been enough records.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.clock.now()
    }

    /// Returns the number of the next prediction.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.first + self.predictions.len() as u64
    }

    /// Returns the number of predictions that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.predictions.len()
    }

    /// Whether no prediction is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.predictions.is_empty()
    }

    fn insert_prediction(&mut self, kept: Kept) {
        let number = self.first + self.predictions.len() as u64;
        let id = &kept.prediction.id;
        if !id.is_empty() {
            self.by_id.entry(id.clone()).or_default().push(number);
        }
        self.changed_predictions.change(number);
        self.predictions.push_back(kept);
    }

    fn insert_label(&mut self, id: String, label: Label) {
        self.remove_label(&id);
        self.next_label = label.number + 1;
        self.changed_labels.change(label.number);
        self.labels_in_order.insert(label.number, id.clone());
        self.labels.insert(id, label);
    }

    fn remove_label(&mut self, id: &str) -> Option<Label> {
        let label = self.labels.remove(id)?;
        self.labels_in_order.remove(&label.number);
        self.changed_labels.change(label.number);
        Some(label)
    }

    /// Keeps a prediction. Returns the change to its ground truth, if that is known.
    pub fn predicted(&mut self, prediction: Prediction) -> Option<Change> {
        let record = self.clock.take(prediction.raw.timestamp);
        let number = self.first + self.predictions.len() as u64;
        let known = self.labels.get_mut(&prediction.id).map(|label| {
            if !label.is_joined {
                label.is_joined = true;
                self.changed_labels.change(label.number);
            }
            label.class.clone()
        });
        let after = known.or_else(|| prediction.own_label.clone());
        self.insert_prediction(Kept {
            prediction,
            truth: after.clone(),
            record,
        });
        self.expire();
        after.map(|after| Change {
            number,
            before: None,
            after: Some(after),
        })
    }

    /// Adds a label with its timestamp. Returns the predictions whose ground truth changes.
    pub fn labelled(&mut self, label: LabelRecord, timestamp: i64) -> Vec<Change> {
        let record = self.clock.take(timestamp);
        let numbers = self.by_id.get(&label.id).cloned().unwrap_or_default();
        let earlier = self.remove_label(&label.id);
        let is_joined =
            !numbers.is_empty() || earlier.as_ref().is_some_and(|earlier| earlier.is_joined);
        let mut changes = Vec::new();
        for number in numbers {
            let Some(kept) = self.get_mut(number) else {
                continue;
            };
            let own = || kept.prediction.own_label.clone();
            let after = label.label.clone().or_else(own);
            let before = std::mem::replace(&mut kept.truth, after.clone());
            if before != after {
                self.changed_predictions.change(number);
                changes.push(Change {
                    number,
                    before,
                    after,
                });
            }
        }
        if let Some(class) = label.label {
            let inserted = Label {
                class,
                timestamp,
                is_joined,
                record,
                number: self.next_label,
            };
            self.insert_label(label.id, inserted);
        }
        self.expire();
        changes
    }

    /// Drops predictions and labels that are too old or too many.
    fn expire(&mut self) {
        let expired = self.clock.expire();
        self.expire_predictions(expired);
        self.expire_labels(expired);
    }

    /// Drops the predictions of records with numbers up to `expired`, and the oldest ones above the limit.
    fn expire_predictions(&mut self, expired: Option<u64>) {
        while let Some(oldest) = self.predictions.front() {
            let is_above_limit = self.predictions.len() > self.bounds.records;
            if !is_above_limit && expired.is_none_or(|expired| oldest.record > expired) {
                break;
            }
            let id = &oldest.prediction.id;
            if oldest.truth.is_none() {
                self.expired.predictions += 1;
                self.unjoined_predictions.add(id, is_above_limit);
            }
            if let Some(numbers) = self.by_id.get_mut(id) {
                numbers.retain(|&number| number != self.first);
                if numbers.is_empty() {
                    self.by_id.remove(id);
                }
            }
            self.predictions.pop_front();
            self.changed_predictions.drop_oldest(self.first);
            self.first += 1;
        }
    }

    /// Drops the labels of records with numbers up to `expired`, and the oldest ones above the limit.
    fn expire_labels(&mut self, expired: Option<u64>) {
        while let Some((&number, id)) = self.labels_in_order.first_key_value() {
            let label = self.labels.get(id);
            let is_above_limit = self.labels.len() > self.bounds.records;
            let record = label.map_or(0, |label| label.record);
            if !is_above_limit && expired.is_none_or(|expired| record > expired) {
                break;
            }
            if label.is_some_and(|label| !label.is_joined) {
                self.expired.labels += 1;
                self.unjoined_labels.add(id, is_above_limit);
            }
            self.labels.remove(id);
            self.labels_in_order.remove(&number);
            self.changed_labels.change(number);
        }
    }
}
