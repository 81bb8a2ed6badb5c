//! Decisions: what follows from what is due, and what of it is written to the registry.
//!
//! Each is a function of the learner and of the registry as it is known. Deliberately absent: reading, writing and loading.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use iris_core::registry::{Action, Decision, Entry, Grounds};
use iris_core::{Artefact, FitError, ModelVersion, Registry};
use iris_kafka::{Offsets, RegistryTopicError};

use crate::NAME;
use crate::gate::Verdict;
use crate::learner::{Learner, Row};

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A challenger answers in the champion's shadow.
    Shadowed(ModelVersion),
    /// A challenger became the champion, for a reason.
    Promoted(ModelVersion, String),
    /// A challenger did not become the champion, for a reason.
    Rejected(ModelVersion, String),
    /// The champion was withdrawn for a reason, and the model that it had replaced serves again.
    RolledBack(ModelVersion, String),
    /// The champion is to be withdrawn for a reason, but has replaced no other model.
    NothingToRollBackTo(String),
}

impl Outcome {
    /// What metrics call a decision; `None` if nothing was decided about a model.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Promoted(..) => Some("promoted"),
            Self::Rejected(..) => Some("rejected"),
            Self::RolledBack(..) => Some("rolled_back"),
            Self::Shadowed(_) | Self::NothingToRollBackTo(_) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadowed(version) => {
                write!(f, "challenger {version} answers in the champion's shadow")
            }
            Self::Promoted(version, reason) => write!(f, "promoted {version}: {reason}"),
            Self::Rejected(version, reason) => write!(f, "rejected {version}: {reason}"),
            Self::RolledBack(version, reason) => write!(f, "rolled back to {version}: {reason}"),
            Self::NothingToRollBackTo(reason) => {
                write!(f, "{reason}, but there is nothing to roll back to")
            }
        }
    }
}

/// What was decided, and the entries that are to be written with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) outcome: Outcome,
    pub(crate) entries: Vec<Entry>,
}

/// A challenger, and what the gate found.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) challenger: Arc<Artefact>,
    pub(crate) verdict: Verdict,
}

/// The decision that made the champion, if it is later than `known`. What is read of the registry may be older than what
/// was decided here.
pub(crate) fn later_champion(registry: &Registry, known: u64) -> Option<&Decision> {
    registry
        .champion_decision()
        .filter(|made| made.number > known)
}

/// Trains a challenger on what there is to learn, for a cause, and judges it. What was learned is let go of. `None` if the
/// challenger would be the champion again.
///
/// # Errors
/// [`FitError`] if too few rows are left.
pub(crate) fn train(
    learner: &mut Learner,
    sources: &BTreeMap<String, Offsets>,
    holdout: &[Row],
    cause: &str,
) -> Result<Option<Trial>, FitError> {
    let challenger = learner.challenger(sources)?;
    let trial = challenger.map(|mut challenger| {
        let mut verdict = learner.judge(&challenger.model, holdout);
        challenger.lineage.metrics.clone_from(&verdict.figures);
        let rows = challenger.model.training_set().len();
        verdict.reason = format!("{}; trained on {rows} rows: {cause}", verdict.reason);
        Trial {
            challenger: Arc::new(challenger),
            verdict,
        }
    });
    learner.has_trained();
    Ok(trial)
}

/// Has a challenger that has passed the gate answer in the champion's shadow first, if `has_shadow`; otherwise
/// [enters](enter) it.
pub(crate) fn admit(
    learner: &mut Learner,
    registry: &Registry,
    trial: Trial,
    has_shadow: bool,
) -> Step {
    if !(trial.verdict.is_passed && has_shadow) {
        return enter(learner, registry, trial);
    }
    let Trial {
        challenger,
        verdict,
    } = trial;
    let step = Step {
        outcome: Outcome::Shadowed(challenger.model.version()),
        entries: registry.offer(&challenger, grounds(&verdict)),
    };
    learner.shadow(challenger, verdict.figures);
    step
}

