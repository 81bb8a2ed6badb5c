//! What every service binary shares: settings, telemetry, shutdown, and the health and metrics endpoint.
//!
//! Deliberately absent: Kafka, and anything that only one service needs. A service's own settings live with it; here
//! is how settings are found, merged, checked and shown.

mod allocator;
mod dataset;
mod exit;
mod health;
mod http;
mod service;
pub mod settings;
mod spans;
mod systemd;
mod telemetry;

pub use dataset::{DatasetFileError, DatasetSettings, read_dataset};
pub use exit::{UsageError, exit};
pub use health::{Health, Part};
pub use service::{Service, ServiceSettings, Work, supervise};
pub use spans::{Span, Spans, TRACEPARENT_HEADER};
pub use telemetry::{
    HeldLines, LogFormat, LogWriter, RECORD_TARGET, TelemetrySettings, hold_lines,
};
