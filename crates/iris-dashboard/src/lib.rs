//! Shows the running pipeline: one live page, and the same figures as JSON. It is read-only.
//!
//! Figures are sums of the classifiers' transaction summaries ([`board`], [`timeline`]) and exact at any rate. Of single records
//! only the newest are shown ([`recent`]). [`range`] determines the seconds of a chart, [`models`] is the registry with its
//! lineage, [`learning`] the loop beside its baselines, [`scatter`] a model's decision regions with the newest points,
//! [`geometry`] the positions in charts, [`wording`] the figures of decisions in words, [`format`](mod@format) numbers and
//! times as text, [`status`] the state of the pipeline in a sentence. All of these are functions over values. [`pipeline`]
//! reads the topics into the [`state`], [`feedback`] the feedback store. [`view`] and [`api`] render the state for people and
//! for programs, and [`http`] is the server.
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
pub mod learning;
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
