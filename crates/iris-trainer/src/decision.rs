//! Carries out the decisions that are due: trains and judges challengers; promotes, rejects and rolls back models. Returns the
//! entries to write to the registry.
//!
//! A decision depends on the learner, the registry as it is known, the bounds of the registry, and the holdout rows. The caller
//! writes the entries, and passes a function that loads a model. Deliberately absent: access to topics.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_contract::registry::{Action, Decision, Entry};
use iris_core::{Artefact, ModelVersion};
use iris_kafka::Positions;
use iris_registry::{Grounds, Registry, RegistryTopicError};

use crate::NAME;
use crate::figures::Figures;
use crate::gate::GateVerdict;
use crate::learner::{Due, Learner, Row};
use crate::outcome::Outcome;
use crate::storage::Storage;
use crate::verdict::{Training, TrainingCause, Verdict};

/// The outcome of a decision, and the entries to write to the registry with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecisionResult {
    pub(crate) outcome: Outcome,
    pub(crate) entries: Vec<Entry>,
    /// The registry with the entries.
    pub(crate) registry: Registry,
}

impl DecisionResult {
    fn new(outcome: Outcome, entries: Vec<Entry>, before: &Registry) -> Self {
        let registry = before.with(&entries);
        Self {
            outcome,
            entries,
            registry,
        }
    }
}

/// The inputs of training.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrainingInput<'a> {
    /// For each topic, where reading continues.
    pub(crate) sources: &'a BTreeMap<String, Positions>,
    /// The dataset's rows that no model is trained on.
    pub(crate) holdout: &'a [Row],
    /// The bounds of the registry.
    pub(crate) storage: &'a Storage,
}

/// A challenger that was trained and compared with the champion.
#[derive(Clone, Debug)]
struct Trained {
    challenger: Arc<Artefact>,
    gate: GateVerdict,
    training: Training,
}

/// Returns the decision that made the champion, if it is later than `known`. The registry as it is read may be older than the
/// decisions made here.
pub(crate) fn later_champion(registry: &Registry, known: u64) -> Option<&Decision> {
    registry
        .champion_decision()
        .filter(|made| made.number > known)
}

/// Carries out the decision that is due. `load` loads a model of the registry. `None` if the decision changes nothing.
///
/// # Errors
/// The error of `load`; [`RegistryTopicError`] if the model to roll back to is refused.
pub(crate) fn decide<E: From<RegistryTopicError>>(
    learner: &mut Learner,
    registry: &Registry,
    due: Due,
    input: TrainingInput<'_>,
    load: impl FnOnce(ModelVersion) -> Result<Arc<Artefact>, E>,
) -> Result<Option<DecisionResult>, E> {
    let storage = input.storage;
    let result = match due {
        Due::Training(cause) => {
            let trained = train(learner, input, cause);
            trained.map(|trained| admit(learner, registry, storage, trained))
        }
        Due::Shadow => {
            let ended = learner.end_shadow_run();
            ended.map(|(challenger, shadow)| {
                let verdict = Verdict::Shadow(shadow);
                promote_or_reject(learner, registry, storage, challenger, verdict)
            })
        }
        Due::RollBack => roll_back(learner, registry, load)?,
    };
    Ok(result.map(|mut result| {
        let in_shadow = match result.outcome {
            Outcome::NothingToRollBackTo(_) => return result,
            Outcome::InShadow(version, _) => Some(version),
            _ => None,
        };
        let pruned = storage.prune(&result.registry, in_shadow);
        result.registry.apply_written(&pruned);
        result.entries.extend(pruned);
        result
    }))
}

/// Trains and judges a challenger. `None` if there is none.
fn train(learner: &mut Learner, input: TrainingInput<'_>, cause: TrainingCause) -> Option<Trained> {
    let sources = input.sources.iter();
    let sources = sources.map(|(topic, positions)| (topic.clone(), positions.clone().into()));
    let mut challenger = learner.train_challenger(&sources.collect())?;
    let gate = learner.judge(&challenger.model, input.holdout);
    challenger.lineage.metrics = Figures::from(&gate);
    let rows = challenger.model.training_set().len();
    Some(Trained {
        challenger: Arc::new(challenger),
        gate,
        training: Training { rows, cause },
    })
}

