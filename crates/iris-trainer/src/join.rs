//! Predictions and their ground truths, joined whichever comes first.
//!
//! What the topic of labels says of an id is the truth of every record with that id, before the label that came with the
//! record; a withdrawal takes it back. What is kept to be joined is bounded by number and by time, and what leaves before
//! it was joined is counted.

use std::collections::{BTreeMap, VecDeque};

use iris_core::Schema;
use serde::{Deserialize, Serialize};

use crate::observation::{Announced, Prediction, Said};

/// How much is kept to be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Predictions, and as many labels.
    pub records: usize,
    /// Milliseconds, by the records' timestamps.
    pub window_ms: i64,
}

/// What left before it was joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Predictions that got no label.
    pub predictions: u64,
    /// Labels whose record was never predicted.
    pub labels: u64,
}

/// A prediction that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The prediction.
    pub prediction: Prediction,
    /// Its ground truth, as far as is known.
    pub truth: Option<String>,
    /// The label under which it was learned, if it was.
    pub learned: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Label {
    class: String,
    timestamp: i64,
    has_met: bool,
    number: u64,
}

/// A prediction whose ground truth has become known, or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The prediction, by the number under which it is kept.
    pub number: u64,
    /// The ground truth until now.
    pub before: Option<String>,
    /// The ground truth from now on; `None` if it was withdrawn.
    pub after: Option<String>,
}

/// What is kept to be joined.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    bounds: Bounds,
    /// By number, which counts up in the order in which they came.
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
    announced: Announced,
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

/// What is kept to be joined, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredJoin {
    first: u64,
    predictions: Vec<StoredPrediction>,
    labels: Vec<StoredLabel>,
    expired: Expired,
}

impl Join {
    /// Nothing is kept yet.
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

