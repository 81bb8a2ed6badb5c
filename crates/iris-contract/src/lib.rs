//! The contract between the services: the topics, and the format of every record in them.
//!
//! Each format has one module with its one reader and its one writer. [`topics`] lists the topics. [`input`] is the record
//! to classify, [`Classifier`] turns its bytes into a prediction, and [`prediction`] reads predictions and feedback back.
//! [`provenance`] is the header that names a prediction's origin, [`dead_letter`] the headers of a record that cannot be
//! classified, and [`redrive_receipt`] the note that it was sent back. [`label`] is a ground truth that comes later,
//! [`transaction_summary`] the counts of one transaction, [`registry`] the log of models and decisions with
//! their [`figure`]s, and [`loop_figures`] the accuracy of the learning loop. [`rights`] lists the rights that each service
//! needs on the cluster.
//!
//! `tests/formats.rs` shows every format as a snapshot; `docs/FORMATS.md` explains them, with their versions.
//!
//! Deliberately absent: Kafka, clocks and files. Everything here is a function of its arguments.

mod classifier;
pub mod dead_letter;
mod diagnosis;
pub mod fields;
pub mod figure;
pub mod input;
pub mod label;
pub mod loop_figures;
pub mod prediction;
pub mod provenance;
pub mod redrive_receipt;
pub mod registry;
mod rejection;
pub mod rights;
pub mod topics;
pub mod transaction_summary;

#[cfg(test)]
#[path = "../../iris-core/src/property.rs"]
mod property;

pub use classifier::{Classification, Classifier, Scratch};
pub use dead_letter::{DeadLetter, Origin};
pub use label::LabelRecord;
pub use loop_figures::{BaselineScores, LoopFigures, Scores, SpanFigures};
pub use prediction::PredictionRecord;
pub use provenance::{PROVENANCE_HEADER, Provenance, ProvenanceError, ProvenanceWriter};
pub use redrive_receipt::RedriveReceipt;
pub use rejection::Rejection;
pub use topics::{Topic, Topics};
pub use transaction_summary::{CountsBy, OTHER_CLASS, PartitionProgress, TransactionSummary};
