//! The parts that every service binary shares: settings, telemetry, shutdown, and the health and metrics endpoint.
//!
//! Deliberately absent: Kafka, and everything that only one service needs. Each service defines its own settings; this
//! crate finds, merges, checks and shows them.

mod allocator;
mod dataset;
mod exit;
mod first_model;
mod health;
mod http;
mod printable;
mod server;
mod service;
pub mod settings;
mod spans;
mod supervise;
mod systemd;
mod table;
mod telemetry;

pub use dataset::{DatasetFileError, DatasetSettings, SplitDataset, read_dataset};
pub use exit::{ReplacedError, UsageError, exit};
pub use first_model::FirstModel;
pub use health::{Health, Part};
pub use printable::printable;
pub use server::serve_http;
pub use service::{Service, ServiceSettings};
pub use spans::{Span, Spans, TRACEPARENT_HEADER};
pub use supervise::{Follower, Work, supervise, supervise_with, watcher};
pub use table::TextTable;
pub use telemetry::{
    HeldLines, LogFormat, LogWriter, RECORD_TARGET, TelemetrySettings, hold_lines,
};
