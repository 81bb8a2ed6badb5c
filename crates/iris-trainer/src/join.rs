//! Joins predictions with their ground truths, in any order.
//!
//! A label from the topic of labels is the ground truth of every record with its id. It takes precedence over the label that
//! came with the record, until it is withdrawn. Predictions and labels are kept up to a number and for a time; those that
//! expire before they are joined are counted.

use std::collections::{BTreeMap, VecDeque};

use iris_contract::LabelRecord;
use iris_core::Schema;
use serde::{Deserialize, Serialize};

use crate::observation::{Prediction, RawPrediction};

/// The limits of the predictions and labels that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum number of predictions, and of labels.
    pub records: usize,
    /// How long they are kept, in milliseconds, by the records' timestamps.
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

/// A prediction that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The prediction.
    pub prediction: Prediction,
    /// Its ground truth, if it is known.
    pub truth: Option<String>,
    /// The label under which it was learned, if it was learned.
    pub learned: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Label {
    class: String,
    timestamp: i64,
    has_met: bool,
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
    /// By number, in the order in which they came.
    predictions: VecDeque<Kept>,
    first: u64,
    by_id: BTreeMap<String, Vec<u64>>,
    labels: BTreeMap<String, Label>,
    labels_in_order: BTreeMap<u64, String>,
    next_label: u64,
    expired: Expired,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredPrediction {
    #[serde(rename = "announced")]
    raw: RawPrediction,
    truth: Option<String>,
    learned: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredLabel {
    id: String,
    class: String,
    timestamp: i64,
    has_met: bool,
}

/// The stored form of [`Join`]. The names in its JSON are a wire format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredJoin {
    first: u64,
    predictions: Vec<StoredPrediction>,
    labels: Vec<StoredLabel>,
    expired: Expired,
}

impl Join {
    /// Returns an empty join.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            predictions: VecDeque::new(),
            first: 0,
            by_id: BTreeMap::new(),
            labels: BTreeMap::new(),
            labels_in_order: BTreeMap::new(),
            next_label: 0,
            expired: Expired::default(),
        }
    }

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
                    learned: kept.learned.clone(),
                })
                .collect(),
            labels: in_order.filter_map(label).collect(),
            expired: self.expired,
        }
    }

    /// Restores the predictions and labels from the stored form.
    #[must_use]
    pub fn restore(bounds: Bounds, schema: &Schema, stored: StoredJoin) -> Self {
        let mut join = Self::new(bounds);
        join.first = stored.first;
        for stored in stored.predictions {
            // A stored prediction could be read before it was stored, so this fails only if the schema has changed.
            match Prediction::read(schema, stored.raw) {
                Ok(prediction) => join.keep(Kept {
                    prediction,
                    truth: stored.truth,
                    learned: stored.learned,
                }),
                Err(_) => join.first += 1,
            }
        }
        for stored in stored.labels {
            join.know(stored.id, stored.class, stored.timestamp, stored.has_met);
        }
        join.expired = stored.expired;
        join
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

    /// Sets the label under which a prediction was learned.
    pub fn note_learned(&mut self, number: u64, learned: Option<String>) {
        if let Some(kept) = self.get_mut(number) {
            kept.learned = learned;
        }
    }

    /// Returns the counts of predictions and labels that expired before they were joined.
    #[must_use]
    pub fn expired(&self) -> Expired {
        self.expired
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

    fn keep(&mut self, kept: Kept) {
        let number = self.first + self.predictions.len() as u64;
        let id = &kept.prediction.id;
        if !id.is_empty() {
            self.by_id.entry(id.clone()).or_default().push(number);
        }
        self.predictions.push_back(kept);
    }

    fn know(&mut self, id: String, class: String, timestamp: i64, has_met: bool) {
        self.forget(&id);
        let number = self.next_label;
        self.next_label += 1;
        self.labels_in_order.insert(number, id.clone());
        let label = Label {
            class,
            timestamp,
            has_met,
            number,
        };
        self.labels.insert(id, label);
    }

    fn forget(&mut self, id: &str) -> Option<Label> {
        let label = self.labels.remove(id)?;
        self.labels_in_order.remove(&label.number);
        Some(label)
    }

    /// Keeps a prediction. Returns the change to its ground truth, if that is known.
    pub fn predicted(&mut self, prediction: Prediction) -> Option<Change> {
        let now = prediction.raw.timestamp;
        let number = self.first + self.predictions.len() as u64;
        let known = self.labels.get_mut(&prediction.id).map(|label| {
            label.has_met = true;
            label.class.clone()
        });
        let after = known.or_else(|| prediction.own_label.clone());
        self.keep(Kept {
            prediction,
            truth: after.clone(),
            learned: None,
        });
        self.expire(now);
        after.map(|after| Change {
            number,
            before: None,
            after: Some(after),
        })
    }

    /// Takes in a label with its timestamp. Returns the predictions whose ground truth changes.
    pub fn labelled(&mut self, label: LabelRecord, timestamp: i64) -> Vec<Change> {
        let numbers = self.by_id.get(&label.id).cloned().unwrap_or_default();
        let earlier = self.forget(&label.id);
        let has_met =
            !numbers.is_empty() || earlier.as_ref().is_some_and(|earlier| earlier.has_met);
        let mut changes = Vec::new();
        for number in numbers {
            let Some(kept) = self.get_mut(number) else {
                continue;
            };
            let own = || kept.prediction.own_label.clone();
            let after = label.label.clone().or_else(own);
            let before = std::mem::replace(&mut kept.truth, after.clone());
            if before != after {
                changes.push(Change {
                    number,
                    before,
                    after,
                });
            }
        }
        if let Some(class) = label.label {
            self.know(label.id, class, timestamp, has_met);
        }
        self.expire(timestamp);
        changes
    }

    /// Drops predictions and labels that are too old or too many.
    fn expire(&mut self, now: i64) {
        let too_old = |timestamp: i64| now.saturating_sub(timestamp) > self.bounds.window_ms;
        while let Some(oldest) = self.predictions.front() {
            if self.predictions.len() <= self.bounds.records
                && !too_old(oldest.prediction.raw.timestamp)
            {
                break;
            }
            self.expired.predictions += u64::from(oldest.truth.is_none());
            if let Some(numbers) = self.by_id.get_mut(&oldest.prediction.id) {
                numbers.retain(|&number| number != self.first);
                if numbers.is_empty() {
                    self.by_id.remove(&oldest.prediction.id);
                }
            }
            self.predictions.pop_front();
            self.first += 1;
        }
        while let Some((&number, id)) = self.labels_in_order.first_key_value() {
            let label = self.labels.get(id);
            if self.labels.len() <= self.bounds.records
                && !label.is_some_and(|label| too_old(label.timestamp))
            {
                break;
            }
            self.expired.labels += u64::from(label.is_some_and(|label| !label.has_met));
            self.labels.remove(id);
            self.labels_in_order.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Evaluation;
    use iris_kafka::PartitionOffset;

    const BOUNDS: Bounds = Bounds {
        records: 1_000,
        window_ms: 1_000_000,
    };

    fn schema() -> Schema {
        Schema {
            features: vec!["x".into()],
            ..Schema::default()
        }
    }

    fn prediction(id: &str, predicted: &str, own_label: Option<&str>, offset: i64) -> Prediction {
        let label = own_label.map_or_else(|| "null".to_owned(), |label| format!("\"{label}\""));
        let value = format!(
            "{{\"Id\":\"{id}\",\"x\":1,\"Species\":{label},\"PredictedSpecies\":\"{predicted}\"}}"
        );
        let raw = RawPrediction {
            place: PartitionOffset {
                partition: 0,
                offset,
            },
            timestamp: offset,
            key: None,
            value,
            provenance: Some(format!("00-{:016x}-0-{offset}-5", offset % 3)),
        };
        Prediction::read(&schema(), raw).unwrap()
    }

    fn label(id: &str, label: Option<&str>) -> LabelRecord {
        LabelRecord {
            id: id.to_owned(),
            label: label.map(str::to_owned),
        }
    }

    fn truths(changes: &[Change]) -> Vec<(Option<&str>, Option<&str>)> {
        changes
            .iter()
            .map(|change| (change.before.as_deref(), change.after.as_deref()))
            .collect()
    }

    #[test]
    fn a_label_is_joined_whether_it_comes_before_or_after_the_prediction() {
        let mut join = Join::new(BOUNDS);
        assert_eq!(join.predicted(prediction("1", "a", None, 1)), None);
        let late = join.labelled(label("1", Some("a")), 2);
        assert_eq!(truths(&late), [(None, Some("a"))]);
        assert!(join.labelled(label("2", Some("b")), 3).is_empty());
        let early = join.predicted(prediction("2", "a", None, 4)).unwrap();
        assert_eq!(truths(&[early]), [(None, Some("b"))]);
    }

    #[test]
    fn a_label_can_be_corrected_and_withdrawn() {
        let mut join = Join::new(BOUNDS);
        join.predicted(prediction("1", "a", Some("a"), 1));
        let mut change = |class| {
            let changes = join.labelled(label("1", class), 2);
            truths(&changes)
                .iter()
                .map(|(before, after)| format!("{before:?} {after:?}"))
                .collect::<Vec<_>>()
                .join("")
        };
        assert_eq!(change(Some("a")), "");
        assert_eq!(change(Some("b")), "Some(\"a\") Some(\"b\")");
        assert_eq!(change(Some("c")), "Some(\"b\") Some(\"c\")");
        assert_eq!(change(None), "Some(\"c\") Some(\"a\")");
        assert_eq!(change(None), "");
    }

    #[test]
    fn predictions_and_labels_that_expire_unjoined_are_counted() {
        let bounds = Bounds {
            records: 2,
            window_ms: 10,
        };
        let mut join = Join::new(bounds);
        for offset in 0..4 {
            let label = (offset == 1).then_some("a");
            join.predicted(prediction(&offset.to_string(), "a", label, offset));
        }
        // 0 and 1 have expired; 1 had its label.
        assert_eq!((join.len(), join.expired().predictions), (2, 1));
        join.labelled(label("9", Some("a")), 4);
        join.labelled(label("3", Some("a")), 5);
        assert_eq!(join.len(), 2);
        join.labelled(label("3", Some("b")), 40);
        assert!(join.is_empty());
        join.predicted(prediction("40", "a", None, 40));
        assert_eq!(join.len(), 1);
        let expired = Expired {
            predictions: 2,
            labels: 1,
        };
        assert_eq!(join.expired(), expired);
    }

    #[test]
    fn a_ground_truth_stays_known_after_its_label_expired() {
        let bounds = Bounds {
            records: 1,
            ..BOUNDS
        };
        let mut join = Join::new(bounds);
        join.predicted(prediction("1", "a", None, 1));
        join.labelled(label("1", Some("b")), 2);
        join.labelled(label("2", Some("b")), 3);
        let changes = join.labelled(label("1", Some("c")), 4);
        assert_eq!(truths(&changes), [(Some("b"), Some("c"))]);
    }

    #[test]
    fn the_stored_form_restores_the_join() {
        let mut join = Join::new(BOUNDS);
        for offset in 0..20 {
            let id = (offset % 7).to_string();
            join.predicted(prediction(&id, "a", None, offset));
            join.labelled(label(&(offset % 5).to_string(), Some("b")), offset);
        }
        join.note_learned(3, Some("b".into()));
        let json = serde_json::to_string(&join.store()).unwrap();
        let mut again = Join::restore(BOUNDS, &schema(), serde_json::from_str(&json).unwrap());
        assert_eq!(again.store(), join.store());
        assert_eq!(
            again.labelled(label("3", Some("c")), 30),
            join.labelled(label("3", Some("c")), 30)
        );
    }

    /// An event of one record.
    #[derive(Clone)]
    enum Event {
        Predicted(Prediction),
        Labelled(LabelRecord),
    }

    /// Streams of records, labels, corrections and withdrawals. The labels of one id keep their order, as in a partition;
    /// everything else is in random order.
    fn events(random: &mut fastrand::Rng) -> Vec<Event> {
        let classes = ["a", "b", "c"];
        let mut queues: Vec<VecDeque<Event>> = Vec::new();
        let mut offset = 0;
        for id in 0..60 {
            let id = id.to_string();
            for _ in 0..random.usize(0..3) {
                let own = random.bool().then(|| classes[random.usize(..3)]);
                let predicted = classes[random.usize(..3)];
                let prediction = prediction(&id, predicted, own, offset);
                queues.push([Event::Predicted(prediction)].into());
                offset += 1;
            }
            let mut labels = VecDeque::new();
            for _ in 0..random.usize(0..4) {
                let class = (random.u8(..4) > 0).then(|| classes[random.usize(..3)]);
                labels.push_back(Event::Labelled(label(&id, class)));
            }
            queues.push(labels);
        }
        let mut events = Vec::new();
        while !queues.is_empty() {
            let queue = random.usize(..queues.len());
            match queues[queue].pop_front() {
                Some(event) => events.push(event),
                None => drop(queues.swap_remove(queue)),
            }
        }
        events
    }

    /// Returns the same counts, from all events at once.
    fn batch(events: &[Event]) -> BTreeMap<(String, String, String), u64> {
        let mut latest = BTreeMap::new();
        for event in events {
            if let Event::Labelled(label) = event {
                latest.insert(label.id.clone(), label.label.clone());
            }
        }
        let mut counts = BTreeMap::new();
        for event in events {
            if let Event::Predicted(prediction) = event {
                let label = latest.get(&prediction.id).cloned().flatten();
                if let Some(truth) = label.or_else(|| prediction.own_label.clone()) {
                    let version = prediction.version.unwrap().to_string();
                    let cell = (version, truth, prediction.predicted.clone());
                    *counts.entry(cell).or_default() += 1;
                }
            }
        }
        counts
    }

    #[test]
    fn counts_in_any_order_equal_those_of_a_batch() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let events = events(&mut random);
            let (mut join, mut evaluation) = (Join::new(BOUNDS), Evaluation::default());
            for event in events.clone() {
                let changes = match event {
                    Event::Predicted(prediction) => {
                        join.predicted(prediction).into_iter().collect()
                    }
                    Event::Labelled(label) => join.labelled(label, 50),
                };
                for change in changes {
                    let Prediction {
                        version, predicted, ..
                    } = &join.get(change.number).unwrap().prediction;
                    if let Some(before) = &change.before {
                        evaluation.remove(*version, before, predicted);
                    }
                    if let Some(after) = &change.after {
                        evaluation.add(*version, after, predicted);
                    }
                }
            }
            let streamed: BTreeMap<(String, String, String), u64> = evaluation
                .versions()
                .flat_map(|(version, confusion)| {
                    confusion.cells().map(move |(truth, predicted, count)| {
                        let version = version.unwrap().to_string();
                        ((version, truth.to_owned(), predicted.to_owned()), count)
                    })
                })
                .collect();
            assert!(!streamed.is_empty());
            assert_eq!(streamed, batch(&events), "seed {seed}");
        }
    }
}
