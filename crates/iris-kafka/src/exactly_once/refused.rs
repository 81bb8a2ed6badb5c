//! Which errors of a produce request are a verdict on the record, and which concern the broker, a permission or the
//! transaction.

use rdkafka::error::RDKafkaErrorCode as Code;

/// Why a topic refuses a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is larger than the topic or the client accepts.
    Size,
    /// Its timestamp is outside the range that the topic accepts.
    Timestamp,
    /// Its content breaks another rule of the topic, for example that it must have a key.
    Content,
    /// The broker does not say. It may be the record, or a temporary problem.
    Unexplained,
}

impl Cause {
    /// Classifies the error of a produce request. `None` if it is no verdict on the record: a retry of the transaction is the
    /// only remedy, and the record is not to blame.
    pub(crate) fn of(code: Code) -> Option<Self> {
        match code {
            // Larger than `max.message.bytes` of the topic, `segment.bytes` of the topic, or `message.max.bytes` of the
            // client. The limits apply to a batch, so another record may be the cause.
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                Some(Self::Size)
            }
            // `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
            Code::InvalidTimestamp => Some(Self::Timestamp),
            // A compacted topic and no key, a schema that the broker validates, a rule of a proxy.
            Code::InvalidRecord | Code::PolicyViolation => Some(Self::Content),
            // An exception in the broker, a request that it cannot read, or an argument that the client refuses.
            Code::Unknown | Code::InvalidRequest | Code::InvalidArgument => Some(Self::Unexplained),
            // Everything else: another record of the batch (`InvalidDifferentRecord`); bytes damaged on the way, which the
            // client sends again (`InvalidMessage`); the topic as a whole (`UnknownTopicOrPartition`, `InvalidTopic`,
            // `UnsupportedForMessageFormat`); the client's settings (`InvalidRequiredAcks`, `UnsupportedCompressionType`);
            // permissions (`…AuthorizationFailed`); the broker (`NotEnoughReplicas`, `KafkaStorageError`, timeouts,
            // quotas); the transaction (`InvalidProducerEpoch`, `OutOfOrderSequenceNumber`, `PurgeQueue`).
            _ => None,
        }
    }
}

/// A record that a topic refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The topic.
    pub topic: String,
    /// Why it refused the record.
    pub cause: Cause,
    /// The error, with the settings that may be its reason.
    pub error: String,
}

impl Refused {
    /// Returns the refusal with this error; `None` if the error is no verdict on the record.
    ///
    /// The broker's own text is not used: librdkafka frees it before the delivery report is read.
    pub(crate) fn of(topic: &str, code: Code) -> Option<Self> {
        let cause = Cause::of(code)?;
        let rule = match cause {
            Cause::Size => ", see max.message.bytes of the topic",
            Cause::Timestamp => {
                ", see message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic"
            }
            Cause::Content => {
                ", for example because the topic is compacted and the record has no key"
            }
            Cause::Unexplained => "",
        };
        Some(Self {
            topic: topic.to_owned(),
            cause,
            error: format!("{code}{rule}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    /// The codes that are a verdict on the record. All others are not.
    const VERDICTS: [(Code, Cause); 9] = [
        (Code::MessageSizeTooLarge, Cause::Size),
        (Code::MessageBatchTooLarge, Cause::Size),
        (Code::InvalidMessageSize, Cause::Size),
        (Code::InvalidTimestamp, Cause::Timestamp),
        (Code::InvalidRecord, Cause::Content),
        (Code::PolicyViolation, Cause::Content),
        (Code::Unknown, Cause::Unexplained),
        (Code::InvalidRequest, Cause::Unexplained),
        (Code::InvalidArgument, Cause::Unexplained),
    ];

    #[test]
    fn every_code_is_a_verdict_on_the_record_or_not() {
        for code in (-200..200).filter_map(|code| RDKafkaRespErr::try_from(code).ok()) {
            let code = Code::from(code);
            let expected = VERDICTS.iter().find(|(verdict, _)| *verdict == code);
            assert_eq!(Cause::of(code), expected.map(|&(_, cause)| cause), "{code}");
        }
    }

    #[test]
    fn the_error_names_the_code_and_the_settings_of_the_topic() {
        let error = |code| Refused::of("t", code).map(|refused| refused.error);
        assert_eq!(
            error(Code::InvalidTimestamp).unwrap(),
            "InvalidTimestamp (Broker: Invalid timestamp), see message.timestamp.before.max.ms and \
             message.timestamp.after.max.ms of the topic"
        );
        assert_eq!(
            error(Code::Unknown).unwrap(),
            "Unknown (Unknown broker error)"
        );
        assert_eq!(error(Code::NotEnoughReplicas), None);
    }
}
