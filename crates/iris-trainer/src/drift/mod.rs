//! Drift: detects that the stream has changed, in the champion's error rate or in a feature's values.

mod detector;
mod distribution;
mod page_hinkley;

pub use detector::Drift;
pub(crate) use detector::DriftDetector;
pub use distribution::FeatureDistribution;
pub use page_hinkley::PageHinkley;
