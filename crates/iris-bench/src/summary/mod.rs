//! The results of a session: medians, spreads, and targets.

mod judge;
mod results;
mod spread;
mod tables;
mod target;

pub use results::{BenchSummary, CurvePoint, LatencyUnderLoad, Throughput};
pub use spread::Spread;
pub(crate) use tables::{grouped, table};
pub use target::Target;
