//! Real brokers, real databases and the real binaries, for tests, the demo and the end-to-end check.
//!
//! [`Broker`] finds or starts an Apache Kafka; [`Fixture`] gives a test topics, settings and a folder of its own;
//! [`Running`] is a service's process. Nothing here ships, and nothing here stands in for the real thing.

mod broker;
mod browser;
pub mod chaos;
mod cluster;
mod fixture;
mod http;
pub mod ledger;
mod local;
mod own_group;
mod proxy;
mod running;
mod stop_request;
pub mod swaps;
mod wait;

pub use broker::Broker;
pub use browser::Browser;
pub use cluster::{BROKERS, Cluster};
pub use fixture::{Ended, Fixture, POSTGRES_VARIABLE, binary, create_database, dataset, runtime};
pub use http::get;
pub use local::{Local, Server, free_port, workspace};
pub use proxy::{CommitFault, CommitFaults, GroupRequests, HeldRequest, Network, Proxy};
pub use running::Running;
pub use stop_request::StopRequest;
pub use wait::eventually;