/// Starts the shadow run of a challenger that has passed the gate, if there are shadow runs; otherwise promotes or rejects
/// it.
fn admit(
    learner: &mut Learner,
    registry: &Registry,
    storage: &Storage,
    trained: Trained,
) -> DecisionResult {
    let Trained {
        challenger,
        gate,
        training,
    } = trained;
    let verdict = Verdict::Gate(gate, training);
    let version = challenger.model.version();
    let is_storable = || {
        let after = registry.with(&registry.offer(&challenger, Grounds::default()));
        storage.refusal(version, &after).is_none()
    };
    if !(verdict.is_passed() && learner.has_shadow_runs() && is_storable()) {
        return promote_or_reject(learner, registry, storage, challenger, verdict);
    }
    let entries = registry.offer(&challenger, grounds(&verdict));
    let result = DecisionResult::new(Outcome::InShadow(version, verdict), entries, registry);
    learner.start_shadow_run(challenger, gate);
    result
}

/// Promotes a challenger that has passed and can be stored. Rejects any other.
fn promote_or_reject(
    learner: &mut Learner,
    registry: &Registry,
    storage: &Storage,
    challenger: Arc<Artefact>,
    verdict: Verdict,
) -> DecisionResult {
    let version = challenger.model.version();
    let is_passed = verdict.is_passed();
    let entries = registry.enter(&challenger, is_passed, grounds(&verdict));
    if !is_passed {
        return DecisionResult::new(Outcome::Rejected(version, verdict), entries, registry);
    }
    let promotion = DecisionResult::new(Outcome::Promoted(version, verdict), entries, registry);
    if let Some(too_large) = storage.refusal(version, &promotion.registry) {
        let grounds = Grounds {
            reason: too_large.to_string(),
            ..grounds(&verdict)
        };
        let entries = registry.enter(&challenger, false, grounds);
        let outcome = Outcome::TooLarge(version, verdict, too_large);
        return DecisionResult::new(outcome, entries, registry);
    }
    let predecessor = Arc::clone(learner.champion());
    let number = registry.next_decision();
    learner.follow(number, Action::Promoted, challenger, Some(predecessor));
    promotion
}

/// Rolls back to the champion's predecessor. `None` if the champion is not on probation.
///
/// # Errors
/// The error of `load`; [`RegistryTopicError`] if the predecessor is refused.
fn roll_back<E: From<RegistryTopicError>>(
    learner: &mut Learner,
    registry: &Registry,
    load: impl FnOnce(ModelVersion) -> Result<Arc<Artefact>, E>,
) -> Result<Option<DecisionResult>, E> {
    let Some(probation) = learner.probation() else {
        return Ok(None);
    };
    let verdict = Verdict::Probation(probation);
    let &[_, predecessor, ..] = &registry.succession()[..] else {
        let champion = Arc::clone(learner.champion());
        learner.follow(learner.decision(), Action::Adopted, champion, None);
        let outcome = Outcome::NothingToRollBackTo(verdict);
        return Ok(Some(DecisionResult::new(outcome, Vec::new(), registry)));
    };
    let number = registry.next_decision();
    let entries = registry
        .roll_back(grounds(&verdict))
        .map_err(RegistryTopicError::from)?;
    learner.follow(number, Action::RolledBack, load(predecessor)?, None);
    let outcome = Outcome::RolledBack(predecessor, verdict);
    Ok(Some(DecisionResult::new(outcome, entries, registry)))
}

fn grounds(verdict: &Verdict) -> Grounds {
    Grounds {
        by: NAME.to_owned(),
        reason: verdict.to_string(),
        figures: Figures::from(verdict),
    }
}
