//! The settings that the writers of the registry share.

use iris_core::{InvalidSetting, Section};
use serde::{Deserialize, Serialize};

/// The bounds of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// The maximum number of former champions that keep their rows, besides the first champion, the predecessor and the last
    /// one that has passed its probation.
    pub max_retired_models: usize,
    /// The maximum size of a model in the registry, in bytes.
    pub max_model_bytes: u64,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            max_retired_models: 5,
            max_model_bytes: 32 << 20,
        }
    }
}

impl Section for RegistrySettings {
    const NAME: &'static str = "registry";

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("max_model_bytes", self.max_model_bytes)
    }
}
