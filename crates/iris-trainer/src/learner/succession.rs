//! The learner's part in decisions: when one is due, how a challenger is trained and judged, and how a new champion is
//! followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_contract::registry::Action;
use iris_core::{Artefact, Model, TrainingSet};

use super::left_out;
use super::proof;
use super::results::Row;
use super::trial::{Probation, ShadowRun};
use super::{Learner, trained};
use crate::challenger::{Challenger, TrainingExample, TrainingLimits, train};
use crate::figures::Figures;
use crate::gate::{Comparison, Evidence, GateVerdict, RecordWeights};
use crate::paired_test::PairedResult;
use crate::settings::Learn;
use crate::verdict::{ProbationVerdict, ShadowVerdict, TrainingCause};

/// A decision that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Train a challenger, for this cause.
    Training(TrainingCause),
    /// Roll back to the last champion that has passed its probation.
    RollBack,
    /// Decide about the challenger in shadow.
    Shadow,
}

impl Learner {
    /// Returns the decision that is due, if one is. `is_end`: no more records are expected, so that pending examples are
    /// learned now.
    #[must_use]
    pub fn due(&self, is_end: bool) -> Option<Due> {
        let settings = &self.settings;
        let probation = self.probation.as_ref();
        if probation.is_some_and(|probation| probation.is_failed(settings)) {
            return Some(Due::RollBack);
        }
        if let Some(shadow) = &self.shadow {
            return shadow.is_finished(settings).then_some(Due::Shadow);
        }
        let has_changed = self.drift.is_retraining_due() || self.has_changed;
        let trained = &self.trained().model;
        let rows = trained.training_set().len();
        let is_slow = trained.kind().is_slow_to_fit();
        self.memory
            .training_cause(rows, is_slow, self.now(), has_changed, is_end, settings)
            .map(Due::Training)
    }

    /// Trains a challenger on the champion's rows and the examples that it was not trained on.
    ///
    /// Returns `None` if the result is the champion again, if too few rows are left to train on, or if the rows must be better
    /// than the champion and are not. Training is then due again when there are more rows.
    pub fn train_challenger(
        &mut self,
        sources: &BTreeMap<String, BTreeMap<i32, i64>>,
    ) -> Option<Artefact> {
        self.drift.has_retrained();
        self.has_changed = false;
        let is_proven = self.is_memory_proven();
        let limits = TrainingLimits::from(&self.settings);
        let error_rate = self.settings.rejection_error_rate;
        let selection = self.memory.selection();
        let (base, competition) = (
            trained(&self.champion, &self.dataset),
            &mut self.competition,
        );
        let kind = |set: &TrainingSet| {
            competition.kind(base.model.kind(), set, selection.records, error_rate)
        };
        // A model needs as many rows as it has neighbours.
        let trained = is_proven
            .then(|| train(base, selection, limits, sources, kind).ok())
            .flatten();
        let Some(Challenger {
            mut artefact,
            known,
            origins,
        }) = trained
        else {
            self.memory.wait_for_rows();
            return None;
        };
        if let Some(artefact) = &mut artefact {
            artefact.lineage.parent = Some(self.champion.model.version());
        }
        self.memory.trained(artefact.as_ref(), known);
        self.origins = origins;
        artefact
    }

    /// Returns the accuracy of each kind of model by name, if the kinds were compared for the challenger that was trained last.
    pub(crate) fn figures_of_kinds(&self) -> &Figures {
        self.competition.figures()
    }

    /// Whether the memory is better than the champion, if that has to be shown.
    fn is_memory_proven(&self) -> bool {
        let (champion, trained) = (&self.champion.model, &self.trained().model);
        let examples = self.memory.selection().examples;
        let error_rate = self.settings.rejection_error_rate;
        !self.memory.needs_proof(trained.training_set().len())
            || proof::is_better(champion, trained.kind(), examples, error_rate)
    }

