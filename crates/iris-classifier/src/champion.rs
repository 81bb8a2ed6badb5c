//! The served model: the registry's current champion.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use iris_contract::Classifier;
use iris_core::{Artefact, ModelVersion, Schema};
use iris_kafka::pause;
use iris_registry::{Grounds, Registry, RegistryTopic, RegistryTopicError};
use iris_service::{Part, UsageError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::NAME;

/// How long to wait for a change before checking whether the service is stopping.
const WAIT: Duration = Duration::from_millis(100);

/// How long to wait before the registry is read again after an error.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The source of the model to serve: the registry, and the fitted model that becomes its first champion.
#[derive(Clone, Debug)]
pub(crate) struct ChampionSource {
    pub(crate) topic: RegistryTopic,
    /// The columns that the settings name.
    pub(crate) schema: Schema,
    /// The model that was fitted to the dataset; it becomes the champion if there is none yet.
    pub(crate) fitted: Artefact,
}

/// The error of a registry without a champion, if the user may not write to it.
#[derive(Debug, thiserror::Error)]
#[error("it has no champion, and this user may not adopt one; `iris-admin models adopt` does")]
struct NoChampion;

/// Why a model of the registry cannot be served.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Registry(#[from] RegistryTopicError),
    #[error(
        "model {version} is for the columns {theirs}, but dataset.features and dataset.label name {ours}: another dataset \
         needs another topics.models"
    )]
    OtherColumns {
        version: ModelVersion,
        theirs: String,
        ours: String,
    },
}

impl ChampionSource {
    /// Returns the same source, which reports to `part` whether the registry can be read.
    pub(crate) fn reporting_to(&self, part: &Arc<Part>) -> Self {
        Self {
            topic: self.topic.clone().reporting(part.reporter()),
            ..self.clone()
        }
    }

    /// Calls [`choose`](Self::choose), and retries while the cluster fails or the registry has no champion. Passes each such
    /// failure to `waiting`. Returns `None` if `stop` was cancelled meanwhile.
    ///
    /// # Errors
    /// As for `choose`.
    pub(crate) fn first(
        &self,
        stop: &CancellationToken,
        waiting: &dyn Fn(String),
    ) -> anyhow::Result<Option<Classifier>> {
        let mut logged = None;
        while !stop.is_cancelled() {
            let problem = match self.choose(stop) {
                Ok(classifier) => return Ok(Some(classifier)),
                Err(problem) => problem,
            };
            let is_retriable = problem.is::<NoChampion>()
                || problem
                    .downcast_ref::<RegistryTopicError>()
                    .is_some_and(RegistryTopicError::is_retriable);
            if stop.is_cancelled() {
                break;
            }
            if !is_retriable {
                return Err(problem);
            }
            let problem = format!("no model from the registry: {problem:#}");
            if logged.as_ref() != Some(&problem) {
                warn!("{problem}; trying again every {} s", RETRY_DELAY.as_secs());
                logged = Some(problem.clone());
            }
            waiting(problem);
            pause(RETRY_DELAY, stop);
        }
        Ok(None)
    }

    /// Returns the model to start with: the champion or, if there is none, the fitted model, which becomes the champion. If
    /// there is a champion, the fitted model is only added to the registry, so that it can be promoted later. A user without
    /// the right to write adds nothing. If the champion cannot be served, its latest predecessor that can be is returned.
    ///
    /// # Errors
    /// [`UsageError`] if the champion is for other columns; [`NoChampion`] if there is none and the user may not write;
    /// another error if the registry cannot be used, or has no model that can be served.
    fn choose(&self, stop: &CancellationToken) -> anyhow::Result<Classifier> {
        let mut registry = self.topic.read()?;
        if let Some(version) = registry.champion()
            && let Some(Ok(champion)) = registry.model(version).map(|model| &model.description)
        {
            self.check_columns(version, &champion.schema)
                .map_err(UsageError::new)?;
        }
        let fitted = self.fitted.model.version();
        if registry.champion().is_none() || !registry.has_rows(fitted) {
            let grounds = Grounds {
                by: NAME.to_owned(),
                reason: "there was no champion".to_owned(),
                figures: self.fitted.lineage.metrics.clone(),
            };
            let updated = self.topic.update(stop, &mut |registry| {
                Ok(registry.offer(&self.fitted, grounds.clone()))
            });
            match updated {
                Ok(updated) => registry = updated,
                Err(problem) if problem.denied().is_none() => return Err(problem.into()),
                Err(_) if registry.champion().is_some() => info!(
                    "the registry does not have model {fitted} of the dataset, and this user may not add it; \
                     `iris-admin models adopt` adds it"
                ),
                Err(_) => return Err(NoChampion.into()),
            }
        }
        let succession = registry.succession();
        let earlier = succession
            .into_iter()
            .filter(|&version| Some(version) != registry.champion() && registry.has_rows(version));
        for version in registry.champion().into_iter().chain(earlier) {
            match self.load(version, |version| self.topic.load(&registry, version)) {
                Ok(classifier) => {
                    if version == fitted {
                        info!("serving model {version}");
                    } else {
                        info!(
                            "serving model {version}, the registry's; to serve the dataset's, run `iris-admin models promote \
                             {fitted}`"
                        );
                    }
                    return Ok(classifier);
                }
                Err(refusal @ Refusal::OtherColumns { .. }) => {
                    return Err(UsageError::new(refusal).into());
                }
                Err(Refusal::Registry(problem)) if problem.is_retriable() => {
                    return Err(problem.into());
                }
                Err(Refusal::Registry(problem)) => error!("{:#}", anyhow!(problem)),
            }
        }
        bail!(
            "the registry has no model that can be served; `iris-admin models list` shows what it has"
        )
    }

