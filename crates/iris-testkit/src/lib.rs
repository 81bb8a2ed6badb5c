//! Real brokers, real databases and the real binaries, for tests, the demo and the end-to-end check.
//!
//! [`Broker`] finds or starts an Apache Kafka; [`Fixture`] gives a test topics, settings and a folder of its own;
//! [`Running`] is a service's process. Nothing here ships, and nothing here stands in for the real thing.

mod broker;
mod fixture;
mod local;
mod running;
mod wait;

pub use broker::Broker;
pub use fixture::{Ended, Fixture, POSTGRES_VARIABLE, binary, dataset};
pub use local::{Local, Server, free_port, workspace};
pub use running::Running;
pub use wait::eventually;
