//! Whether older rows still help: a model of the newest quarter of the champion's rows classifies each labelled record beside the
//! champion. When it has become better, the older rows belong to a concept of the past.
//!
//! The idea is that of paired learners (Bach and Maloof, 2008); the test is a sequential one, so that it may look at every
//! record.

use iris_core::{Model, TrainingSet};

use super::trial::{Labelled, compare};
use crate::paired_test::ChangeTest;

/// The share of the champion's rows that the second model has.
const SHARE: usize = 4;

/// The minimum number of rows of the second model.
const MIN_ROWS: usize = 200;

/// The mean number of labelled records until the older rows are left out although they do no harm. That costs little, because
/// the newest quarter has then been at least as good.
const FALSE_ALARM_RECORDS: u64 = 10_000;

/// The test of the champion's older rows.
#[derive(Debug)]
pub(crate) struct RecencyTest {
    /// The model of the newest rows; `None` if the champion has too few rows.
    recent: Option<Model>,
    evidence: ChangeTest,
}

impl RecencyTest {
    /// Continues with stored evidence.
    pub(crate) fn restore(champion: &Model, evidence: ChangeTest) -> Self {
        Self {
            recent: recent(champion),
            evidence,
        }
    }

    /// Returns the evidence to store.
    pub(crate) fn evidence(&self) -> &ChangeTest {
        &self.evidence
    }

    /// Continues with another champion.
    pub(crate) fn follow(&mut self, champion: &Model) {
        self.recent = recent(champion);
    }

    /// Has both models classify a record that neither has learned. Returns the number of newest rows that are better without
    /// the others, once; the test then starts over.
    pub(crate) fn add(&mut self, champion: &Model, record: Labelled<'_>) -> Option<usize> {
        let recent = self.recent.as_ref()?;
        self.evidence.add(compare(recent, champion, record, 1.0));
        if !self.evidence.is_better(FALSE_ALARM_RECORDS) {
            return None;
        }
        self.evidence = ChangeTest::default();
        self.recent.take().map(|recent| recent.training_set().len())
    }
}

/// Fits a model of the newest rows, if there are enough others. Rows that came from the dataset are the oldest.
fn recent(champion: &Model) -> Option<Model> {
    let set = champion.training_set();
    let newest = (set.len() / SHARE).max(MIN_ROWS);
    let oldest = set.len().checked_sub(newest)?;
    if oldest < newest / 3 {
        return None;
    }
    let newest = TrainingSet::new(set.schema().clone(), set.rows().skip(oldest));
    Model::fit(newest, champion.kind()).ok()
}

#[cfg(test)]
mod tests {
    use iris_core::TrainingSet;

    use super::*;
    use crate::example::schema;

    /// A model of this many rows around 0, of which the newest `recent` have the opposite labels of the others.
    fn model(rows: usize, recent: usize) -> Model {
        let mut random = fastrand::Rng::with_seed(1);
        let rows: Vec<([f64; 1], &str)> = (0..rows)
            .map(|row| {
                let x = random.f64() - 0.5;
                let is_reversed = row + recent >= rows;
                ([x], if (x < 0.0) ^ is_reversed { "a" } else { "b" })
            })
            .collect();
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        Model::fit(TrainingSet::new(schema(), rows), 5).unwrap()
    }

    /// Returns the number of records until the older rows are found to harm, and the number of rows that are left.
    fn found(champion: &Model, is_reversed: bool) -> Option<(usize, usize)> {
        let mut test = RecencyTest::restore(champion, ChangeTest::default());
        let mut random = fastrand::Rng::with_seed(2);
        (1..=2_000).find_map(|records| {
            let x = [random.f64() - 0.5];
            let label = if (x[0] < 0.0) ^ is_reversed { "a" } else { "b" };
            let record = Labelled {
                id: "",
                features: &x,
                label,
            };
            Some((records, test.add(champion, record)?))
        })
    }

    #[test]
    fn older_rows_are_left_out_when_the_newest_quarter_is_better() {
        let (records, rows) = found(&model(1_000, 250), true).unwrap();
        assert!(records < 100, "{records}");
        assert_eq!(rows, 250);
        assert_eq!(found(&model(1_000, 0), false), None);
    }

    #[test]
    fn a_champion_with_few_rows_is_not_tested() {
        assert_eq!(found(&model(260, 250), true), None);
    }

    #[test]
    fn stored_evidence_counts() {
        let champion = model(1_000, 250);
        let mut test = RecencyTest::restore(&champion, ChangeTest::default());
        let record = Labelled {
            id: "",
            features: &[0.2],
            label: "a",
        };
        let mut records = 0;
        while test.add(&champion, record).is_none() {
            records += 1;
            assert!(records < 100);
            test = RecencyTest::restore(&champion, test.evidence().clone());
            test.follow(&champion);
        }
    }
}
