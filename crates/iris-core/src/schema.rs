//! Which columns of a dataset, and which fields of a record, mean what.

use serde::{Deserialize, Serialize};

/// The names that give a dataset's columns, and a record's fields, their meaning.
///
/// The same schema reads the training file and the stream. Columns it does not name are carried along untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The column that identifies a row.
    pub id: String,
    /// The columns the model measures distances in, in the order of the model's dimensions.
    pub features: Vec<String>,
    /// The column that holds the class: the ground truth where it is present.
    pub label: String,
}

/// Why a set of names is not a usable [`Schema`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// No feature is named, so there is nothing to measure a distance in.
    #[error("`features` is empty: name at least one column")]
    NoFeatures,
    /// A column is named by an empty string.
    #[error("`{0}` names a column with an empty string")]
    EmptyName(&'static str),
    /// A feature appears twice.
    #[error("`features` names the column `{0}` twice")]
    DuplicateFeature(String),
    /// A column is both a feature and the label or the id.
    #[error("the column `{0}` is a feature and also the `{1}`: a column has one meaning")]
    Overlap(String, &'static str),
}

impl Schema {
    /// Checks that every column has exactly one meaning and that there is at least one feature.
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

    /// The field that carries the prediction: `Predicted` and the label's name.
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
    fn the_default_is_the_papers_and_is_valid() {
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
        assert_eq!(
            schema(&["a", ""]).validate(),
            Err(SchemaError::EmptyName("features"))
        );
    }
}
