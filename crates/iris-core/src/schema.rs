//! The meaning of a dataset's columns and a record's fields.

use serde::{Deserialize, Serialize};

/// The names of the columns, or fields, that the pipeline uses.
///
/// The same schema applies to the training file and to the stream. Other columns are passed through unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The column that identifies a row.
    pub id: String,
    /// The columns that distances are computed from, in the order of the model's dimensions.
    pub features: Vec<String>,
    /// The column with the class; in the stream it is the ground truth and may be absent.
    pub label: String,
}

/// An invalid [`Schema`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There are no features.
    #[error("`features` is empty: name at least one column")]
    NoFeatures,
    /// A column's name is empty.
    #[error("`{0}` names a column with an empty string")]
    EmptyName(&'static str),
    /// A feature appears twice.
    #[error("`features` names the column `{0}` twice")]
    DuplicateFeature(String),
    /// A column is both a feature and the label or the id.
    #[error("the column `{0}` is a feature and also the `{1}`: a column has one meaning")]
    Overlap(String, &'static str),
    /// A column is both the id and the label.
    #[error("the column `{0}` is the `id` and also the `label`: a column has one meaning")]
    IdIsLabel(String),
    /// The id or a feature has the name of the field that the prediction is written to.
    #[error(
        "the column `{0}` has the name of the prediction, `Predicted` and the label's name: rename the column"
    )]
    NamedAsPrediction(String),
}

impl Schema {
    /// Checks that every column has exactly one meaning, that none has the name of the prediction, and that there is at
    /// least one feature.
    ///
    /// # Errors
    /// The first [`SchemaError`] found.
    pub fn validate(&self) -> Result<(), SchemaError> {
        if self.features.is_empty() {
            return Err(SchemaError::NoFeatures);
        }
        for (name, key) in [(&self.id, "id"), (&self.label, "label")] {
            if name.is_empty() {
                return Err(SchemaError::EmptyName(key));
            }
            if self.features.contains(name) {
                return Err(SchemaError::Overlap(name.clone(), key));
            }
        }
        if self.id == self.label {
            return Err(SchemaError::IdIsLabel(self.id.clone()));
        }
        let predicted_field = self.predicted_field();
        if self.id == predicted_field || self.features.contains(&predicted_field) {
            return Err(SchemaError::NamedAsPrediction(predicted_field));
        }
        for (position, feature) in self.features.iter().enumerate() {
            if feature.is_empty() {
                return Err(SchemaError::EmptyName("features"));
            }
            if self.features[..position].contains(feature) {
                return Err(SchemaError::DuplicateFeature(feature.clone()));
            }
        }
        Ok(())
    }

    /// Returns the name of the field with the prediction: `Predicted` and the label's name.
    #[must_use]
    pub fn predicted_field(&self) -> String {
        format!("Predicted{}", self.label)
    }
}

impl Default for Schema {
    /// The columns of `iris.csv`.
    fn default() -> Self {
        Self {
            id: "Id".to_owned(),
            features: [
                "SepalLengthCm",
                "SepalWidthCm",
                "PetalLengthCm",
                "PetalWidthCm",
            ]
            .map(str::to_owned)
            .into(),
            label: "Species".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(features: &[&str]) -> Schema {
        Schema {
            features: features.iter().map(|&f| f.to_owned()).collect(),
            ..Schema::default()
        }
    }

    #[test]
    fn the_default_is_the_schema_of_the_paper_and_is_valid() {
        assert_eq!(Schema::default().validate(), Ok(()));
        assert_eq!(Schema::default().predicted_field(), "PredictedSpecies");
    }

    #[test]
    fn a_column_has_exactly_one_meaning() {
        assert_eq!(schema(&[]).validate(), Err(SchemaError::NoFeatures));
        assert_eq!(
            schema(&["a", "b", "a"]).validate(),
            Err(SchemaError::DuplicateFeature("a".into()))
        );
        assert_eq!(
            schema(&["Species"]).validate(),
            Err(SchemaError::Overlap("Species".into(), "label"))
        );
        assert_eq!(
            schema(&["Id"]).validate(),
            Err(SchemaError::Overlap("Id".into(), "id"))
        );
        let id_is_label = Schema {
            id: "Species".into(),
            ..Schema::default()
        };
        assert_eq!(
            id_is_label.validate(),
            Err(SchemaError::IdIsLabel("Species".into()))
        );
        assert_eq!(
            schema(&["a", "PredictedSpecies"]).validate(),
            Err(SchemaError::NamedAsPrediction("PredictedSpecies".into()))
        );
        assert_eq!(
            schema(&["a", ""]).validate(),
            Err(SchemaError::EmptyName("features"))
        );
    }
}