/// Decides about a challenger: it becomes the champion, or is rejected.
pub(crate) fn enter(learner: &mut Learner, registry: &Registry, trial: Trial) -> Step {
    let Trial {
        challenger,
        verdict,
    } = trial;
    let version = challenger.model.version();
    let entries = registry.enter(&challenger, verdict.is_passed, grounds(&verdict));
    let outcome = if verdict.is_passed {
        let before = Arc::clone(learner.champion());
        let number = registry.next_decision();
        learner.follow(number, Action::Promoted, challenger, Some(before));
        Outcome::Promoted(version, verdict.reason)
    } else {
        Outcome::Rejected(version, verdict.reason)
    };
    Step { outcome, entries }
}

/// Withdraws the champion. `load` loads the model that it has replaced.
///
/// # Errors
/// If that model is refused or cannot be loaded.
pub(crate) fn roll_back<E: From<RegistryTopicError>>(
    learner: &mut Learner,
    registry: &Registry,
    load: impl FnOnce(ModelVersion) -> Result<Arc<Artefact>, E>,
) -> Result<Step, E> {
    let figures = learner.probation();
    let figure = |name| figures.get(name).copied().unwrap_or_default();
    let (answers, lead) = (figure("probation_records"), figure("predecessor_lead"));
    let withdrawn = Arc::clone(learner.champion());
    let reason = format!(
        "{} did worse: of {answers} labelled records, {lead} fewer right",
        withdrawn.model.version()
    );
    let &[_, earlier, ..] = &registry.succession()[..] else {
        learner.follow(learner.decision(), Action::Adopted, withdrawn, None);
        return Ok(Step {
            outcome: Outcome::NothingToRollBackTo(reason),
            entries: Vec::new(),
        });
    };
    let number = registry.next_decision();
    let verdict = Verdict {
        is_passed: false,
        reason,
        figures,
    };
    let entries = registry
        .roll_back(grounds(&verdict))
        .map_err(RegistryTopicError::from)?;
    learner.follow(number, Action::RolledBack, load(earlier)?, None);
    Ok(Step {
        outcome: Outcome::RolledBack(earlier, verdict.reason),
        entries,
    })
}

