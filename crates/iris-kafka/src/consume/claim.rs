//! The proof that records may be committed.

use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;

use crate::change::identity::TopicId;
use crate::sys::membership::NotAMember;

/// How long the request for the topic's id may take.
pub(crate) const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);

/// The proof that the records that a consumer has read so far may be committed.
pub(crate) struct Claim {
    /// Proof of membership in the group. Brokers refuse the offsets of a member that was replaced.
    pub(crate) group: Result<ConsumerGroupMetadata, NotAMember>,
    /// The id of the topic after the last record was read, or the reason why it is not known.
    pub(crate) topic: Result<Option<TopicId>, String>,
}
