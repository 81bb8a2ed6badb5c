//! Drift: detects that the stream has changed, in the error rate or in a feature's values.

mod chi_squared;
mod detector;
mod distribution;
mod error_window;

pub use detector::Drift;
pub(crate) use detector::{DriftDetector, WatchedFeature};
pub use distribution::FeatureDistribution;
pub use error_window::{ErrorWindow, RateChange};
