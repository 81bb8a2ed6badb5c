//! The evaluation: counts the labelled predictions of each model version.

use iris_core::{Confusion, ModelVersion};
use serde::{Deserialize, Serialize};

/// The maximum number of model versions; the one that was seen first is dropped.
const MAX_VERSIONS: usize = 20;

/// A confusion matrix for each model version, in the order in which the versions were first seen. Predictions without a
/// version share one matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    versions: Vec<(Option<ModelVersion>, Confusion)>,
}

impl Evaluation {
    /// Counts a prediction.
    pub fn add(&mut self, version: Option<ModelVersion>, truth: &str, predicted: &str) {
        let known = self
            .versions
            .iter()
            .position(|(known, _)| *known == version);
        let position = known.unwrap_or_else(|| {
            if self.versions.len() == MAX_VERSIONS {
                self.versions.remove(0);
            }
            self.versions.push((version, Confusion::default()));
            self.versions.len() - 1
        });
        self.versions[position].1.add(truth, predicted);
    }

    /// Removes a prediction that was counted.
    pub fn remove(&mut self, version: Option<ModelVersion>, truth: &str, predicted: &str) {
        let known = |(known, _): &&mut (Option<ModelVersion>, Confusion)| *known == version;
        if let Some((_, confusion)) = self.versions.iter_mut().find(known) {
            confusion.remove(truth, predicted);
        }
    }

    /// Iterates over the versions and their matrices.
    pub fn versions(&self) -> impl Iterator<Item = (Option<ModelVersion>, &Confusion)> {
        self.versions
            .iter()
            .map(|(version, confusion)| (*version, confusion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_versions_is_limited() {
        let mut evaluation = Evaluation::default();
        for number in 0..MAX_VERSIONS as u64 + 5 {
            let version = format!("{number:016x}").parse().unwrap();
            evaluation.add(Some(version), "a", "a");
        }
        assert_eq!(evaluation.versions().count(), MAX_VERSIONS);
        let first = evaluation.versions().next().unwrap().0.unwrap();
        assert_eq!(first.to_string(), "0000000000000005");
    }
}
