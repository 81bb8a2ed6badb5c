//! The records that a checkpoint's transaction writes besides the registry's.

use iris_contract::PROVENANCE_HEADER;
use iris_kafka::{Headers, OutgoingRecord};

use crate::observation::RawPrediction;

/// Returns a late feedback record. It keeps the partition, timestamp, key and provenance of its prediction.
pub(crate) fn late_feedback<'a>(topic: &'a str, feedback: &'a RawPrediction) -> OutgoingRecord<'a> {
    let headers = Headers::default();
    OutgoingRecord {
        topic,
        partition: Some(feedback.place.partition),
        timestamp: Some(feedback.timestamp),
        key: feedback.key.as_deref().map(str::as_bytes),
        value: Some(feedback.value.as_bytes()),
        headers: match &feedback.provenance {
            Some(provenance) => headers.set(PROVENANCE_HEADER, provenance),
            None => headers,
        },
    }
}

/// Returns a record of the trainer's state; without a value, it deletes the key.
pub(crate) fn state<'a>(
    topic: &'a str,
    key: &'a str,
    value: Option<&'a [u8]>,
) -> OutgoingRecord<'a> {
    OutgoingRecord {
        topic,
        partition: Some(0),
        timestamp: None,
        key: Some(key.as_bytes()),
        value,
        headers: Headers::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{learner, raw_prediction};

    #[test]
    fn late_feedback_keeps_the_partition_timestamp_key_and_value_of_its_prediction() {
        let mut feedback = raw_prediction(&learner(|_| ()), 7, 1.0, Some("a"));
        feedback.place.partition = 3;
        feedback.key = Some("k".to_owned());
        let record = late_feedback("feedback", &feedback);
        assert_eq!((record.topic, record.partition), ("feedback", Some(3)));
        assert_eq!(record.timestamp, Some(7));
        assert_eq!(record.key, Some(&b"k"[..]));
        assert_eq!(record.value, Some(feedback.value.as_bytes()));
    }

    #[test]
    fn the_state_is_in_one_partition() {
        let record = state("state", "head", Some(b"{}"));
        assert_eq!((record.topic, record.partition), ("state", Some(0)));
        assert_eq!(record.key, Some(&b"head"[..]));
        assert_eq!(record.value, Some(&b"{}"[..]));
    }
}
