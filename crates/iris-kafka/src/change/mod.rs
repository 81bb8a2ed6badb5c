//! Topics that change while they are read: deleted, recreated, grown or truncated.
//!
//! | file | responsibility |
//! |---|---|
//! | `identity.rs` | the id of a topic, and the topic as a running client finds it |
//! | `describer.rs` | asks the cluster for ids and partitions |
//! | `gaps.rs` | finds records that were deleted before they were read |
//! | `lost.rs` | counts lost records |
//! | `start.rs` | finds the start of a partition's log |

pub(crate) mod describer;
pub(crate) mod gaps;
pub(crate) mod identity;
pub(crate) mod lost;
pub(crate) mod start;
