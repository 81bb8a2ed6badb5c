//! The stored form of the join. The names in its JSON are a wire format: a state that an earlier version of the program wrote
//! is read again.

use iris_core::Schema;
use serde::{Deserialize, Serialize};

use super::{Bounds, Expired, Join, Kept, Label};
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
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredLabel {
    id: String,
    class: String,
    timestamp: i64,
    has_met: bool,
    #[serde(default)]
    record: u64,
}

/// The stored form of [`Join`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredJoin {
    first: u64,
    predictions: Vec<StoredPrediction>,
    labels: Vec<StoredLabel>,
    expired: Expired,
    clock: StoredClock,
}

impl Join {
    /// Returns the stored form.
    #[must_use]
    pub fn store(&self) -> StoredJoin {
        let in_order = self.labels_in_order.values();
        let label = |id: &String| {
            let label = self.labels.get(id)?;
            Some(StoredLabel {
                id: id.clone(),
                class: label.class.clone(),
                timestamp: label.timestamp,
                has_met: label.has_met,
                record: label.record,
            })
        };
        StoredJoin {
            first: self.first,
            predictions: self
                .predictions
                .iter()
                .map(|kept| StoredPrediction {
                    raw: kept.prediction.raw.clone(),
                    truth: kept.truth.clone(),
                    record: kept.record,
                })
                .collect(),
            labels: in_order.filter_map(label).collect(),
            expired: self.expired,
            clock: self.clock.store(),
        }
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
                Ok(prediction) => join.keep(Kept {
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
                has_met: stored.has_met,
                record: stored.record,
                number: join.next_label,
            };
            join.know(stored.id, label);
        }
        join.expired = stored.expired;
        join
    }
}
