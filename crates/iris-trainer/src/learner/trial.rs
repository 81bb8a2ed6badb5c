//! Trials on labelled records: a new champion on probation against its predecessor, and a challenger in shadow against the
//! champion.

use std::sync::Arc;

use iris_core::{Artefact, Model};

use crate::challenger::TrainingExample;
use crate::gate::{Accuracy, GateVerdict, RecordWeights};
use crate::paired_test::{PairedResult, PairedTest, is_enough};
use crate::sampling::is_in_sample;
use crate::settings::TrainerSettings;
use crate::verdict::{ProbationVerdict, ShadowVerdict};

/// The share of the error rate with which a challenger is rejected before the end of its shadow run. The test at the end, which
/// has the rest, finds smaller differences.
const EARLY: f64 = 0.2;

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
    /// Whether a model classifies the record correctly.
    pub(crate) fn is_correct(self, model: &Model) -> bool {
        model.predict_label(self.features) == self.label
    }
}

impl<'a> From<&'a TrainingExample> for Labelled<'a> {
    fn from(example: &'a TrainingExample) -> Self {
        Self {
            id: "",
            features: &example.features,
            label: &example.label,
        }
    }
}

/// Has two models classify a record.
pub(crate) fn compare(
    model: &Model,
    other: &Model,
    record: Labelled<'_>,
    weight: f64,
) -> PairedResult {
    PairedResult {
        is_correct: record.is_correct(model),
        is_other_correct: record.is_correct(other),
        weight,
    }
}

/// The probation of a new champion, and of those that replace it before the end.
#[derive(Clone, Debug)]
pub(crate) struct Probation {
    /// The last champion that has passed its probation.
    pub(crate) predecessor: Arc<Artefact>,
    /// The evidence that the predecessor is better.
    pub(crate) test: PairedTest,
}

impl Probation {
    /// Starts a probation.
    pub(crate) fn new(predecessor: Arc<Artefact>) -> Self {
        Self {
            predecessor,
            test: PairedTest::default(),
        }
    }

    /// Has both models classify a record.
    pub(crate) fn add(&mut self, champion: &Model, record: Labelled<'_>, weights: &RecordWeights) {
        let weight = weights.of(record.label);
        self.test
            .add(compare(&self.predecessor.model, champion, record, weight));
    }

    /// Whether the champion is worse than its predecessor.
    pub(crate) fn is_failed(&self, settings: &TrainerSettings) -> bool {
        self.test.is_better(settings.rollback_error_rate)
    }

    /// Whether the probation is over and the champion stays.
    pub(crate) fn is_passed(&self, settings: &TrainerSettings) -> bool {
        self.test.records >= settings.probation_records as u64 && !self.is_failed(settings)
    }

