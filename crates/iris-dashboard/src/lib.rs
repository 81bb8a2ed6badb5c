//! Shows the pipeline as it runs: one page, live, and the same as JSON. It reads, and writes nothing.
//!
//! Figures are sums of the classifiers' summaries ([`board`], [`timeline`]), exact at any rate; what single records say is
//! shown of the newest only ([`recent`]). [`models`] is the registry with its lineage, [`scatter`] a model's regions under the
//! stream's points, [`chart`] where a chart's lines go. All of these are functions over values. [`pipeline`] reads the
//! topics, [`store`] the table of feedback; [`view`] and [`api`] are how it is shown to people and to programs, [`http`] is
//! the server.
//!
//! Deliberately absent: anything that acts on the pipeline. Models are promoted and dead letters sent back with
//! `iris-admin`.

pub mod api;
pub mod args;
pub mod board;
pub mod chart;
pub mod http;
pub mod models;
pub mod pipeline;
pub mod problem;
pub mod recent;
pub mod scatter;
pub mod settings;
pub mod shared;
pub mod state;
pub mod store;
pub mod timeline;
pub mod view;

pub use pipeline::run;

/// The service's name.
pub const NAME: &str = "iris-dashboard";
