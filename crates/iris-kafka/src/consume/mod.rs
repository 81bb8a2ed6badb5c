//! Reading as a member of a consumer group.

pub(crate) mod consumer;
pub(crate) mod error;
pub(crate) mod lag;
mod misplaced;
mod reached;
pub(crate) mod rebalance;
mod removed;
pub(crate) mod stalled;
mod topic;