    /// Returns the result so far.
    pub(crate) fn verdict(&self, champion: &Model, error_rate: f64) -> ProbationVerdict {
        ProbationVerdict {
            champion: champion.version(),
            predecessor: self.predecessor.model.version(),
            records: self.test.records,
            predecessor_wins: self.test.wins,
            champion_wins: self.test.losses,
            evidence: self.test.evidence(),
            error_rate,
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
    /// The evidence that the champion is better.
    pub(crate) test: PairedTest,
    /// How many of the records the champion classifies correctly.
    pub(crate) champion_correct: u64,
}

impl ShadowRun {
    /// Starts a shadow run.
    pub(crate) fn new(challenger: Arc<Artefact>, gate: GateVerdict) -> Self {
        Self {
            challenger,
            gate,
            test: PairedTest::default(),
            champion_correct: 0,
        }
    }

    /// Has both models classify a record, if it is in the sample.
    pub(crate) fn add(
        &mut self,
        champion: &Model,
        record: Labelled<'_>,
        weights: &RecordWeights,
        sample_ratio: f64,
    ) {
        if !is_in_sample(record.id.bytes().map(u64::from), sample_ratio) {
            return;
        }
        let weight = weights.of(record.label);
        let result = compare(champion, &self.challenger.model, record, weight);
        self.champion_correct += u64::from(result.is_correct);
        self.test.add(result);
    }

    /// Whether there are enough records for a verdict.
    pub(crate) fn is_finished(&self, settings: &TrainerSettings) -> bool {
        self.is_complete(settings)
            || is_enough(self.evidence(settings), settings.rejection_error_rate)
    }

    fn is_complete(&self, settings: &TrainerSettings) -> bool {
        self.test.records >= settings.shadow_records as u64
    }

    /// Returns the evidence that the champion is better, so that both tests together have the error rate.
    fn evidence(&self, settings: &TrainerSettings) -> f64 {
        let early = EARLY * self.test.evidence();
        if self.is_complete(settings) {
            early.max((1.0 - EARLY) * self.test.final_evidence())
        } else {
            early
        }
    }

    /// Returns the result.
    pub(crate) fn verdict(&self, settings: &TrainerSettings) -> ShadowVerdict {
        let records = self.test.records.max(1) as f64;
        let champion = self.champion_correct;
        let challenger = champion - self.test.wins + self.test.losses;
        ShadowVerdict {
            gate: self.gate,
            records: self.test.records,
            accuracy: Accuracy {
                challenger: challenger as f64 / records,
                champion: champion as f64 / records,
            },
            evidence: self.evidence(settings),
            error_rate: settings.rejection_error_rate,
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
            rollback_error_rate: 0.1,
            shadow_records: 4,
            rejection_error_rate: 0.1,
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
    fn a_champion_fails_its_probation_with_evidence_that_its_predecessor_is_better() {
        let champion = model(1.0);
        let mut probation = Probation::new(model(0.0));
        let weights = RecordWeights::default();
        let mut records = 0;
        while !probation.is_failed(&settings()) {
            assert!(records < 10);
            probation.add(&champion.model, record(&[0.5]), &weights);
            records += 1;
        }
        assert!(records > 3, "{records}");
        let verdict = probation.verdict(&champion.model, 0.1);
        assert_eq!(verdict.champion, champion.model.version());
        assert_eq!(verdict.predecessor, model(0.0).model.version());
        assert_eq!(
            (verdict.predecessor_wins, verdict.champion_wins),
            (records, 0)
        );
        assert!(verdict.evidence >= 10.0);
        for _ in 0..20 {
            probation.add(&champion.model, record(&[5.0]), &weights);
        }
        assert!(!probation.is_passed(&settings()), "the evidence stays");
    }

    #[test]
    fn a_champion_that_is_as_good_passes_after_enough_records() {
        let mut probation = Probation::new(model(0.0));
        for records in 0..20 {
            assert!(!probation.is_passed(&settings()), "{records}");
            let weights = RecordWeights::default();
            probation.add(&model(1.0).model, record(&[5.0]), &weights);
        }
        assert!(probation.is_passed(&settings()));
    }

    #[test]
    fn a_shadow_run_compares_both_models_on_sampled_records() {
        let (champion, weights) = (model(0.0), RecordWeights::default());
        let mut shadow = ShadowRun::new(model(1.0), GateVerdict::default());
        for x in [0.5, 5.0, 5.0, 5.0] {
            assert!(!shadow.is_finished(&settings()));
            shadow.add(&champion.model, record(&[x]), &weights, 1.0);
            shadow.add(&champion.model, record(&[x]), &weights, 0.0);
        }
        assert!(shadow.is_finished(&settings()));
        let verdict = shadow.verdict(&settings());
        let accuracy = Accuracy {
            challenger: 0.75,
            champion: 1.0,
        };
        assert_eq!((verdict.records, verdict.accuracy), (4, accuracy));
        assert!(
            verdict.is_passed(),
            "one record is no evidence: {}",
            verdict.evidence
        );
    }

    #[test]
    fn a_challenger_that_is_worse_in_shadow_is_rejected_as_soon_as_there_is_evidence() {
        let (champion, weights) = (model(0.0), RecordWeights::default());
        let settings = TrainerSettings {
            shadow_records: 1_000,
            ..settings()
        };
        let mut shadow = ShadowRun::new(model(1.0), GateVerdict::default());
        for _ in 0..10 {
            shadow.add(&champion.model, record(&[0.5]), &weights, 1.0);
        }
        assert!(shadow.is_finished(&settings));
        let verdict = shadow.verdict(&settings);
        assert!(!verdict.is_passed(), "{verdict}");
    }

    #[test]
    fn without_records_both_accuracies_are_zero() {
        let shadow = ShadowRun::new(model(1.0), GateVerdict::default());
        let verdict = shadow.verdict(&settings());
        assert_eq!((verdict.records, verdict.accuracy.challenger), (0, 0.0));
    }
}
