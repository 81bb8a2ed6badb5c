//! The reasons why an input record cannot be classified.

/// Why a record cannot be classified. The record is dead-lettered with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The record has no value at all.
    #[error("the record has no value")]
    NoValue,
    /// The value is not JSON text.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The value is JSON, but not an object: its kind, with the likely cause and the fix.
    #[error("not a JSON object but {0}")]
    NotAnObject(&'static str),
    /// A field that decides the outcome appears more than once.
    #[error("the field `{0}` appears more than once")]
    DuplicateField(String),
    /// A feature is absent.
    #[error("the feature `{name}` is missing{hint}")]
    MissingFeature {
        /// The feature's field.
        name: String,
        /// The likely cause and the fix, or nothing.
        hint: String,
    },
    /// A feature is there but is not a number.
    #[error("the feature `{name}` is {found}, not a number{hint}")]
    FeatureNotANumber {
        /// The feature's field.
        name: String,
        /// The kind of its value.
        found: &'static str,
        /// The likely cause and the fix, or nothing.
        hint: &'static str,
    },
    /// A feature's number is too large for a 64-bit float.
    #[error("the feature `{0}` is beyond the range of a 64-bit float")]
    FeatureOutOfRange(String),
    /// The label is neither a string nor a number nor null.
    #[error("the label `{name}` is {found}, neither a string nor a number")]
    LabelNotAString {
        /// The label's field.
        name: String,
        /// The kind of its value.
        found: &'static str,
    },
    /// The model, an imported one, cannot classify the record: why.
    #[error("the model cannot classify it: {0}")]
    NotPredicted(String),
}

impl Rejection {
    /// Returns the reason as it stands in the dead letter and in metrics: one of a fixed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::NotJson(_) => "not_json",
            Self::NotAnObject(_) => "not_an_object",
            Self::DuplicateField(_) => "duplicate_field",
            Self::MissingFeature { .. } => "missing_feature",
            Self::FeatureNotANumber { .. } => "feature_not_a_number",
            Self::FeatureOutOfRange(_) => "feature_out_of_range",
            Self::LabelNotAString { .. } => "label_not_a_string",
            Self::NotPredicted(_) => "not_predicted",
        }
    }
}
