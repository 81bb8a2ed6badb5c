//! The binaries on a real broker and real databases, one module per suite. They are one executable: it is linked once, and
//! tests of different suites run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod chaos;
mod commands;
mod credentials;
mod decisions;
mod demo;
mod group;
mod health;
mod idle;
mod lag;
mod learning;
mod logs;
mod membership;
mod onnx;
mod page;
mod pipeline;
mod redrive;
mod registry;
mod registry_bounds;
mod rejections;
mod restarts;
mod rights;
mod secrets;
mod settings;
mod single_broker;
mod store;
mod store_roles;
mod store_tls;
mod summaries;
mod swaps;
mod systemd;
mod texts;
mod topics_change;
mod traces;
mod trainer;
mod transactions;
