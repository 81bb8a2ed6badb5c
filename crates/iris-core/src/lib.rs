//! The model and the data it is fitted to, without I/O.
//!
//! A CSV file becomes a [`Dataset`] under a [`Schema`]; [`split`] divides its rows as scikit-learn does; a [`Model`] is
//! fitted to the training rows and [checked](cross_check) against smartcore. A [`Confusion`] counts its predictions. An
//! [`Artefact`] is a model in the format in which it is stored.
//!
//! Kafka, threads, clocks, the environment and the file system do not belong here. Everything is a function of its
//! arguments and is tested without I/O.

mod artefact;
mod cell;
mod confusion;
mod content_hash;
mod crosscheck;
mod dataset;
mod kinds;
mod model;
mod neighbors;
#[cfg(test)]
mod property;
mod scaling;
mod schema;
mod settings;
pub mod split;
mod training_set;

pub use artefact::{
    ARTEFACT_FORMAT, Artefact, ArtefactError, Block, BlockId, Description, Lineage,
    MAX_BLOCK_BYTES, RowRecords, RowStorage,
};
pub use confusion::Confusion;
pub use crosscheck::{CrossCheckError, cross_check};
pub use dataset::{Dataset, DatasetError};
pub use kinds::{
    Buffers, FitError, ForestContent, ForestKind, ModelContent, ModelKind, NeighborsContent,
    NeighborsKind, OnnxContent, Scale, Tally, Weights,
};
pub use model::{Model, ModelVersion, Prediction};
pub use neighbors::Metric;
pub use scaling::Scaling;
pub use schema::{Schema, SchemaError};
pub use settings::{
    InvalidSetting, KindName, ModelSettings, ScaleSetting, Section, list_of, one_of,
};
pub use training_set::TrainingSet;
