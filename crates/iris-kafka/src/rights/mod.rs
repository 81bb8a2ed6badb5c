//! The rights that a service's user lacks on the cluster.
//!
//! Brokers answer a request without the right for it with an error that names no right, and describe a topic that the user may
//! not see as one that does not exist. Most clients drop such errors and try again. So the rights on topics are asked for:
//! before the first record, every few seconds while the service runs, and after an error.

mod check;
pub(crate) mod missing;

pub use check::Rights;
pub use missing::{Denied, MissingRights};
