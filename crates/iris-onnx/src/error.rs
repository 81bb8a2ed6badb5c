//! Why a model cannot be used.

/// A model that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OnnxError {
    /// The bytes are not a model.
    #[error("it is not an ONNX model: {0}")]
    Malformed(String),
    /// It does not have one input.
    #[error("it has {0} inputs: allowed is one, the row of features")]
    Inputs(usize),
    /// Its input has another type.
    #[error(
        "its input `{name}` is of {found}: allowed are 32-bit floats (FloatTensorType of skl2onnx)"
    )]
    InputType {
        /// The name of the input.
        name: String,
        /// Its type.
        found: String,
    },
    /// Its input has another shape.
    #[error(
        "its input `{0}` does not have the shape [rows, features] with a fixed number of features"
    )]
    InputShape(String),
    /// Its probabilities are a list of maps.
    #[error(
        "its probabilities are a list of maps (ZipMap): export it with `zipmap` off, such as \
         to_onnx(model, X, options={{\"zipmap\": False}})"
    )]
    ZipMap,
    /// Its outputs are not those of a classifier.
    #[error(
        "its outputs are {0}: allowed are one label, of integers or strings, one tensor of scores, of 32-bit floats with one \
         column for each class, or both"
    )]
    Outputs(String),
    /// It does not name its classes.
    #[error("it does not name its classes: name them in the order of its scores")]
    NoClasses,
    /// It has another number of classes than are named.
    #[error("it has {found} classes, and {named} are named: {}", .names.join(", "))]
    OtherClasses {
        /// The number of its classes.
        found: usize,
        /// The number of names.
        named: usize,
        /// The names.
        names: Vec<String>,
    },
    /// Two classes have the same name.
    #[error("two of its classes have the name `{0}`")]
    DuplicateClass(String),
    /// Its trees are malformed.
    #[error("its trees cannot be used: {0}")]
    Trees(String),
    /// tract cannot run it.
    #[error("tract, which runs ONNX models, refuses it: {0}")]
    Unsupported(String),
    /// A feature is too large, or is not a number.
    #[error("feature {} is {value:?}, which is not a 32-bit float", .position + 1)]
    Feature {
        /// Its position, from 0.
        position: usize,
        /// Its value.
        value: f64,
    },
    /// A score is not a number.
    #[error("its score of class `{0}` is not a number")]
    Score(String),
    /// It predicts a label that is none of its classes.
    #[error("it predicts the label `{0}`, which is not one of its classes")]
    UnknownLabel(String),
}
