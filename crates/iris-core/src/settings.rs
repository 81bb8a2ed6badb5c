//! Sections of the settings file, the error for an invalid value, and the section of the model.

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::kinds::{ForestKind, ModelKind, NeighborsKind, Scale, Weights};
use crate::model::Model;
use crate::neighbors::Metric;
use crate::training_set::TrainingSet;

/// A setting whose value is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct InvalidSetting {
    /// The setting's key within its section, levels separated by dots.
    pub key: String,
    /// The problem and the allowed values, worded to follow the key.
    pub problem: String,
}

impl InvalidSetting {
    /// Creates the error for `key`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }

    /// Rejects a count of 0.
    ///
    /// # Errors
    /// [`InvalidSetting`] if `count` is 0.
    pub fn if_zero(key: &str, count: u64) -> Result<(), Self> {
        match count {
            0 => Err(Self::new(key, "is 0: allowed is 1 or more")),
            _ => Ok(()),
        }
    }

    /// Rejects a ratio outside 0 to 1.
    ///
    /// # Errors
    /// [`InvalidSetting`] if `ratio` is not from 0 to 1.
    pub fn if_not_ratio(key: &str, ratio: f64) -> Result<(), Self> {
        if (0.0..=1.0).contains(&ratio) {
            Ok(())
        } else {
            Err(Self::new(key, format!("is {ratio}: allowed is 0 to 1")))
        }
    }
}

/// One section of the settings: a table of the settings file with a default for every key.
pub trait Section: Default + Serialize + DeserializeOwned {
    /// The table's name.
    const NAME: &'static str;

    /// Checks the constraints that types cannot express.
    ///
    /// # Errors
    /// [`InvalidSetting`] for the first invalid value.
    fn validate(&self) -> Result<(), InvalidSetting>;
}

/// Deserializes an enum from its name; the error for an unknown name lists all names.
///
/// # Errors
/// The deserializer's.
pub fn one_of<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let name: StringDeserializer<D::Error> = String::deserialize(deserializer)?.into_deserializer();
    T::deserialize(name)
}

/// Deserializes a list of enums from their names; the error for an unknown name lists all names.
///
/// # Errors
/// The deserializer's.
pub fn list_of<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names
        .into_iter()
        .map(|name| T::deserialize::<StringDeserializer<D::Error>>(name.into_deserializer()))
        .collect()
}

/// The largest number of trees, so that a mistyped number is refused.
const MAX_TREES: usize = 1_000;

/// The default number of trees. scikit-learn's is 100; fewer trees take less time to fit, which the trainer does again and again, and
/// `docs/LEARNING.md` shows their accuracy.
const DEFAULT_TREES: usize = 30;

/// The name of a kind of model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    /// The nearest training rows vote.
    #[default]
    Neighbors,
    /// The trees of a random forest vote.
    Forest,
}

/// Whether features are scaled before distances are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleSetting {
    /// Features are used as they are.
    #[default]
    None,
    /// Features are scaled by the mean and the standard deviation of the training rows.
    Standard,
    /// Features are scaled if more training rows are then predicted correctly, each by the other rows.
    Auto,
}

/// Settings for fitting the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// The kind of the model.
    #[serde(deserialize_with = "one_of")]
    pub kind: KindName,
    /// The number of nearest training rows that vote.
    pub neighbors: usize,
    /// Whether features are scaled before distances are computed.
    #[serde(deserialize_with = "one_of")]
    pub scale: ScaleSetting,
    /// How much the vote of a neighbour counts.
    #[serde(deserialize_with = "one_of")]
    pub weights: Weights,
    /// The distance.
    #[serde(deserialize_with = "one_of")]
    pub metric: Metric,
    /// The number of trees of a forest.
    pub trees: usize,
    /// The maximum depth of a tree; 0 for no limit.
    pub max_depth: usize,
    /// The minimum number of rows in a leaf.
    pub min_samples_leaf: usize,
    /// The minimum number of rows in a node that is split.
    pub min_samples_split: usize,
    /// The number of features to choose each split from; 0 for the binary logarithm of their number, rounded down, plus 1.
    pub max_features: usize,
    /// The share of the dataset's rows to hold out.
    pub test_size: f64,
    /// The seed of the split, and of a forest.
    pub random_state: u32,
}

