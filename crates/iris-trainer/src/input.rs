//! What a record that was read is to the trainer.

use iris_core::Schema;

use crate::learner::Learner;
use crate::merge::Topic;
use crate::observation::{Announced, Place, Prediction, Said, Unusable};

/// What is read of a record.
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

/// A record that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// A prediction, yet to be understood.
    Prediction(Announced),
    /// A label that comes by itself, and its timestamp.
    Label(Said, i64),
    /// Neither.
    Unusable(Unusable),
}

impl Input {
    /// Reads a record of a topic.
    pub(crate) fn read(topic: Topic, schema: &Schema, raw: Raw<'_>) -> Self {
        match topic {
            Topic::Labels => match Said::read(schema, raw.key, raw.value) {
                Ok(said) => Self::Label(said, raw.timestamp),
                Err(why) => Self::Unusable(why),
            },
            Topic::Predictions => Self::prediction(raw),
        }
    }

    fn prediction(raw: Raw<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let Some(value) = raw.value.and_then(text) else {
            return Self::Unusable(Unusable::NotAnObject("it is not text".to_owned()));
        };
        Self::Prediction(Announced {
            place: Place {
                partition: raw.partition,
                offset: raw.offset,
            },
            timestamp: raw.timestamp,
            key: raw.key.and_then(text),
            value,
            provenance: raw.provenance.and_then(text),
        })
    }

    /// Whether it counts as read, usable or not in the end.
    pub(crate) fn is_read(&self) -> bool {
        !matches!(self, Self::Unusable(_))
    }

    /// Has the learner take it in.
    ///
    /// # Errors
    /// [`Unusable`] if it means nothing; then the learner is as it was.
    pub(crate) fn teach(self, schema: &Schema, learner: &mut Learner) -> Result<(), Unusable> {
        match self {
            Self::Prediction(announced) => learner.predicted(Prediction::read(schema, announced)?),
            Self::Label(said, timestamp) => learner.said(said, timestamp),
            Self::Unusable(why) => return Err(why),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{announced, learner, schema};
    use crate::learner::Due;

    fn read(topic: Topic, key: Option<&str>, value: Option<&[u8]>) -> Input {
        let raw = Raw {
            partition: 3,
            offset: 7,
            timestamp: 1_000,
            key: key.map(str::as_bytes),
            value,
            provenance: Some(b"00-e01454b61de2d075-2-14-0.1"),
        };
        Input::read(topic, &schema(), raw)
    }

    #[test]
    fn a_prediction_keeps_its_place_time_key_and_provenance() {
        let read = read(Topic::Predictions, Some("k"), Some(b"{}"));
        let expected = Announced {
            place: Place {
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
    fn the_topic_says_whether_a_record_is_a_label() {
        let value = Some(&b"{\"Species\":\"a\"}"[..]);
        let label = |label: Option<&str>| {
            let (id, label) = ("7".to_owned(), label.map(str::to_owned));
            Input::Label(Said { id, label }, 1_000)
        };
        assert_eq!(read(Topic::Labels, Some("7"), value), label(Some("a")));
        assert_eq!(
            read(Topic::Labels, Some("7"), None),
            label(None),
            "a null withdraws"
        );
        let prediction = read(Topic::Predictions, Some("7"), value);
        assert!(matches!(prediction, Input::Prediction(_)));
    }

    #[test]
    fn what_means_nothing_says_why_and_teaches_nothing() {
        let no_text = || read(Topic::Predictions, None, Some(b"\xff"));
        let no_value = || read(Topic::Predictions, None, None);
        let no_key = || read(Topic::Labels, None, Some(b"{\"Species\":\"a\"}"));
        let no_label = || read(Topic::Labels, Some("7"), Some(b"{}"));
        let no_feature = || {
            read(
                Topic::Predictions,
                None,
                Some(b"{\"PredictedSpecies\":\"a\"}"),
            )
        };
        for (input, is_read, why) in [
            (no_text(), false, "it is not text"),
            (no_value(), false, "it is not text"),
            (no_key(), false, "it has no key"),
            (no_label(), false, "the field `Species` is missing"),
            (no_feature(), true, "the field `x` is missing"),
        ] {
            let mut learner = learner(|_| ());
            assert_eq!(input.is_read(), is_read, "{input:?}");
            let before = learner.store();
            let refused = input.teach(&schema(), &mut learner).unwrap_err();
            assert!(refused.to_string().starts_with(why), "{refused}");
            assert_eq!(learner.store(), before);
        }
    }

    #[test]
    fn predictions_and_labels_reach_the_learner() {
        let mut learner = learner(|_| ());
        for offset in 0..3 {
            let prediction = announced(&learner, offset, 1.0, None);
            let input = Input::Prediction(prediction);
            input.teach(&schema(), &mut learner).unwrap();
        }
        assert_eq!(learner.due(true), None, "nobody knows whether it was right");
        for id in ["0", "1", "2"] {
            let said = Said {
                id: id.to_owned(),
                label: Some("a".to_owned()),
            };
            let input = Input::Label(said, 10);
            input.teach(&schema(), &mut learner).unwrap();
        }
        let due = Due::Training("enough rows to learn");
        assert_eq!(learner.due(false), Some(due));
        assert_eq!(learner.feedback_len(), 3);
    }
}
