//! Measures how the pipeline grows with workers, processes, partitions and brokers, and computes the size of larger deployments.
//!
//! | part | module |
//! |---|---|
//! | many workers with a trickle of records each | [`trickle`] |
//! | classifiers under full load, of any number, on one broker or three | [`full_load`] |
//! | a trainer behind classifiers under full load | [`trainer`] |
//! | deployments of any rate, by calculation | [`deployment`] |
//! | the document with all of it | [`document`] |

pub mod deployment;
pub mod document;
pub mod exposition;
pub mod fleet;
pub mod full_load;
pub mod limits;
pub mod machine;
pub mod plan;
pub mod results;
pub mod stage;
pub mod statistics;
mod tables;
pub mod trainer;
pub mod trickle;

pub use plan::ScalePlan;
pub use results::ScaleSummary;
