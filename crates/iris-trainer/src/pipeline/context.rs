//! The parts of a trainer that all its sessions share.

use std::cell::RefCell;
use std::sync::Arc;

use iris_core::{Artefact, ModelVersion, Schema};
use iris_registry::{Registry, RegistryTopic};
use iris_service::Part;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::error::SessionError;
use crate::baselines::FirstChampion;
use crate::learner::Row;
use crate::merge::Topic;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::storage::Storage;

/// The settings, the registry and the service's parts.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) schema: Schema,
    /// The dataset's rows that no model is trained on.
    pub(crate) holdout: Vec<Row>,
    /// The model of the dataset's other rows.
    pub(crate) dataset: Arc<Artefact>,
    pub(crate) topic: RegistryTopic,
    /// The bounds of the registry, with the challengers that its topic has refused.
    pub(crate) storage: RefCell<Storage>,
    pub(crate) part: Arc<Part>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    /// A random name that distinguishes this process from other trainers.
    pub(crate) owner: String,
    /// Whether to end at the end of the input.
    pub(crate) is_once: bool,
}

impl Context {
    /// Returns the name of a topic.
    pub(crate) fn topic_name(&self, topic: Topic) -> &str {
        let topics = &self.settings.topics;
        match topic {
            Topic::Predictions => &topics.predictions,
            Topic::Labels => &topics.labels,
        }
    }

    /// Loads a model.
    ///
    /// # Errors
    /// [`SessionError`] if it cannot be loaded, or has other columns than the settings.
    pub(crate) fn load(
        &self,
        registry: &Registry,
        version: ModelVersion,
    ) -> Result<Arc<Artefact>, SessionError> {
        let artefact = self.topic.load(registry, version)?;
        check_columns(&artefact, &self.schema)?;
        Ok(Arc::new(artefact))
    }

    /// Loads a model that is optional. `None` if it cannot be used, which is logged.
    ///
    /// # Errors
    /// [`SessionError`] if a retry may succeed.
    pub(crate) fn load_if_possible(
        &self,
        registry: &Registry,
        version: Option<ModelVersion>,
    ) -> Result<Option<Arc<Artefact>>, SessionError> {
        let Some(version) = version else {
            return Ok(None);
        };
        optional(version, self.load(registry, version))
    }

    /// Loads the first champion, which never learns. `known` is its version if the registry no longer has the decision about
    /// it.
    ///
    /// # Errors
    /// [`SessionError`] if a retry may succeed.
    pub(crate) fn first_champion(
        &self,
        registry: &Registry,
        known: Option<ModelVersion>,
    ) -> Result<FirstChampion, SessionError> {
        let sample_ratio = self.settings.trainer.never_learning_sample_ratio;
        FirstChampion::load(registry, known, sample_ratio, |version| {
            self.load_if_possible(registry, Some(version))
        })
    }
}

/// Returns a model that is optional; `None` instead of a permanent error, which is logged.
fn optional<T>(
    version: ModelVersion,
    loaded: Result<T, SessionError>,
) -> Result<Option<T>, SessionError> {
    match loaded {
        Ok(model) => Ok(Some(model)),
        Err(error) if error.is_retriable() => Err(error),
        Err(error) => {
            warn!(
                "continuing without model {version}: {:#}",
                anyhow::Error::new(error)
            );
            Ok(None)
        }
    }
}

/// Checks that a model has the columns of the settings. The id column may differ.
fn check_columns(artefact: &Artefact, schema: &Schema) -> Result<(), SessionError> {
    let model = artefact.model.training_set().schema();
    if (&model.features, &model.label) == (&schema.features, &schema.label) {
        Ok(())
    } else {
        Err(SessionError::OtherColumns(artefact.model.version()))
    }
}

#[cfg(test)]
mod tests {
    use iris_registry::RegistryTopicError;

    use super::*;
    use crate::example::{model, schema};

    #[test]
    fn a_model_for_other_features_or_another_label_is_refused() {
        let artefact = model(0.0);
        assert!(check_columns(&artefact, &schema()).is_ok());
        let other_id = Schema {
            id: "Number".into(),
            ..schema()
        };
        assert!(check_columns(&artefact, &other_id).is_ok());
        let other_features = Schema {
            features: vec!["y".into()],
            ..schema()
        };
        let other_label = Schema {
            label: "Kind".into(),
            ..schema()
        };
        for schema in [other_features, other_label] {
            let refused = check_columns(&artefact, &schema).unwrap_err().to_string();
            assert!(refused.contains("topics.models"), "{refused}");
        }
    }

    #[test]
    fn an_optional_model_is_omitted_unless_loading_it_may_succeed_later() {
        let version = model(0.0).model.version();
        let refused = Err::<(), _>(SessionError::OtherColumns(version));
        assert!(optional(version, refused).unwrap().is_none());
        let not_visible = RegistryTopicError::NotVisible {
            topic: "t".to_owned(),
        };
        assert!(optional::<()>(version, Err(not_visible.into())).is_err());
        assert_eq!(optional(version, Ok(7)).unwrap(), Some(7));
    }
}
