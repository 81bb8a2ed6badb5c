//! Real brokers, real databases and the real binaries, for tests, the demos and benchmarks. Development only.
//!
//! [`Broker`] finds or starts an Apache Kafka, [`Cluster`] starts one whose brokers and connections can be disturbed;
//! [`Fixture`] gives a test its own topics, settings and directory; [`Running`] is a service's process. [`chaos`] runs the
//! pipeline under faults, and the [`ledger`] compares its output with its input.

mod broker;
mod browser;
mod certificates;
pub mod chaos;
mod cluster;
mod database;
mod fixture;
mod group_lag;
mod guarded;
mod http;
pub mod ledger;
mod local;
mod own_group;
mod proxy;
mod running;
mod runtime;
mod secure;
mod sending;
mod stop_request;
pub mod swaps;
mod wait;
mod workspace;

pub use broker::Broker;
pub use browser::Browser;
pub use certificates::{Authority, Issued};
pub use cluster::{BROKERS, Cluster};
pub use database::{POSTGRES_VARIABLE, create_database};
pub use fixture::{Ended, Fixture};
pub use group_lag::GroupLag;
pub use guarded::{Acl, GuardedBroker, Login};
pub use http::get;
pub use local::{Local, Server, free_port, local_tool};
pub use proxy::{CommitFault, CommitFaults, GroupRequests, HeldRequest, Network, Proxy};
pub use running::Running;
pub use runtime::runtime;
pub use secure::{SecureBroker, SharedBroker, USER};
pub use sending::Sender;
pub use stop_request::StopRequest;
pub use wait::{TIMEOUT, eventually};
pub use workspace::{binary, dataset, demo_directory, workspace};
