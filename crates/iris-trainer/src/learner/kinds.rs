//! The competition of the kinds of models: which kind the next challenger is.
//!
//! All kinds predict the newest rows of the challenger's training set, each row from the other ones. If the paired test finds
//! another kind better than the champion's, the challenger is of this kind; it still has to pass the gate. Nothing is kept
//! between two comparisons but the time of the latest one.

use iris_contract::figure::{KIND_ACCURACY, KIND_ROWS};
use iris_core::{ModelKind, TrainingSet};

use super::left_out;
use crate::figures::Figures;
use crate::paired_test::{PairedResult, PairedTest, is_enough};

/// The maximum number of newest rows that are compared. More rows find smaller differences, and take longer.
const MAX_ROWS: usize = 1_000;

/// The kinds are compared again when the stream has this share of the rows more labelled records.
const GROWTH: u64 = 4;

/// The minimum number of labelled records between two comparisons.
const MIN_RECORDS: u64 = 25;

/// The kinds of models that compete.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Competition {
    kinds: Vec<ModelKind>,
    /// The number of labelled records before the latest comparison.
    compared: Option<u64>,
    /// The accuracy of each kind, if they were compared for the latest challenger.
    figures: Figures,
}

impl Competition {
    /// Continues from the latest comparison.
    pub(super) fn restore(kinds: Vec<ModelKind>, compared: Option<u64>) -> Self {
        Self {
            kinds,
            compared,
            figures: Figures::new(),
        }
    }

    /// Returns the number of labelled records before the latest comparison.
    pub(super) fn compared(&self) -> Option<u64> {
        self.compared
    }

    /// Returns the kind of the next challenger. `set`: its rows, oldest first; `records`: the number of labelled records so far.
    pub(super) fn kind(
        &mut self,
        champion: ModelKind,
        set: &TrainingSet,
        records: u64,
        error_rate: f64,
    ) -> ModelKind {
        self.figures.clear();
        let interval = MIN_RECORDS.max(set.len() as u64 / GROWTH);
        let is_due = self
            .compared
            .is_none_or(|compared| records >= compared + interval);
        if !is_due || self.kinds.iter().all(|&kind| kind == champion) {
            return champion;
        }
        self.compared = Some(records);
        let comparison = compare(champion, &self.kinds, set);
        self.figures = figures(&comparison);
        best(champion, &comparison, error_rate)
    }

    /// Returns the accuracy of each kind by name. None if they were not compared for the latest challenger.
    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }
}

/// A kind, and for each of the newest rows, whether it predicts the row correctly.
type Results = (ModelKind, Vec<bool>);

/// Has the champion's kind, which comes first, and each other kind predict the newest rows. A kind that needs more rows is left out.
fn compare(champion: ModelKind, kinds: &[ModelKind], set: &TrainingSet) -> Vec<Results> {
    let older = set.len().saturating_sub(MAX_ROWS);
    let newest = TrainingSet::new(set.schema().clone(), set.rows().skip(older));
    let others = kinds.iter().copied().filter(|&kind| kind != champion);
    let results = |kind| Some((kind, left_out::correct(newest.clone(), kind)?));
    std::iter::once(champion)
        .chain(others)
        .filter_map(results)
        .collect()
}

/// Returns the number of rows, and the accuracy of each kind, by name.
fn figures(comparison: &[Results]) -> Figures {
    let rows = comparison.first().map_or(0, |(_, correct)| correct.len());
    let accuracy = |(kind, correct): &Results| {
        let right = correct.iter().filter(|is_correct| **is_correct).count();
        (
            format!("{KIND_ACCURACY}{kind}"),
            right as f64 / rows.max(1) as f64,
        )
    };
    let accuracies = comparison.iter().map(accuracy);
    accuracies
        .chain([(KIND_ROWS.to_owned(), rows as f64)])
        .collect()
}