    /// What is kept, to be stored.
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
                    announced: kept.prediction.announced.clone(),
                    truth: kept.truth.clone(),
                    learned: kept.learned.clone(),
                })
                .collect(),
            labels: in_order.filter_map(label).collect(),
            expired: self.expired,
        }
    }

    /// What was stored, kept again.
    #[must_use]
    pub fn restore(bounds: Bounds, schema: &Schema, stored: StoredJoin) -> Self {
        let mut join = Self::new(bounds);
        join.first = stored.first;
        for stored in stored.predictions {
            // It was understood before it was stored, and so it is again, unless the schema is another.
            match Prediction::read(schema, stored.announced) {
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

    /// A prediction that is kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Kept> {
        let position = number.checked_sub(self.first)?;
        self.predictions.get(usize::try_from(position).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Kept> {
        let position = number.checked_sub(self.first)?;
        self.predictions.get_mut(usize::try_from(position).ok()?)
    }

    /// Notes under which label a prediction was learned.
    pub fn note_learned(&mut self, number: u64, learned: Option<String>) {
        if let Some(kept) = self.get_mut(number) {
            kept.learned = learned;
        }
    }

    /// What left before it was joined, so far.
    #[must_use]
    pub fn expired(&self) -> Expired {
        self.expired
    }

    /// How many predictions are kept.
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

    /// Keeps a prediction. Returns what is known of its ground truth, if anything is.
    pub fn predicted(&mut self, prediction: Prediction) -> Option<Change> {
        let now = prediction.announced.timestamp;
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

    /// Takes in what was said of an id, at a time. Returns the predictions whose ground truth changes by it.
    pub fn said(&mut self, said: Said, timestamp: i64) -> Vec<Change> {
        let numbers = self.by_id.get(&said.id).cloned().unwrap_or_default();
        let earlier = self.forget(&said.id);
        let has_met = !numbers.is_empty() || earlier.as_ref().is_some_and(|label| label.has_met);
        let mut changes = Vec::new();
        for number in numbers {
            let Some(kept) = self.get_mut(number) else {
                continue;
            };
            let own = || kept.prediction.own_label.clone();
            let after = said.label.clone().or_else(own);
            let before = std::mem::replace(&mut kept.truth, after.clone());
            if before != after {
                changes.push(Change {
                    number,
                    before,
                    after,
                });
            }
        }
        if let Some(class) = said.label {
            self.know(said.id, class, timestamp, has_met);
        }
        self.expire(timestamp);
        changes
    }

    /// Lets go of what is too old, or too much.
    fn expire(&mut self, now: i64) {
        let too_old = |timestamp: i64| now.saturating_sub(timestamp) > self.bounds.window_ms;
        while let Some(oldest) = self.predictions.front() {
            if self.predictions.len() <= self.bounds.records
                && !too_old(oldest.prediction.announced.timestamp)
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
    use crate::observation::Place;

    const ROOM: Bounds = Bounds {
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
        let announced = Announced {
            place: Place {
                partition: 0,
                offset,
            },
            timestamp: offset,
            key: None,
            value,
            provenance: Some(format!("00-{:016x}-0-{offset}-5", offset % 3)),
        };
        Prediction::read(&schema(), announced).unwrap()
    }

    fn said(id: &str, label: Option<&str>) -> Said {
        Said {
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
    fn a_label_joins_whether_it_comes_before_or_after() {
        let mut join = Join::new(ROOM);
        assert_eq!(join.predicted(prediction("1", "a", None, 1)), None);
        let late = join.said(said("1", Some("a")), 2);
        assert_eq!(truths(&late), [(None, Some("a"))]);
        assert!(join.said(said("2", Some("b")), 3).is_empty());
        let early = join.predicted(prediction("2", "a", None, 4)).unwrap();
        assert_eq!(truths(&[early]), [(None, Some("b"))]);
    }

    #[test]
    fn labels_are_corrected_and_withdrawn_back_to_the_records_own() {
        let mut join = Join::new(ROOM);
        join.predicted(prediction("1", "a", Some("a"), 1));
        let mut said = |label| {
            let changes = join.said(said("1", label), 2);
            truths(&changes)
                .iter()
                .map(|(before, after)| format!("{before:?} {after:?}"))
                .collect::<Vec<_>>()
                .join("")
        };
        assert_eq!(said(Some("a")), "");
        assert_eq!(said(Some("b")), "Some(\"a\") Some(\"b\")");
        assert_eq!(said(Some("c")), "Some(\"b\") Some(\"c\")");
        assert_eq!(said(None), "Some(\"c\") Some(\"a\")");
        assert_eq!(said(None), "");
    }

    #[test]
    fn what_leaves_before_it_was_joined_is_counted() {
        let bounds = Bounds {
            records: 2,
            window_ms: 10,
        };
        let mut join = Join::new(bounds);
        for offset in 0..4 {
            let label = (offset == 1).then_some("a");
            join.predicted(prediction(&offset.to_string(), "a", label, offset));
        }
        // 0 and 1 left; 1 had its label.
        assert_eq!((join.len(), join.expired().predictions), (2, 1));
        join.said(said("9", Some("a")), 4);
        join.said(said("3", Some("a")), 5);
        assert_eq!(join.len(), 2);
        join.said(said("3", Some("b")), 40);
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
    fn a_ground_truth_stays_known_when_its_label_has_left() {
        let bounds = Bounds { records: 1, ..ROOM };
        let mut join = Join::new(bounds);
        join.predicted(prediction("1", "a", None, 1));
        join.said(said("1", Some("b")), 2);
        join.said(said("2", Some("b")), 3);
        let changes = join.said(said("1", Some("c")), 4);
        assert_eq!(truths(&changes), [(Some("b"), Some("c"))]);
    }

    #[test]
    fn what_is_stored_is_kept_again() {
        let mut join = Join::new(ROOM);
        for offset in 0..20 {
            let id = (offset % 7).to_string();
            join.predicted(prediction(&id, "a", None, offset));
            join.said(said(&(offset % 5).to_string(), Some("b")), offset);
        }
        join.note_learned(3, Some("b".into()));
        let json = serde_json::to_string(&join.store()).unwrap();
        let mut again = Join::restore(ROOM, &schema(), serde_json::from_str(&json).unwrap());
        assert_eq!(again.store(), join.store());
        assert_eq!(
            again.said(said("3", Some("c")), 30),
            join.said(said("3", Some("c")), 30)
        );
    }

    /// What happened to one record: it was predicted, perhaps several times, and things were said of it, in this order.
    #[derive(Clone)]
    enum Event {
        Predicted(Prediction),
        Said(Said),
    }

    /// Streams of records, labels, corrections and withdrawals: the order of what is said of one id is the order in its
    /// partition; everything else may come in any order.
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
            let mut words = VecDeque::new();
            for _ in 0..random.usize(0..4) {
                let label = (random.u8(..4) > 0).then(|| classes[random.usize(..3)]);
                words.push_back(Event::Said(said(&id, label)));
            }
            queues.push(words);
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

    /// The same counts from all events at once.
    fn batch(events: &[Event]) -> BTreeMap<(String, String, String), u64> {
        let mut latest = BTreeMap::new();
        for event in events {
            if let Event::Said(said) = event {
                latest.insert(said.id.clone(), said.label.clone());
            }
        }
        let mut counts = BTreeMap::new();
        for event in events {
            if let Event::Predicted(prediction) = event {
                let said = latest.get(&prediction.id).cloned().flatten();
                if let Some(truth) = said.or_else(|| prediction.own_label.clone()) {
                    let version = prediction.version.unwrap().to_string();
                    let cell = (version, truth, prediction.predicted.clone());
                    *counts.entry(cell).or_default() += 1;
                }
            }
        }
        counts
    }

    #[test]
    fn in_any_order_the_counts_are_those_of_a_batch() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let events = events(&mut random);
            let (mut join, mut evaluation) = (Join::new(ROOM), Evaluation::default());
            for event in events.clone() {
                let changes = match event {
                    Event::Predicted(prediction) => {
                        join.predicted(prediction).into_iter().collect()
                    }
                    Event::Said(said) => join.said(said, 50),
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
