//! Proof that a consumer is still a member of its group.
//!
//! Brokers refuse offsets of a member that they do not know and of a generation that is past. But a transaction's offsets
//! that name neither are accepted without a check. librdkafka forgets its generation when it is told that it is past, and
//! its member id when it learns that it was dropped; the application hears of both only when it polls. So a process that
//! has forgotten both, for example because it was frozen after its generation had passed, could commit what another has
//! done meanwhile. Here such a consumer has no proof to give.
//!
//! rust-rdkafka shows neither the member id nor what is in its metadata, hence the call to librdkafka itself.
#![allow(unsafe_code)]

use std::ffi::CStr;

use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata};

use crate::consume::consumer::NotAMember;
use crate::defence::Defence;

/// The metadata of a consumer that has subscribed and is a member.
///
/// The metadata is taken first and the member id is looked at second. While partitions are assigned, the id can be
/// forgotten between the two but not given anew: that takes the application's consent to let the partitions go.
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
    if member_id.is_null() {
        return false;
    }
    // SAFETY: librdkafka gave a terminated string that is ours.
    let is_empty = unsafe { CStr::from_ptr(member_id) }.is_empty();
    // SAFETY: it is freed once, by the allocator that made it, and not used afterwards.
    unsafe { rd_kafka_mem_free(client, member_id.cast()) };
    !is_empty
}
