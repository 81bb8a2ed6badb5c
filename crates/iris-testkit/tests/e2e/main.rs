//! The system in Docker, checked from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod compose;
mod page;
mod plain;
mod proxy;
mod secured;
