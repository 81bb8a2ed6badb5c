//! Trials on labelled records: a new champion on probation against its predecessor, and a challenger in shadow against the
//! champion.

use std::iter;
use std::sync::Arc;

use iris_core::{Artefact, Model};

use crate::gate::{Accuracy, GateVerdict};
use crate::sampling::is_in_sample;
use crate::settings::TrainerSettings;
use crate::verdict::{ProbationVerdict, ShadowVerdict};

/// A labelled record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labelled<'a> {
    /// The record's id; empty if it has none.
    pub(crate) id: &'a str,
    /// The features.
    pub(crate) features: &'a [f64],
    /// The ground truth.
    pub(crate) label: &'a str,
}

impl Labelled<'_> {
    fn is_correct(self, model: &Model) -> bool {
        model.accuracy(iter::once((self.features, self.label))) == Some(1.0)
    }
}

/// A new champion's probation.
#[derive(Clone, Debug)]
pub(crate) struct Probation {
    /// The champion's predecessor.
    pub(crate) predecessor: Arc<Artefact>,
    /// The number of labelled records so far.
    pub(crate) records: u64,
    /// How many more of them the predecessor classifies correctly.
    pub(crate) predecessor_lead: i64,
}

impl Probation {
    /// Starts a probation.
    pub(crate) fn new(predecessor: Arc<Artefact>) -> Self {
        Self {
            predecessor,
            records: 0,
            predecessor_lead: 0,
        }
    }

    /// Has both models classify a record.
    pub(crate) fn add(&mut self, champion: &Model, record: Labelled<'_>) {
        let correct = |model| i64::from(record.is_correct(model));
        self.records += 1;
        self.predecessor_lead += correct(&self.predecessor.model) - correct(champion);
    }

    /// Whether the champion is too far behind its predecessor.
    pub(crate) fn is_failed(&self, settings: &TrainerSettings) -> bool {
        let max_lead = settings.rollback_margin * settings.probation_records as f64;
        self.predecessor_lead as f64 > max_lead
    }

    /// Whether the probation is over and the champion stays.
    pub(crate) fn is_passed(&self, settings: &TrainerSettings) -> bool {
        self.records >= settings.probation_records as u64 && !self.is_failed(settings)
    }

    /// Returns the result so far.
    pub(crate) fn verdict(&self, champion: &Model) -> ProbationVerdict {
        ProbationVerdict {
            champion: champion.version(),
            records: self.records,
            predecessor_lead: self.predecessor_lead,
        }
    }
}

/// A challenger's shadow run.
#[derive(Clone, Debug)]
pub(crate) struct ShadowRun {
    /// The challenger.
    pub(crate) challenger: Arc<Artefact>,
    /// The result at the gate.
    pub(crate) gate: GateVerdict,
    /// The number of labelled records so far.
    pub(crate) records: u64,
    /// How many of them the challenger classifies correctly.
    pub(crate) challenger_correct: u64,
    /// How many of them the champion classifies correctly.
    pub(crate) champion_correct: u64,
}

impl ShadowRun {
    /// Starts a shadow run.
    pub(crate) fn new(challenger: Arc<Artefact>, gate: GateVerdict) -> Self {
        Self {
            challenger,
            gate,
            records: 0,
            challenger_correct: 0,
            champion_correct: 0,
        }
    }

    /// Has both models classify a record, if it is in the sample.
    pub(crate) fn add(&mut self, champion: &Model, record: Labelled<'_>, sample_ratio: f64) {
        if !is_in_sample(record.id.bytes().map(u64::from), sample_ratio) {
            return;
        }
        self.records += 1;
        self.challenger_correct += u64::from(record.is_correct(&self.challenger.model));
        self.champion_correct += u64::from(record.is_correct(champion));
    }

    /// Whether there are enough records for a verdict.
    pub(crate) fn is_finished(&self, settings: &TrainerSettings) -> bool {
        self.records >= settings.shadow_records as u64
    }

    /// Returns the result.
    pub(crate) fn verdict(&self, margin: f64) -> ShadowVerdict {
        let records = self.records.max(1) as f64;
        ShadowVerdict {
            gate: self.gate,
            records: self.records,
            accuracy: Accuracy {
                challenger: self.challenger_correct as f64 / records,
                champion: self.champion_correct as f64 / records,
            },
            margin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::model;

    fn settings() -> TrainerSettings {
        TrainerSettings {
            probation_records: 20,
            rollback_margin: 0.1,
            shadow_records: 4,
            ..TrainerSettings::default()
        }
    }

    fn record(x: &[f64; 1]) -> Labelled<'_> {
        Labelled {
            id: "1",
            features: x,
            label: "b",
        }
    }

    #[test]
    fn a_champion_fails_its_probation_when_its_predecessor_leads_by_more_than_the_margin() {
        let champion = model(1.0);
        let mut probation = Probation::new(model(0.0));
        for _ in 0..2 {
            probation.add(&champion.model, record(&[0.5]));
        }
        assert!(!probation.is_failed(&settings()));
        probation.add(&champion.model, record(&[0.5]));
        assert!(probation.is_failed(&settings()));
        let expected = ProbationVerdict {
            champion: champion.model.version(),
            records: 3,
            predecessor_lead: 3,
        };
        assert_eq!(probation.verdict(&champion.model), expected);
        for _ in 0..20 {
            probation.add(&champion.model, record(&[5.0]));
        }
        assert!(!probation.is_passed(&settings()), "the lead is the same");
    }

    #[test]
    fn a_champion_that_is_as_good_passes_after_enough_records() {
        let mut probation = Probation::new(model(0.0));
        for records in 0..20 {
            assert!(!probation.is_passed(&settings()), "{records}");
            probation.add(&model(1.0).model, record(&[5.0]));
        }
        assert!(probation.is_passed(&settings()));
    }

    #[test]
    fn a_shadow_run_compares_accuracies_on_sampled_records() {
        let champion = model(0.0);
        let mut shadow = ShadowRun::new(model(1.0), GateVerdict::default());
        for x in [0.5, 5.0, 5.0, 5.0] {
            assert!(!shadow.is_finished(&settings()));
            shadow.add(&champion.model, record(&[x]), 1.0);
            shadow.add(&champion.model, record(&[x]), 0.0);
        }
        assert!(shadow.is_finished(&settings()));
        let verdict = shadow.verdict(0.1);
        let accuracy = Accuracy {
            challenger: 0.75,
            champion: 1.0,
        };
        assert_eq!((verdict.records, verdict.accuracy), (4, accuracy));
        assert!(!verdict.is_passed());
    }

    #[test]
    fn without_records_both_accuracies_are_zero() {
        let shadow = ShadowRun::new(model(1.0), GateVerdict::default());
        let verdict = shadow.verdict(0.0);
        assert_eq!((verdict.records, verdict.accuracy.challenger), (0, 0.0));
    }
}
