//! Models in the ONNX format that classify rows of numbers, run by tract.
//!
//! A [`Classifier`] is read from the bytes of a file. It has one input, a row of 32-bit floats, and a class as its output, with or
//! without a score for each class. Everything else is refused by an error that says how to export the model instead.
//!
//! Deliberately absent: the dataset, the names of its columns, and how models are stored.

mod classifier;
mod error;
mod numbering;
mod scaler;
mod signature;
mod trees;

pub use classifier::Classifier;
pub use error::OnnxError;