fn grounds(verdict: &Verdict) -> Grounds {
    Grounds {
        by: NAME.to_owned(),
        reason: verdict.reason.clone(),
        figures: verdict.figures.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{learner, model, predict, registry, write};
    use crate::learner::Due;

    /// A learner that has to learn three records above the champion's threshold as `a`, and the registry.
    fn ready_to_train(shadow_records: usize) -> (Learner, Registry) {
        let mut learner = learner(|settings| {
            settings.shadow_records = shadow_records;
            settings.shadow_sample_ratio = 1.0;
        });
        let registry = registry(&[&model(0.0)]);
        learner.follow(1, Action::Adopted, model(0.0), None);
        for (offset, x) in [(0, 1.0), (1, 1.5), (2, 2.0)] {
            predict(&mut learner, offset, x, Some("a"));
        }
        (learner, registry)
    }

    fn row(x: f64, label: &str) -> Row {
        (vec![x], label.to_owned())
    }

    fn trained(learner: &mut Learner, holdout: &[Row]) -> Trial {
        let sources = [("predictions".to_owned(), [(0, 3)].into())].into();
        train(learner, &sources, holdout, "a test")
            .unwrap()
            .unwrap()
    }

    /// The number, action and version of the only decision among these entries.
    fn decided(registry: &Registry, step: &Step) -> (u64, Action, ModelVersion) {
        let mut after = registry.clone();
        write(&mut after, &step.entries);
        let number = registry.next_decision();
        let new: Vec<_> = after
            .decisions()
            .map(|recorded| &recorded.decision)
            .filter(|decision| decision.number >= number)
            .collect();
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!(new[0].by, "iris-trainer");
        (new[0].number, new[0].action, new[0].version)
    }

    #[test]
    fn a_challenger_records_its_cause_its_figures_and_how_far_it_has_read() {
        let (mut learner, _) = ready_to_train(0);
        let trial = trained(&mut learner, &[row(1.2, "a"), row(-1.0, "a")]);
        let lineage = &trial.challenger.lineage;
        assert_eq!(lineage.parent, Some(model(0.0).model.version()));
        assert_eq!(lineage.sources["predictions"], [(0, 3)].into());
        assert_eq!(lineage.metrics, trial.verdict.figures);
        assert_eq!(lineage.metrics["holdout_accuracy"], 1.0);
        assert_eq!(lineage.metrics["champion_holdout_accuracy"], 0.5);
        assert!(
            trial
                .verdict
                .reason
                .ends_with("; trained on 7 rows: a test"),
            "{}",
            trial.verdict.reason
        );
        assert_eq!(learner.due(true), None, "everything was learned");
    }

    #[test]
    fn a_challenger_that_passes_the_gate_is_promoted_and_followed() {
        let (mut learner, registry) = ready_to_train(0);
        let trial = trained(&mut learner, &[row(1.2, "a")]);
        let version = trial.challenger.model.version();
        let step = admit(&mut learner, &registry, trial, false);
        assert!(matches!(step.outcome, Outcome::Promoted(promoted, _) if promoted == version));
        assert_eq!(decided(&registry, &step), (2, Action::Promoted, version));
        assert_eq!(learner.champion().model.version(), version);
        assert_eq!(learner.decision(), 2);
        assert_eq!(learner.probation()["probation_records"], 0.0);
    }

    #[test]
    fn a_challenger_that_fails_the_gate_is_rejected_shadow_or_not() {
        for has_shadow in [false, true] {
            let (mut learner, registry) = ready_to_train(0);
            let trial = trained(&mut learner, &[row(1.2, "b")]);
            let version = trial.challenger.model.version();
            let step = admit(&mut learner, &registry, trial, has_shadow);
            assert!(matches!(step.outcome, Outcome::Rejected(rejected, _) if rejected == version));
            assert_eq!(decided(&registry, &step), (2, Action::Rejected, version));
            let champion = model(0.0).model.version();
            assert_eq!(learner.champion().model.version(), champion);
            assert_eq!(learner.decision(), 1);
        }
    }

    #[test]
    fn with_a_shadow_a_challenger_is_kept_first_and_decided_about_when_it_has_answered() {
        let (mut learner, mut registry) = ready_to_train(2);
        let trial = trained(&mut learner, &[row(1.2, "a")]);
        let version = trial.challenger.model.version();
        let step = admit(&mut learner, &registry, trial, true);
        assert_eq!(step.outcome, Outcome::Shadowed(version));
        write(&mut registry, &step.entries);
        assert!(registry.model(version).is_some());
        assert_eq!(registry.next_decision(), 2, "nothing was decided");
        assert_eq!(learner.decision(), 1);
        for offset in 3..5 {
            assert_eq!(learner.due(true), None);
            predict(&mut learner, offset, 1.2, Some("a"));
        }
        assert_eq!(learner.due(false), Some(Due::Shadow));
        let (challenger, verdict) = learner.judge_shadow().unwrap();
        let trial = Trial {
            challenger,
            verdict,
        };
        let step = enter(&mut learner, &registry, trial);
        assert_eq!(decided(&registry, &step), (2, Action::Promoted, version));
    }

    #[test]
    fn training_that_would_make_the_champion_again_lets_go_of_what_was_to_be_learned() {
        let mut learner = learner(|settings| settings.max_learned_rows = 0);
        for offset in 0..3 {
            predict(&mut learner, offset, 1.0, Some("a"));
        }
        assert!(learner.due(false).is_some());
        let trial = train(&mut learner, &BTreeMap::new(), &[], "a test").unwrap();
        assert!(trial.is_none());
        assert_eq!(learner.due(true), None);
    }

    fn on_probation() -> Learner {
        let mut learner = learner(|settings| {
            settings.probation_records = 20;
            settings.rollback_margin = 0.1;
        });
        learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
        for offset in 0..3 {
            predict(&mut learner, offset, 0.5, Some("b"));
        }
        assert_eq!(learner.due(false), Some(Due::RollBack));
        learner
    }

    #[test]
    fn a_champion_that_is_withdrawn_gives_way_to_the_model_that_it_replaced() {
        let mut learner = on_probation();
        let (earlier, champion) = (model(0.0), model(1.0));
        let registry = registry(&[&earlier, &champion]);
        let mut asked = Vec::new();
        let step = roll_back::<RegistryTopicError>(&mut learner, &registry, |version| {
            asked.push(version);
            Ok(Arc::clone(&earlier))
        })
        .unwrap();
        let version = earlier.model.version();
        assert_eq!(asked, [version]);
        let reason = format!(
            "{} did worse: of 3 labelled records, 3 fewer right",
            champion.model.version()
        );
        assert_eq!(step.outcome, Outcome::RolledBack(version, reason));
        assert_eq!(decided(&registry, &step), (3, Action::RolledBack, version));
        assert_eq!(learner.champion().model.version(), version);
        assert_eq!(learner.decision(), 3);
        assert_ne!(learner.due(false), Some(Due::RollBack));
    }

    #[test]
    fn a_champion_that_has_replaced_no_other_stays_and_its_probation_ends() {
        let mut learner = on_probation();
        let champion = model(1.0);
        let registry = registry(&[&champion]);
        let nothing = |_| -> Result<_, RegistryTopicError> { panic!("nothing is to be loaded") };
        let step = roll_back(&mut learner, &registry, nothing).unwrap();
        assert!(matches!(step.outcome, Outcome::NothingToRollBackTo(_)));
        assert_eq!(step.entries, []);
        assert_eq!(learner.champion().model.version(), champion.model.version());
        assert_eq!(
            (learner.decision(), learner.due(false)),
            (2, Some(Due::Training("enough rows to learn")))
        );
    }

    #[test]
    fn a_model_that_cannot_be_used_any_more_is_not_rolled_back_to() {
        let mut learner = on_probation();
        let (earlier, champion) = (model(0.0), model(1.0));
        let mut registry = registry(&[&earlier, &champion]);
        let key = earlier.model.version().to_string();
        registry.apply(9, None, key.as_bytes(), None).unwrap();
        let refused = roll_back::<RegistryTopicError>(&mut learner, &registry, |_| Ok(earlier));
        assert!(refused.unwrap_err().to_string().contains(&key));
        assert_eq!(learner.champion().model.version(), champion.model.version());
    }

    #[test]
    fn each_outcome_is_logged_in_words_and_counted_by_kind() {
        let version = "0123456789abcdef".parse().unwrap();
        let why = || "why".to_owned();
        for (outcome, line, kind) in [
            (
                Outcome::Promoted(version, why()),
                "promoted 0123456789abcdef: why",
                Some("promoted"),
            ),
            (
                Outcome::Rejected(version, why()),
                "rejected 0123456789abcdef: why",
                Some("rejected"),
            ),
            (
                Outcome::RolledBack(version, why()),
                "rolled back to 0123456789abcdef: why",
                Some("rolled_back"),
            ),
            (
                Outcome::Shadowed(version),
                "challenger 0123456789abcdef answers in the champion's shadow",
                None,
            ),
            (
                Outcome::NothingToRollBackTo(why()),
                "why, but there is nothing to roll back to",
                None,
            ),
        ] {
            assert_eq!((outcome.to_string().as_str(), outcome.kind()), (line, kind));
        }
    }

    #[test]
    fn only_a_champion_made_later_than_the_known_one_is_news() {
        let mut registry = registry(&[&model(0.0), &model(1.0)]);
        let news = |registry: &Registry, known| {
            later_champion(registry, known).map(|decision| (decision.number, decision.version))
        };
        let second = (2, model(1.0).model.version());
        assert_eq!(news(&Registry::default(), 0), None);
        assert_eq!(news(&registry, 0), Some(second));
        assert_eq!(news(&registry, 1), Some(second));
        assert_eq!(news(&registry, 2), None);
        assert_eq!(news(&registry, 3), None, "what is read may be older");
        let rejected = registry.enter(&model(2.0), false, Grounds::default());
        write(&mut registry, &rejected);
        assert_eq!(news(&registry, 2), None, "a rejection makes no champion");
    }
}
