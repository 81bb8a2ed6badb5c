//! The learner's part in decisions: when one is due, how a challenger is trained and judged, and how a new champion is
//! followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_contract::registry::Action;
use iris_core::{Artefact, FitError, Model};

use super::Learner;
use super::trial::{Probation, ShadowRun};
use crate::challenger::{TrainingLimits, train};
use crate::gate::{Comparison, GateVerdict};
use crate::verdict::{ProbationVerdict, ShadowVerdict, TrainingCause};

/// A row of features with its label.
pub type Row = (Vec<f64>, String);

/// A decision that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Train a challenger, for this cause.
    Training(TrainingCause),
    /// Roll back to the champion's predecessor.
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
        let has_drifted = self.drift.is_retraining_due();
        self.examples
            .training_cause(self.now(), has_drifted, is_end, settings)
            .map(Due::Training)
    }

    /// Trains a challenger on the champion's rows and the pending examples. `None` if it is the champion again.
    ///
    /// # Errors
    /// [`FitError`] if too few rows are left.
    pub fn train_challenger(
        &self,
        sources: &BTreeMap<String, BTreeMap<i32, i64>>,
    ) -> Result<Option<Artefact>, FitError> {
        let limits = TrainingLimits::from(&self.settings);
        train(&self.champion, self.examples.as_slice(), limits, sources)
    }

    /// Compares a challenger with the champion on the holdout rows, and on the recent records that are not pending examples.
    #[must_use]
    pub fn judge(&self, challenger: &Model, holdout: &[Row]) -> GateVerdict {
        let compare =
            |rows: &[(&[f64], &str)]| Comparison::of(challenger, &self.champion.model, rows);
        let holdout: Vec<_> = holdout
            .iter()
            .map(|(features, label)| (&features[..], label.as_str()))
            .collect();
        let recent: Vec<_> = self
            .recent
            .iter()
            .filter(|record| !self.examples.contains(record.place))
            .map(|record| (&record.features[..], record.label.as_str()))
            .collect();
        GateVerdict {
            margin: self.settings.promotion_margin,
            holdout: compare(&holdout),
            recent: compare(&recent),
        }
    }

    /// Removes the pending examples, after a challenger was trained on them.
    pub fn has_trained(&mut self) {
        self.examples.clear();
        self.drift.has_retrained();
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
        let verdict = shadow.verdict(self.settings.promotion_margin);
        Some((shadow.challenger, verdict))
    }

    /// Returns the result of the champion's probation so far, if it is on probation.
    #[must_use]
    pub fn probation(&self) -> Option<ProbationVerdict> {
        let probation = self.probation.as_ref()?;
        Some(probation.verdict(&self.champion.model))
    }

    /// Continues with another champion, made by the decision of this number. A promoted one is on probation against its
    /// predecessor.
    pub fn follow(
        &mut self,
        decision: u64,
        action: Action,
        champion: Arc<Artefact>,
        predecessor: Option<Arc<Artefact>>,
    ) {
        let is_on_probation = action == Action::Promoted && self.settings.probation_records > 0;
        let predecessor = predecessor.filter(|_| is_on_probation);
        self.probation = predecessor.map(Probation::new);
        self.shadow = None;
        self.decision = decision;
        self.champion = champion;
    }
}
