//! Proof that a consumer is still a member of its group.
//!
//! A broker refuses offsets of an unknown member and of an old generation. It accepts a transaction's offsets without a check
//! if they name neither. librdkafka forgets its generation when a broker rejects it as old, and its member id when it learns
//! that the group has removed it; the application learns both only when it polls. A process that has lost both, for example
//! because it was frozen after its generation had ended, could therefore commit offsets that another member has already
//! committed. Such a consumer gets no proof here.
//!
//! rust-rdkafka exposes neither the member id nor the contents of the group metadata, so librdkafka is called directly.
#![allow(unsafe_code)]

use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata};

use crate::defence::Defence;
use crate::sys::values::text;

/// The group has removed this consumer, and its partitions may belong to another member. The application learns this at its next
/// poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the group has removed this consumer; its partitions may already belong to another member")]
pub(crate) struct NotAMember;

/// Returns the group metadata of a consumer that has subscribed and is a member.
///
/// The metadata is read before the member id. While partitions are assigned, the id can be lost between the two, but not
/// replaced: the group assigns a new one only after the application has agreed to the revocation of its partitions.
///
/// # Errors
/// [`NotAMember`] if the consumer is not a member.
pub(crate) fn of_member<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
) -> Result<ConsumerGroupMetadata, NotAMember> {
    let metadata = consumer.group_metadata().ok_or(NotAMember)?;
    if has_member_id(consumer) || !Defence::Membership.is_on() {
        Ok(metadata)
    } else {
        Err(NotAMember)
    }
}

fn has_member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as `consumer` is borrowed.
    let member_id = unsafe { rd_kafka_memberid(client) };
    // SAFETY: librdkafka returned null or a terminated string that this function owns.
    let is_member = unsafe { text(member_id) }.is_some_and(|id| !id.is_empty());
    // SAFETY: it is null or freed once, by the allocator that made it, and not used afterwards.
    unsafe { rd_kafka_mem_free(client, member_id.cast()) };
    is_member
}
