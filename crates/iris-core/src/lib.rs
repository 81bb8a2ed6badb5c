//! The pure heart of the pipeline: what a dataset is, how a model is fitted to it, and what becomes of one record.
//!
//! A CSV file becomes a [`Dataset`] under a [`Schema`]; [`split`] parts its rows as scikit-learn does; a [`Model`]
//! is fitted to the training rows; [`Classifier::decide`] turns the bytes of one record into a [`Decision`] or a
//! [`Rejection`]. [`Provenance`] is how a prediction says where it came from, [`TransactionSummary`]
//! how many there were, a [`Confusion`] how good they were. An [`Artefact`] is a model as it is kept, and
//! a [`Registry`] knows all that are kept and which of them is the champion.
//!
//! Deliberately absent: Kafka, threads, clocks, the environment and the file system. Everything here is a function
//! of its arguments, so everything here is tested without I/O.

mod artefact;
mod cell;
mod confusion;
mod crosscheck;
mod dataset;
mod model;
mod neighbors;
#[cfg(test)]
mod property;
mod schema;
mod settings;
pub mod split;

pub use artefact::{ARTEFACT_FORMAT, Artefact, ArtefactError, Description, Lineage};
pub use confusion::Confusion;
pub use crosscheck::{CrossCheckError, cross_check};
pub use dataset::{Dataset, DatasetError};
pub use model::{FitError, Model, ModelVersion, Prediction, TrainingSet};
pub use neighbors::{Neighbor, NeighborIndex, Neighbors};
pub use schema::{Schema, SchemaError};
pub use settings::{ImpossibleSetting, ModelSettings, Section, one_of};