impl Default for ModelSettings {
    /// The values of the paper. Those of a forest are [its defaults](ForestKind::default), but for the number of trees.
    fn default() -> Self {
        let forest = ForestKind::default();
        Self {
            kind: KindName::Neighbors,
            neighbors: 5,
            scale: ScaleSetting::None,
            weights: Weights::Uniform,
            metric: Metric::Euclidean,
            trees: DEFAULT_TREES,
            max_depth: 0,
            min_samples_leaf: forest.min_samples_leaf,
            min_samples_split: forest.min_samples_split,
            max_features: 0,
            test_size: 0.2,
            random_state: 42,
        }
    }
}

impl ModelSettings {
    /// Returns how the model of these training rows is fitted.
    #[must_use]
    pub fn kind(&self, set: &TrainingSet) -> ModelKind {
        let [raw, scaled] =
            [Scale::None, Scale::Standard].map(|scale| self.neighbors(scale, self.weights));
        match (self.kind, self.scale) {
            (KindName::Forest, _) => self.forest(),
            (KindName::Neighbors, ScaleSetting::None) => raw,
            (KindName::Neighbors, ScaleSetting::Standard) => scaled,
            (KindName::Neighbors, ScaleSetting::Auto) => {
                if correct_rows(scaled, set) > correct_rows(raw, set) {
                    scaled
                } else {
                    raw
                }
            }
        }
    }

    /// Returns the kind of forests with these settings.
    #[must_use]
    pub fn forest(&self) -> ModelKind {
        let unless_zero = |number| (number > 0).then_some(number);
        ModelKind::Forest(ForestKind {
            trees: self.trees,
            max_depth: unless_zero(self.max_depth),
            min_samples_leaf: self.min_samples_leaf,
            min_samples_split: self.min_samples_split,
            max_features: unless_zero(self.max_features),
            seed: self.random_state,
        })
    }

    /// Returns the kind of nearest neighbours with this scaling and these weights, and the other settings.
    #[must_use]
    pub fn neighbors(&self, scale: Scale, weights: Weights) -> ModelKind {
        ModelKind::Neighbors(NeighborsKind {
            neighbors: self.neighbors,
            scale,
            weights,
            metric: self.metric,
        })
    }
}

/// Returns the number of rows that are predicted correctly by the other rows.
fn correct_rows(kind: ModelKind, set: &TrainingSet) -> usize {
    // The model itself is refused later, with the reason.
    let correct = Model::fit(set.clone(), kind).map(|model| model.correct_left_out(0..set.len()));
    let correct = correct.unwrap_or_default().into_iter();
    correct.filter(|is_correct| *is_correct).count()
}

impl Section for ModelSettings {
    const NAME: &'static str = "model";

    fn validate(&self) -> Result<(), InvalidSetting> {
        for (key, count) in [
            ("neighbors", self.neighbors),
            ("trees", self.trees),
            ("min_samples_leaf", self.min_samples_leaf),
        ] {
            InvalidSetting::if_zero(key, count as u64)?;
        }
        if self.trees > MAX_TREES {
            let problem = format!("is {}: allowed is 1 to {MAX_TREES}", self.trees);
            return Err(InvalidSetting::new("trees", problem));
        }
        if self.min_samples_split < 2 {
            let problem = format!("is {}: allowed is 2 or more", self.min_samples_split);
            return Err(InvalidSetting::new("min_samples_split", problem));
        }
        if !(self.test_size > 0.0 && self.test_size < 1.0) {
            let problem = format!(
                "is {}: allowed is a share between 0 and 1, both excluded",
                self.test_size
            );
            return Err(InvalidSetting::new("test_size", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn features_are_scaled_automatically_if_that_predicts_more_rows() {
        // The label depends on the first feature alone.
        let rows = |noise: f64| {
            let rows: Vec<([f64; 2], &str)> = (0..40)
                .map(|row| {
                    let number = f64::from(row);
                    let label = if row < 20 { "a" } else { "b" };
                    ([number, noise * (number * 7.0 % 40.0)], label)
                })
                .collect();
            let schema = Schema {
                features: vec!["x".into(), "noise".into()],
                ..Schema::default()
            };
            let rows = rows.iter().map(|(features, label)| (&features[..], *label));
            TrainingSet::new(schema, rows)
        };
        let settings = ModelSettings {
            scale: ScaleSetting::Auto,
            ..ModelSettings::default()
        };
        let [raw, scaled] =
            [Scale::None, Scale::Standard].map(|scale| settings.neighbors(scale, Weights::Uniform));
        assert_eq!(settings.kind(&rows(100.0)), scaled);
        assert_eq!(settings.kind(&rows(1.0)), raw);
        assert_eq!(settings.kind(&rows(0.01)), raw);
    }
}
