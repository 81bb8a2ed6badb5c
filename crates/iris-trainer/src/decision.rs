//! Carries out the decisions that are due: trains and judges challengers; promotes, rejects and rolls back models. Returns the
//! entries to write to the registry.
//!
//! A decision depends on the learner, the registry as it is known, the bounds of the registry, and the holdout rows. The caller
//! writes the entries. Deliberately absent: access to topics.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_contract::registry::{Action, Decision, Entry};
use iris_core::Artefact;
use iris_kafka::Positions;
use iris_registry::{Grounds, Registry};

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

/// Carries out the decision that is due. `None` if the decision changes nothing.
pub(crate) fn decide(
    learner: &mut Learner,
    registry: &Registry,
    due: Due,
    input: TrainingInput<'_>,
) -> Option<DecisionResult> {
    let storage = input.storage;
    let mut result = match due {
        Due::Training(cause) => {
            let trained = train(learner, input, cause)?;
            admit(learner, registry, storage, trained)
        }
        Due::Shadow => {
            let (challenger, shadow) = learner.end_shadow_run()?;
            let verdict = Verdict::Shadow(shadow);
            promote_or_reject(learner, registry, storage, challenger, verdict)
        }
        Due::RollBack => roll_back(learner, registry)?,
    };
    let in_shadow = match result.outcome {
        Outcome::InShadow(version, _) => Some(version),
        _ => None,
    };
    let last_passed = learner.last_passed().map(|model| model.model.version());
    let pruned = storage.prune(&result.registry, in_shadow, last_passed);
    result.registry.apply_written(&pruned);
    result.entries.extend(pruned);
    Some(result)
}

/// Trains and judges a challenger. `None` if there is none.
fn train(learner: &mut Learner, input: TrainingInput<'_>, cause: TrainingCause) -> Option<Trained> {
    let sources = input.sources.iter();
    let sources = sources.map(|(topic, positions)| (topic.clone(), positions.clone().into()));
    let champion_kind = learner.champion().model.kind();
    let mut challenger = learner.train_challenger(&sources.collect())?;
    let gate = learner.judge(&challenger.model, input.holdout);
    challenger.lineage.metrics = Figures::from(&gate);
    let kinds = learner.figures_of_kinds().clone();
    challenger.lineage.metrics.extend(kinds);
    let rows = challenger.model.training_set().len();
    let kind = challenger.model.kind();
    let other_kind = (kind != champion_kind).then_some(kind);
    Some(Trained {
        challenger: Arc::new(challenger),
        gate,
        training: Training {
            rows,
            cause,
            other_kind,
        },
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

/// Rolls back to the last champion that has passed its probation. `None` if the champion is not on probation.
fn roll_back(learner: &mut Learner, registry: &Registry) -> Option<DecisionResult> {
    let verdict = Verdict::Probation(learner.probation()?);
    let predecessor = Arc::clone(learner.last_passed()?);
    let version = predecessor.model.version();
    let number = registry.next_decision();
    let entries = registry.roll_back_to(&predecessor, grounds(&verdict));
    learner.follow(number, Action::RolledBack, predecessor, None);
    let outcome = Outcome::RolledBack(version, verdict);
    Some(DecisionResult::new(outcome, entries, registry))
}

fn grounds(verdict: &Verdict) -> Grounds {
    Grounds {
        by: NAME.to_owned(),
        reason: verdict.to_string(),
        figures: Figures::from(verdict),
    }
}