/// Returns the kind that predicts the newest rows best: the champion's, unless the test finds another one better. If it is not,
/// that happens with a probability of about `error_rate`.
fn best(champion: ModelKind, comparison: &[Results], error_rate: f64) -> ModelKind {
    let Some(((first, by_champion), others)) = comparison.split_first() else {
        return champion;
    };
    if *first != champion {
        return champion;
    }
    let mut best = (champion, 1.0);
    for (kind, by_kind) in others {
        let mut test = PairedTest::default();
        for (&is_correct, &is_other_correct) in by_kind.iter().zip(by_champion) {
            test.add(PairedResult {
                is_correct,
                is_other_correct,
                weight: 1.0,
            });
        }
        let evidence = test.final_evidence();
        if is_enough(evidence, error_rate) && evidence > best.1 {
            best = (*kind, evidence);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use iris_core::{NeighborsKind, Scale, Schema};

    use super::*;

    const RAW: ModelKind = ModelKind::Neighbors(NeighborsKind {
        neighbors: 5,
        scale: Scale::None,
        weights: iris_core::Weights::Uniform,
        metric: iris_core::Metric::Euclidean,
    });

    const SCALED: ModelKind = ModelKind::Neighbors(NeighborsKind {
        neighbors: 5,
        scale: Scale::Standard,
        weights: iris_core::Weights::Uniform,
        metric: iris_core::Metric::Euclidean,
    });

    /// Rows whose label depends on the first feature. The second is noise that is this much larger.
    fn rows(count: usize, noise: f64) -> TrainingSet {
        let mut random = fastrand::Rng::with_seed(1);
        let rows: Vec<([f64; 2], &str)> = (0..count)
            .map(|_| {
                let x = random.f64();
                ([x, noise * random.f64()], if x < 0.5 { "a" } else { "b" })
            })
            .collect();
        let schema = Schema {
            features: vec!["x".into(), "noise".into()],
            ..Schema::default()
        };
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        TrainingSet::new(schema, rows)
    }

    fn chosen(champion: ModelKind, kinds: &[ModelKind], set: &TrainingSet) -> ModelKind {
        best(champion, &compare(champion, kinds, set), 0.1)
    }

    #[test]
    fn the_kind_that_predicts_the_other_rows_better_is_chosen() {
        let set = rows(300, 100.0);
        assert_eq!(chosen(RAW, &[RAW, SCALED], &set), SCALED);
        assert_eq!(chosen(SCALED, &[RAW, SCALED], &set), SCALED);
        assert_eq!(chosen(RAW, &[RAW], &set), RAW);
    }

    #[test]
    fn without_evidence_the_kind_stays() {
        for set in [rows(300, 1.0), rows(6, 100.0), rows(3, 100.0), rows(0, 1.0)] {
            for kind in [RAW, SCALED] {
                assert_eq!(chosen(kind, &[RAW, SCALED], &set), kind);
            }
        }
    }

    #[test]
    fn kinds_are_compared_again_when_the_stream_has_grown() {
        let set = rows(300, 100.0);
        let mut competition = Competition::restore(vec![RAW, SCALED], None);
        let mut kind = |records| competition.kind(RAW, &set, records, 0.1);
        assert_eq!(kind(1_000), SCALED);
        assert_eq!(kind(1_074), RAW, "they are not compared");
        assert_eq!(kind(1_075), SCALED);
        let figures: Vec<_> = competition.figures().iter().collect();
        let [(raw, &lower), (scaled, &higher), (rows, &count)] = figures[..] else {
            panic!("{figures:?}");
        };
        assert_eq!(raw, "kind_accuracy: 5 neighbours");
        assert_eq!(scaled, "kind_accuracy: 5 neighbours (scaled features)");
        assert!(lower < 0.8 && higher > 0.9, "{figures:?}");
        assert_eq!((rows.as_str(), count), ("kind_rows", 300.0));
        let mut alone = Competition::restore(vec![RAW], None);
        assert_eq!(alone.kind(RAW, &set, 1_000, 0.1), RAW);
        assert_eq!(alone.compared(), None);
    }
}
