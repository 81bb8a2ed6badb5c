//! Reads topics without joining a consumer group: nothing is committed, and no group is affected.

pub(crate) mod client;
pub(crate) mod ends;
pub(crate) mod error;
pub(crate) mod group_offsets;
pub(crate) mod newest;
pub(crate) mod progress;
pub(crate) mod reader;
pub(crate) mod source;
pub(crate) mod stored;
pub(crate) mod tail;
pub(crate) mod to_end;
pub(crate) mod watcher;
