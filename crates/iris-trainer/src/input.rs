//! The trainer's input: turns Kafka records into predictions and labels.

use iris_contract::label::KeyMistake;
use iris_contract::{LabelRecord, PredictionRecord, Rejection};
use iris_core::Schema;
use iris_kafka::PartitionOffset;

use crate::learner::Learner;
use crate::merge::Topic;
use crate::observation::{Prediction, RawPrediction, Unusable};
use crate::sampling::{Purpose, is_id_in_sample};

/// The parts of a Kafka record that the trainer uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raw<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// In milliseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// The provenance header's value.
    pub(crate) provenance: Option<&'a [u8]>,
}

/// A record of one of the trainer's topics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// A prediction whose value has not been parsed yet.
    Prediction(RawPrediction),
    /// A label and its timestamp.
    Label(LabelRecord, i64),
    /// A prediction that is not in the sample. Nothing but its id has been read.
    LeftOut,
    /// A record that cannot be used.
    Unusable(Unusable),
}

impl Input {
    /// Reads a record of a topic, of predictions only those in a sample of this ratio.
    pub(crate) fn read(topic: Topic, schema: &Schema, ratio: f64, raw: Raw<'_>) -> Self {
        let read = match topic {
            Topic::Predictions if is_left_out(schema, ratio, &raw) => Ok(Self::LeftOut),
            Topic::Labels => LabelRecord::read(schema, raw.key, raw.value)
                .map(|label| Self::Label(label, raw.timestamp))
                .map_err(Unusable::from),
            Topic::Predictions => prediction(raw)
                .map(Self::Prediction)
                .map_err(Unusable::from),
        };
        read.unwrap_or_else(Self::Unusable)
    }

    /// Whether the record counts as read. A prediction does even if its value turns out to be unusable.
    pub(crate) fn is_read(&self) -> bool {
        !matches!(self, Self::Unusable(_))
    }

    /// Returns the likely mistake in a label's key; `None` if there is none.
    pub(crate) fn key_mistake(&self) -> Option<KeyMistake> {
        match self {
            Self::Label(label, _) => KeyMistake::of(&label.id),
            _ => None,
        }
    }

    /// Passes the record to the learner, if it is in a sample of this ratio, chosen by id. Returns whether it is.
    ///
    /// # Errors
    /// [`Unusable`] if it cannot be used; the learner is then unchanged.
    pub(crate) fn apply(
        self,
        schema: &Schema,
        ratio: f64,
        learner: &mut Learner,
    ) -> Result<bool, Unusable> {
        match self {
            Self::LeftOut => Ok(false),
            Self::Prediction(raw) => {
                let prediction = Prediction::read(schema, raw)?;
                let is_taken = is_taken(&prediction.id, prediction.raw.place, ratio);
                if is_taken {
                    learner.predicted(prediction);
                }
                Ok(is_taken)
            }
            Self::Label(label, timestamp) => {
                // A label without an id is unusable.
                let is_taken = is_taken(&label.id, PartitionOffset::new(0, 0), ratio);
                if is_taken {
                    learner.labelled(label, timestamp);
                }
                Ok(is_taken)
            }
            Self::Unusable(why) => Err(why),
        }
    }
}

/// Whether a record is in the sample that is taken while the stream is faster than the trainer.
fn is_taken(id: &str, place: PartitionOffset, ratio: f64) -> bool {
    ratio >= 1.0 || is_id_in_sample(Purpose::Overload, id, place, ratio)
}

/// Whether a prediction is not in the sample. One whose id cannot be read is, so that the reason is found.
fn is_left_out(schema: &Schema, ratio: f64, raw: &Raw<'_>) -> bool {
    let Some(value) = raw.value.filter(|_| ratio < 1.0) else {
        return false;
    };
    let place = PartitionOffset::new(raw.partition, raw.offset);
    PredictionRecord::read_id(schema, value)
        .is_ok_and(|id| !is_taken(id.as_deref().unwrap_or_default(), place, ratio))
}