    /// Returns the classifier of a model, which `load` loads unless it is the fitted one.
    fn load(
        &self,
        version: ModelVersion,
        load: impl FnOnce(ModelVersion) -> Result<Artefact, RegistryTopicError>,
    ) -> Result<Classifier, Refusal> {
        let model = if version == self.fitted.model.version() {
            self.fitted.model.clone()
        } else {
            load(version)?.model
        };
        self.check_columns(version, model.training_set().schema())?;
        Ok(Classifier::new(Arc::new(model)))
    }

    /// Checks that a model has the columns of the settings.
    fn check_columns(&self, version: ModelVersion, theirs: &Schema) -> Result<(), Refusal> {
        if (&theirs.features, &theirs.label) != (&self.schema.features, &self.schema.label) {
            return Err(Refusal::OtherColumns {
                version,
                theirs: columns(theirs),
                ours: columns(&self.schema),
            });
        }
        Ok(())
    }

    /// Sends each new champion to `served`, until `stop` is cancelled. One that cannot be served is logged once, and the
    /// previous one stays. Reports to `part` whether the registry can be followed.
    pub(crate) fn follow(
        &self,
        served: &watch::Sender<Classifier>,
        stop: &CancellationToken,
        part: &Part,
    ) {
        let mut refused = None;
        // The served model's predecessor is kept in memory, so that it need not be read for a rollback.
        let mut predecessor = served.borrow().clone();
        while !stop.is_cancelled() {
            let followed =
                self.follow_until_error(served, &mut predecessor, &mut refused, stop, part);
            if let Err(problem) = followed
                && !stop.is_cancelled()
            {
                let problem = format!("cannot follow the registry: {:#}", anyhow!(problem));
                warn!("{problem}; trying again");
                part.report(Some(problem));
                pause(RETRY_DELAY, stop);
            }
        }
    }

    fn follow_until_error(
        &self,
        served: &watch::Sender<Classifier>,
        predecessor: &mut Classifier,
        refused: &mut Option<ModelVersion>,
        stop: &CancellationToken,
        part: &Part,
    ) -> Result<(), RegistryTopicError> {
        let mut follower = self.topic.follow()?.keeping_rows();
        while !stop.is_cancelled() {
            let is_new = |&version: &ModelVersion| {
                version != served.borrow().model_version() && Some(version) != *refused
            };
            if let Some(version) = follower.registry().champion().filter(is_new) {
                let loaded = if version == predecessor.model_version() {
                    Ok(predecessor.clone())
                } else {
                    let classifier = served.borrow().clone();
                    let known = [classifier.model(), predecessor.model()];
                    self.load(version, |version| follower.load(version, &known))
                };
                match loaded {
                    Ok(classifier) => {
                        *predecessor = served.send_replace(classifier);
                        *refused = None;
                        info!("now serving model {version}{}", why(follower.registry()));
                    }
                    Err(Refusal::Registry(problem)) if problem.is_retriable() => {
                        return Err(problem);
                    }
                    Err(refusal) => {
                        *refused = Some(version);
                        error!("{:#}; still serving the previous model", anyhow!(refusal));
                    }
                }
            }
            part.report(None);
            while !follower.wait(WAIT)? && !stop.is_cancelled() {
                part.report(None);
            }
        }
        Ok(())
    }
}

/// Returns the latest decision about the champion, as the end of a log line.
fn why(registry: &Registry) -> String {
    registry
        .champion_decision()
        .map_or_else(String::new, |decision| {
            let (action, by, reason) = (decision.action, &decision.by, &decision.reason);
            format!(": {action} by {by}, {reason}")
        })
}

fn columns(schema: &Schema) -> String {
    format!(
        "{} and the label {}",
        schema.features.join(", "),
        schema.label
    )
}
