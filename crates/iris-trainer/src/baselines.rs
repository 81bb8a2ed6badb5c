//! The baseline that never learns: the first champion of the registry, which predicts labelled records in shadow.
//!
//! The other baseline, which predicts the label of the previous labelled record, needs no model: see
//! [`evaluation`](crate::evaluation).

use std::sync::Arc;

use iris_core::{Artefact, ModelVersion};
use iris_registry::Registry;

use crate::observation::Prediction;

/// The first champion of the registry.
#[derive(Clone, Debug, Default)]
pub(crate) enum FirstChampion {
    /// It is not known which one it is.
    #[default]
    Unknown,
    /// It is not used, because its sample is empty.
    Off,
    /// It cannot be loaded.
    NotLoaded(ModelVersion),
    /// It predicts.
    Loaded(Arc<Artefact>),
}

impl FirstChampion {
    /// Loads the first champion. `known` is its version if the registry no longer has the decision about it; `load` returns
    /// `None` for a model that cannot be used.
    ///
    /// # Errors
    /// The error of `load`.
    pub(crate) fn load<E>(
        registry: &Registry,
        known: Option<ModelVersion>,
        sample_ratio: f64,
        load: impl FnOnce(ModelVersion) -> Result<Option<Arc<Artefact>>, E>,
    ) -> Result<Self, E> {
        let first = registry.decisions().next().map(|first| &first.decision);
        let first = first.filter(|first| first.number == 1 && first.action.makes_champion());
        let Some(version) = first.map(|first| first.version).or(known) else {
            return Ok(Self::Unknown);
        };
        if sample_ratio <= 0.0 {
            return Ok(Self::Off);
        }
        Ok(match load(version)? {
            Some(artefact) => Self::Loaded(artefact),
            None => Self::NotLoaded(version),
        })
    }

    /// Returns the model's version, if it is used.
    pub(crate) fn version(&self) -> Option<ModelVersion> {
        match self {
            Self::Unknown | Self::Off => None,
            Self::NotLoaded(version) => Some(*version),
            Self::Loaded(artefact) => Some(artefact.model.version()),
        }
    }

    /// Returns why it does not predict, if it does not.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Unknown => Some("the first champion of the registry is not known".to_owned()),
            Self::Off => Some("trainer.never_learning_sample_ratio is 0".to_owned()),
            Self::NotLoaded(version) => Some(format!(
                "the first champion, {version}, cannot be loaded from the registry"
            )),
            Self::Loaded(_) => None,
        }
    }

    /// Predicts the class of a record, if it is in the sample: a ratio of all records, chosen by id or, without one, by the
    /// place of their prediction.
    pub(crate) fn predict(&self, prediction: &Prediction, sample_ratio: f64) -> Option<&str> {
        let Self::Loaded(artefact) = self else {
            return None;
        };
        prediction
            .is_in_sample(sample_ratio)
            .then(|| artefact.model.predict_label(&prediction.features))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::example::{model, prediction, registry};

    #[test]
    fn it_is_the_model_of_the_first_decision_or_the_one_that_is_known() {
        let (first, second) = (model(0.0), model(1.0));
        let decided = registry(&[&first, &second]);
        let load = |registry: &Registry, known, sample_ratio| {
            let load = |version| {
                let found = [&first, &second]
                    .into_iter()
                    .find(|model| model.model.version() == version);
                Ok::<_, Infallible>(found.cloned())
            };
            FirstChampion::load(registry, known, sample_ratio, load).unwrap()
        };
        let known = Some(second.model.version());
        let empty = Registry::default();
        assert_eq!(
            load(&decided, known, 1.0).version(),
            Some(first.model.version())
        );
        assert_eq!(load(&empty, known, 1.0).version(), known);
        assert_eq!(load(&decided, None, 1.0).problem(), None);
        let problem = |champion: FirstChampion| champion.problem().unwrap();
        assert!(problem(load(&empty, None, 1.0)).contains("is not known"));
        assert!(problem(load(&decided, None, 0.0)).contains("never_learning_sample_ratio"));
        let gone = model(2.0).model.version();
        assert_eq!(
            problem(load(&empty, Some(gone), 1.0)),
            format!("the first champion, {gone}, cannot be loaded from the registry")
        );
    }

    #[test]
    fn it_predicts_a_sample_of_the_records() {
        let champion = FirstChampion::Loaded(model(0.0));
        assert_eq!(champion.predict(&prediction(0, -1.0), 1.0), Some("a"));
        assert_eq!(champion.predict(&prediction(0, 1.0), 1.0), Some("b"));
        assert_eq!(FirstChampion::Off.predict(&prediction(0, 1.0), 1.0), None);
        for has_id in [true, false] {
            let is_sampled = |&offset: &i64| {
                let mut prediction = prediction(offset, 1.0);
                if !has_id {
                    prediction.id.clear();
                }
                champion.predict(&prediction, 0.2).is_some()
            };
            let sampled = (0..1_000).filter(is_sampled).count();
            assert!(
                (150..250).contains(&sampled),
                "{sampled} with an id: {has_id}"
            );
        }
    }
}