/// Returns a prediction whose value is text, not parsed.
fn prediction(raw: Raw<'_>) -> Result<RawPrediction, Rejection> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
    let value = text(raw.value.ok_or(Rejection::NoValue)?);
    Ok(RawPrediction {
        place: PartitionOffset::new(raw.partition, raw.offset),
        timestamp: raw.timestamp,
        key: raw.key.and_then(|key| text(key).ok()),
        value: value.map_err(|error| Rejection::NotJson(error.to_string()))?,
        provenance: raw.provenance.and_then(|header| text(header).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{learner, raw_prediction, schema};
    use crate::learner::Due;
    use crate::verdict::TrainingCause;

    fn read(topic: Topic, key: Option<&str>, value: Option<&[u8]>) -> Input {
        let raw = Raw {
            partition: 3,
            offset: 7,
            timestamp: 1_000,
            key: key.map(str::as_bytes),
            value,
            provenance: Some(b"00-e01454b61de2d075-2-14-0.1"),
        };
        Input::read(topic, &schema(), 1.0, raw)
    }

    #[test]
    fn a_prediction_keeps_its_place_timestamp_key_and_provenance() {
        let read = read(Topic::Predictions, Some("k"), Some(b"{}"));
        let expected = RawPrediction {
            place: PartitionOffset {
                partition: 3,
                offset: 7,
            },
            timestamp: 1_000,
            key: Some("k".to_owned()),
            value: "{}".to_owned(),
            provenance: Some("00-e01454b61de2d075-2-14-0.1".to_owned()),
        };
        assert_eq!(read, Input::Prediction(expected));
    }

    #[test]
    fn the_topic_determines_whether_a_record_is_a_label() {
        let value = Some(&b"{\"Species\":\"a\"}"[..]);
        let label = |label: Option<&str>| {
            let (id, label) = ("7".to_owned(), label.map(str::to_owned));
            Input::Label(LabelRecord { id, label }, 1_000)
        };
        assert_eq!(read(Topic::Labels, Some("7"), value), label(Some("a")));
        assert_eq!(
            read(Topic::Labels, Some("7"), None),
            label(None),
            "a null withdraws the label"
        );
        let prediction = read(Topic::Predictions, Some("7"), value);
        assert!(matches!(prediction, Input::Prediction(_)));
    }

    #[test]
    fn an_unusable_record_has_a_reason_and_changes_nothing() {
        let no_text = || read(Topic::Predictions, None, Some(b"\xff"));
        let no_value = || read(Topic::Predictions, None, None);
        let no_key = || read(Topic::Labels, None, Some(b"{\"Species\":\"a\"}"));
        let binary_key = || read(Topic::Labels, Some("\0\0\0\u{3}"), None);
        let no_label = || read(Topic::Labels, Some("7"), Some(b"{}"));
        let no_feature = || {
            read(
                Topic::Predictions,
                None,
                Some(b"{\"PredictedSpecies\":\"a\"}"),
            )
        };
        for (input, is_read, why) in [
            (no_text(), false, "not JSON: invalid utf-8"),
            (no_value(), false, "the record has no value"),
            (no_key(), false, "it has no key"),
            (binary_key(), false, "the key is 4 bytes that are not text"),
            (no_label(), false, "the field `Species` is missing"),
            (no_feature(), true, "the field `x` is missing"),
        ] {
            let mut learner = learner(|_| ());
            assert_eq!(input.is_read(), is_read, "{input:?}");
            let before = learner.state();
            let refused = input.apply(&schema(), 1.0, &mut learner).unwrap_err();
            let is_binary = refused.reason() == "key_not_text";
            assert_eq!(refused.kind().contains("4-byte integer"), is_binary);
            assert!(refused.to_string().starts_with(why), "{refused}");
            assert_eq!(learner.state(), before);
        }
    }

    #[test]
    fn only_labels_have_keys_with_likely_mistakes() {
        let key = Some("\"7\"");
        let label = read(Topic::Labels, key, None);
        assert_eq!(label.key_mistake(), Some(KeyMistake::Quoted));
        assert_eq!(read(Topic::Labels, Some("7"), None).key_mistake(), None);
        let prediction = read(Topic::Predictions, key, Some(b"{}"));
        assert_eq!(prediction.key_mistake(), None);
    }

    #[test]
    fn a_sample_has_the_predictions_and_labels_of_the_same_ids() {
        let mut learner = learner(|_| ());
        let mut taken = [0; 3];
        for offset in 0..1_000 {
            let prediction = Input::Prediction(raw_prediction(&learner, offset, 1.0, None));
            let (id, label) = (offset.to_string(), Some("a".to_owned()));
            let label = Input::Label(LabelRecord { id, label }, offset);
            let inputs = [prediction, label];
            let is_taken = inputs.map(|input| input.apply(&schema(), 0.25, &mut learner).unwrap());
            taken[0] += u32::from(is_taken[0]);
            taken[1] += u32::from(is_taken[1]);
            taken[2] += u32::from(is_taken == [true, true]);
        }
        let [predictions, labels, both] = taken;
        assert!((200..300).contains(&both), "{both}");
        assert_eq!((predictions, labels), (both, both));
        let joined = learner.evaluation().figures().total.scores.records;
        assert_eq!(joined, u64::from(both));
    }

    #[test]
    fn a_prediction_that_is_left_out_is_the_same_before_and_after_it_is_parsed() {
        let mut learner = learner(|_| ());
        let mut left_out = 0;
        for offset in 0..1_000 {
            let prediction = raw_prediction(&learner, offset, 1.0, None);
            let raw = Raw {
                offset,
                value: Some(prediction.value.as_bytes()),
                ..Raw::default()
            };
            let read = |ratio| Input::read(Topic::Predictions, &schema(), ratio, raw);
            let is_left_out = read(0.25) == Input::LeftOut;
            let is_taken = read(1.0).apply(&schema(), 0.25, &mut learner).unwrap();
            assert_eq!(is_left_out, !is_taken, "{}", prediction.value);
            left_out += u32::from(is_left_out);
        }
        assert!((700..800).contains(&left_out), "{left_out}");
        for value in [b"{".as_slice(), b"[]", b"\xff"] {
            let raw = Raw {
                value: Some(value),
                ..Raw::default()
            };
            let read = Input::read(Topic::Predictions, &schema(), 0.0, raw);
            assert!(read != Input::LeftOut, "{read:?}");
        }
    }

    #[test]
    fn predictions_and_labels_reach_the_learner() {
        let mut learner = learner(|_| ());
        for offset in 0..3 {
            let prediction = raw_prediction(&learner, offset, 1.0, None);
            let input = Input::Prediction(prediction);
            input.apply(&schema(), 1.0, &mut learner).unwrap();
        }
        assert_eq!(learner.due(true), None, "the predictions have no label");
        for id in ["0", "1", "2"] {
            let label = LabelRecord {
                id: id.to_owned(),
                label: Some("a".to_owned()),
            };
            let input = Input::Label(label, 10);
            input.apply(&schema(), 1.0, &mut learner).unwrap();
        }
        let due = Due::Training(TrainingCause::EnoughRows);
        assert_eq!(learner.due(false), Some(due));
        assert_eq!(learner.feedback_len(), 3);
    }
}
