//! Lists and ends the open transactions of a cluster.
//!
//! A consumer of committed records reads a partition up to its last stable offset: the start of the first transaction that is
//! still open. Usually its producer or, after a timeout, its coordinator ends it. A hanging transaction is one that the
//! coordinator does not know, so nobody ends it.
//!
//! librdkafka has no requests about transactions of other producers. Therefore this crate speaks Kafka's protocol itself, with
//! the messages of `kafka-protocol`, over its own [`Connection`].
//!
//! - [`Cluster`] connects to the brokers.
//! - [`open_transactions`] finds open transactions, with what their coordinators know about them.
//! - [`end()`] ends one of them.

mod access;
mod address;
mod cluster;
mod connection;
mod coordinator;
mod end;
mod error;
mod login;
mod messages;
mod open;
mod partitions;
mod producers;
mod scram;
mod stream;

pub use cluster::Cluster;
pub use connection::Connection;
pub use coordinator::State;
pub use end::{EndedTransaction, TransactionKey, TransactionResult, end};
pub use error::TransactionsError;
pub use messages::Call;
pub use open::{OpenTransaction, open_transactions};
