//! Reading a topic without a consumer group.

pub(crate) mod reader;
pub(crate) mod tail;
