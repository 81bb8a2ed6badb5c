//! The registry of models: which models there are, which one is the champion, and every decision with its reason.
//!
//! [`Registry`] is the state that the entries of the registry's topic add up to, and the decisions that it allows; it is bounded
//! as [`RegistrySettings`] and [`Retention`] say.
//! [`RegistryTopic`] reads the topic, [`Follower`] follows it, and [`RegistryWriter`] is the one who may write.
//!
//! Deliberately absent: the format of the entries (`iris_contract::registry`).

mod decisions;
mod error;
mod follower;
mod registered;
mod registry;
mod retention;
mod settings;
mod stored;
mod topic;
mod writer;

pub use error::{RegistryError, RegistryTopicError};
pub use follower::Follower;
pub use registered::Registered;
pub use registry::{Grounds, Recorded, Registry};
pub use retention::{MAX_DECISIONS, Pruned, Retention};
pub use settings::RegistrySettings;
pub use topic::RegistryTopic;
pub use writer::RegistryWriter;
