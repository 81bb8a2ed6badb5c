//! The table of feedback: its schema, its row, and access to it in SQLite or PostgreSQL.
//!
//! [`FeedbackRow`] is the row; its fields are the columns. [`FeedbackStore`] migrates the schema and stores rows together with
//! the offsets up to which the feedback topic has been read, in one database transaction. [`FeedbackReader`] is read-only.
//! [`StoreUrl`] is the address of a database and never shows a user or a password.
//!
//! SQLite and PostgreSQL have the same schema and, except for the parameters of an INSERT, the same statements.
//!
//! Deliberately absent: Kafka, retries, and any knowledge of how a record becomes a row. These belong to the sink.

mod address;
mod cause;
mod connection;
mod reader;
mod rights;
mod row;
mod schema;
mod source;
mod statement;
mod store;
mod suitability;
mod url;

pub use crate::url::StoreUrl;
pub use reader::{FeedbackReader, ReadError};
pub use row::FeedbackRow;
pub use store::{FeedbackStore, Migrated, StoreError, StoredOffsets};

#[cfg(test)]
mod tests;
