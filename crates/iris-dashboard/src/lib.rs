//! Shows the pipeline as it runs: one live page, and the same as JSON. It is read-only.
//!
//! Figures are sums of the classifiers' summaries ([`board`], [`timeline`]), exact at any rate; single records are shown for
//! the newest only ([`recent`]). [`range`] is which seconds a chart shows, [`models`] the registry with its lineage, [`scatter`]
//! a model's regions under the stream's points, [`chart`] the geometry of charts, [`wording`] the figures of decisions in words
//! and [`format`](mod@format) numbers and times as text. All of these are functions over values. [`pipeline`] reads the topics,
//! [`store`] the table of feedback; [`view`], [`charts`] and [`api`] render the state for people and for programs, [`http`] is
//! the server.
//!
//! Deliberately absent: anything that acts on the pipeline. Models are promoted and dead letters redriven with `iris-admin`.

pub mod api;
pub mod args;
pub mod board;

pub mod feedback;
#[cfg(test)]
mod fixtures;
pub mod format;
pub mod geometry;
pub mod http;
pub mod models;
pub mod pipeline;
pub mod problem;
pub mod range;
pub mod recent;
pub mod scatter;
pub mod settings;
pub mod shared;
pub mod state;
pub mod status;
pub mod timeline;
pub mod view;
pub mod wording;

pub use pipeline::run;

/// The service's name.
pub const NAME: &str = "iris-dashboard";