    /// Compares a challenger with the champion on the dataset's holdout rows, on the records that are held out, and, if the rows of
    /// the two differ enough, on the rows that are left out.
    #[must_use]
    pub fn judge(&mut self, challenger: &Model, holdout: &[Row]) -> GateVerdict {
        let held_out: Vec<&TrainingExample> = self.holdout.iter().collect();
        let champion = &self.champion.model;
        self.results.of(champion, challenger, holdout, &held_out);
        let paired = |(is_correct, is_other_correct), weight| PairedResult {
            is_correct,
            is_other_correct,
            weight,
        };
        let dataset = self.results.dataset();
        let dataset: Vec<PairedResult> = dataset.map(|results| paired(results, 1.0)).collect();
        let recent: Vec<PairedResult> = held_out
            .iter()
            .filter_map(|record| {
                let results = self.results.recent(record.place)?;
                Some(paired(results, self.weights.of(&record.label)))
            })
            .collect();
        let left_out = self.left_out_results(challenger);
        GateVerdict {
            margin: self.settings.promotion_margin,
            holdout: Comparison::of_results(&dataset),
            recent: Comparison::of_results(&recent),
            evidence: Evidence::of_results(&recent),
            left_out: Comparison::of_results(&left_out),
            left_out_evidence: Evidence::of_results(&left_out),
            error_rate: self.settings.rejection_error_rate,
        }
    }

    /// Returns the results of the champion and of the challenger that was trained last on the rows that are left out. None if the
    /// models differ too little, if the rows are a biased sample of the stream, or if it is not known which rows the champion was
    /// trained on.
    fn left_out_results(&self, challenger: &Model) -> Vec<PairedResult> {
        let champion = &self.champion.model;
        let is_comparable = self.memory.has_trained(challenger.version())
            && self.origins.len() == challenger.training_set().len()
            && self.settings.learn == Learn::All
            && !champion.kind().is_imported();
        if is_comparable && left_out::is_due(champion, challenger, &self.origins) {
            left_out::compare(champion, challenger, &self.origins, &self.weights)
        } else {
            Vec::new()
        }
    }

    /// Whether a challenger that has passed the gate runs in shadow before it is promoted.
    #[must_use]
    pub fn has_shadow_runs(&self) -> bool {
        self.settings.shadow_records > 0
    }

    /// Starts the shadow run of a challenger that has passed the gate.
    pub fn start_shadow_run(&mut self, challenger: Arc<Artefact>, gate: GateVerdict) {
        self.shadow = Some(ShadowRun::new(challenger, gate));
    }

    /// Ends the shadow run and returns the challenger with the result. `None` if there is no shadow run.
    pub fn end_shadow_run(&mut self) -> Option<(Arc<Artefact>, ShadowVerdict)> {
        let shadow = self.shadow.take()?;
        let verdict = shadow.verdict(&self.settings);
        Some((shadow.challenger, verdict))
    }

    /// Returns the result of the champion's probation so far, if it is on probation.
    #[must_use]
    pub fn probation(&self) -> Option<ProbationVerdict> {
        let probation = self.probation.as_ref()?;
        Some(probation.verdict(&self.champion.model, self.settings.rollback_error_rate))
    }

    /// Returns the last champion that has passed its probation, if the champion is on probation against it.
    #[must_use]
    pub fn last_passed(&self) -> Option<&Arc<Artefact>> {
        let probation = self.probation.as_ref()?;
        Some(&probation.predecessor)
    }

    /// Continues with another champion, made by the decision of this number. A promoted one is on probation against its
    /// predecessor. If the predecessor is on probation itself and the new champion was trained from it, this probation continues.
    pub fn follow(
        &mut self,
        decision: u64,
        action: Action,
        champion: Arc<Artefact>,
        predecessor: Option<Arc<Artefact>>,
    ) {
        let version = champion.model.version();
        let former = Arc::clone(self.trained());
        let probation = self.probation.take();
        match action {
            Action::Promoted => {
                let continued = probation.filter(|_| self.memory.has_trained(version));
                let predecessor_version = self.champion.model.version();
                self.memory
                    .promoted(version, predecessor_version, continued.is_some());
                let begun = predecessor.filter(|_| self.settings.probation_records > 0);
                self.probation = continued.or_else(|| begun.map(Probation::new));
            }
            Action::RolledBack => self.memory.rolled_back(version, &former.model),
            _ => self.memory.replaced(),
        }
        self.shadow = None;
        self.decision = decision;
        self.recency.follow(&champion.model);
        self.champion = champion;
        self.weights = RecordWeights::new(self.settings.measure, &self.trained().model);
    }
}
