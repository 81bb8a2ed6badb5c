//! Sections of the settings file, the error for an invalid value, and the section of the model.

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::kinds::{ModelKind, NeighborsKind, Scale, Weights};
use crate::neighbors::Metric;

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

/// Settings for fitting the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// The number of nearest training rows that vote.
    pub neighbors: usize,
    /// Whether features are scaled before distances are computed.
    #[serde(deserialize_with = "one_of")]
    pub scale: Scale,
    /// How much the vote of a neighbour counts.
    #[serde(deserialize_with = "one_of")]
    pub weights: Weights,
    /// The distance.
    #[serde(deserialize_with = "one_of")]
    pub metric: Metric,
    /// The share of the dataset's rows to hold out.
    pub test_size: f64,
    /// The seed of the split.
    pub random_state: u32,
}

impl Default for ModelSettings {
    /// The values of the paper.
    fn default() -> Self {
        Self {
            neighbors: 5,
            scale: Scale::None,
            weights: Weights::Uniform,
            metric: Metric::Euclidean,
            test_size: 0.2,
            random_state: 42,
        }
    }
}

impl ModelSettings {
    /// Returns how the model is fitted.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        self.neighbors(self.scale, self.weights)
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

impl Section for ModelSettings {
    const NAME: &'static str = "model";

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("neighbors", self.neighbors as u64)?;
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
