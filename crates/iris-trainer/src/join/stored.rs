//! The stored form of the join. The names in its JSON are a wire format: a state that an earlier version of the program wrote
//! is read again.

use std::ops::Range;

use iris_core::Schema;
use serde::{Deserialize, Serialize};

use super::{Bounds, Expired, Join, Kept, Label};
use crate::blocks::{Block, List, items};
use crate::clock::{StoredClock, StreamClock};
use crate::observation::{Prediction, RawPrediction};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredPrediction {
    #[serde(rename = "announced")]
    raw: RawPrediction,
    truth: Option<String>,
    /// An earlier version of the program did not store it: such records are older than all others.
    #[serde(default)]
    record: u64,
    /// The number under which it is kept. An earlier version of the program did not store it: it counts from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredLabel {
    id: String,
    class: String,
    timestamp: i64,
    #[serde(rename = "has_met")]
    is_joined: bool,
    #[serde(default)]
    record: u64,
    /// Its number. An earlier version of the program did not store it: it counts from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
}

/// The stored form of [`Join`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredJoin {
    first: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    predictions: Vec<StoredPrediction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<StoredLabel>,
    next_label: u64,
    expired: Expired,
    clock: StoredClock,
}

impl StoredJoin {
    /// Adds the items of a block of predictions.
    ///
    /// # Errors
    /// The error of the JSON.
    pub(crate) fn add_predictions(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let items: Vec<StoredPrediction> = serde_json::from_slice(json)?;
        let first = Some(self.first);
        let kept = items.into_iter().filter(|item| item.number >= first);
        self.predictions.extend(kept);
        Ok(())
    }

    /// Adds the items of a block of labels.
    ///
    /// # Errors
    /// The error of the JSON.
    pub(crate) fn add_labels(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let items: Vec<StoredLabel> = serde_json::from_slice(json)?;
        self.labels.extend(items);
        Ok(())
    }
}

impl Join {
    /// Returns the stored form without the predictions and the labels, which are stored in blocks.
    #[must_use]
    pub fn store(&self) -> StoredJoin {
        StoredJoin {
            first: self.first,
            predictions: Vec::new(),
            labels: Vec::new(),
            next_label: self.next_label,
            expired: self.expired,
            clock: self.clock.store(),
        }
    }

    /// Returns the stored form with the predictions and the labels.
    #[cfg(test)]
    pub(crate) fn store_whole(&self) -> StoredJoin {
        StoredJoin {
            predictions: self
                .stored_predictions(self.first..self.next_number())
                .collect(),
            labels: self.stored_labels(0..self.next_label).collect(),
            ..self.store()
        }
    }

    /// Returns the blocks of predictions and of labels that have changed since the last call or, at first, all of them.
    pub(crate) fn take_changed_blocks(&mut self) -> Vec<Block> {
        let (predictions, labels) = (self.changed_predictions.take(), self.changed_labels.take());
        let predictions = predictions.into_iter().map(|block| {
            let stored: Vec<StoredPrediction> = self.stored_predictions(items(block)).collect();
            Block::new(List::Predictions, block, &stored)
        });
        let labels = labels.into_iter().map(|block| {
            let stored: Vec<StoredLabel> = self.stored_labels(items(block)).collect();
            Block::new(List::Labels, block, &stored)
        });
        predictions.chain(labels).collect()
    }

    fn stored_predictions(&self, numbers: Range<u64>) -> impl Iterator<Item = StoredPrediction> {
        numbers.filter_map(|number| self.stored_prediction(number))
    }

    fn stored_labels(&self, numbers: Range<u64>) -> impl Iterator<Item = StoredLabel> {
        let labels = self.labels_in_order.range(numbers);
        labels.filter_map(|(_, id)| self.stored_label(id))
    }

    fn stored_prediction(&self, number: u64) -> Option<StoredPrediction> {
        let kept = self.get(number)?;
        Some(StoredPrediction {
            raw: kept.prediction.raw.clone(),
            truth: kept.truth.clone(),
            record: kept.record,
            number: Some(number),
        })
    }

    fn stored_label(&self, id: &str) -> Option<StoredLabel> {
        let label = self.labels.get(id)?;
        Some(StoredLabel {
            id: id.to_owned(),
            class: label.class.clone(),
            timestamp: label.timestamp,
            is_joined: label.is_joined,
            record: label.record,
            number: Some(label.number),
        })
    }

    /// Restores the predictions and labels from the stored form.
    #[must_use]
    pub fn restore(bounds: Bounds, schema: &Schema, stored: StoredJoin) -> Self {
        let mut join = Self::new(bounds);
        join.first = stored.first;
        join.clock = StreamClock::restore(bounds.window_ms, stored.clock);
        for stored in stored.predictions {
            // A stored prediction could be read before it was stored, so this fails only if the schema has changed.
            match Prediction::read(schema, stored.raw) {
                Ok(prediction) => join.insert_prediction(Kept {
                    prediction,
                    truth: stored.truth,
                    record: stored.record,
                }),
                Err(_) => join.first += 1,
            }
        }
        for stored in stored.labels {
            let label = Label {
                class: stored.class,
                timestamp: stored.timestamp,
                is_joined: stored.is_joined,
                record: stored.record,
                number: stored.number.unwrap_or(join.next_label),
            };
            join.insert_label(stored.id, label);
        }
        join.next_label = join.next_label.max(stored.next_label);
        join.expired = stored.expired;
        join
    }
}
