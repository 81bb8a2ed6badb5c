//! The confusion matrices of the model versions.

use iris_core::{Confusion, ModelVersion};
use serde::{Deserialize, Serialize};

/// The maximum number of model versions with a matrix of their own.
const MAX_VERSIONS: usize = 20;

/// A confusion matrix for each model version, in the order in which the versions were first seen, and one for all earlier
/// versions together. Predictions without a version share one matrix. No prediction is ever dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VersionCounts {
    versions: Vec<(Option<ModelVersion>, Confusion)>,
    #[serde(skip_serializing_if = "is_empty")]
    earlier: Confusion,
}

fn is_empty(confusion: &Confusion) -> bool {
    confusion.total() == 0
}

impl VersionCounts {
    /// Counts a prediction.
    pub(crate) fn add(&mut self, version: Option<ModelVersion>, (truth, predicted): (&str, &str)) {
        let known = self
            .versions
            .iter()
            .position(|(known, _)| *known == version);
        let position = known.unwrap_or_else(|| {
            if self.versions.len() >= MAX_VERSIONS {
                let (_, oldest) = self.versions.remove(0);
                self.earlier.add_all(&oldest);
            }
            self.versions.push((version, Confusion::default()));
            self.versions.len() - 1
        });
        self.versions[position].1.add(truth, predicted);
    }

    /// Removes a prediction that was counted.
    pub(crate) fn remove(
        &mut self,
        version: Option<ModelVersion>,
        (truth, predicted): (&str, &str),
    ) {
        // A version that is served again may have been counted among the earlier ones before.
        let own = self
            .versions
            .iter_mut()
            .find(|(known, confusion)| *known == version && confusion.count(truth, predicted) > 0);
        let confusion = own.map_or(&mut self.earlier, |(_, confusion)| confusion);
        confusion.remove(truth, predicted);
    }

    /// Returns the matrix of all predictions.
    pub(crate) fn total(&self) -> Confusion {
        let mut total = self.earlier.clone();
        for (_, confusion) in &self.versions {
            total.add_all(confusion);
        }
        total
    }

    /// Iterates over the versions and their matrices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<ModelVersion>, &Confusion)> {
        self.versions
            .iter()
            .map(|(version, confusion)| (*version, confusion))
    }

    /// Returns the matrix of all earlier versions; empty if there are none.
    pub(crate) fn earlier(&self) -> &Confusion {
        &self.earlier
    }

    /// Returns the same counts with other names of cells.
    pub(crate) fn renamed(&self, mut rename: impl FnMut(&str, &str) -> (String, String)) -> Self {
        let mut renamed = |confusion: &Confusion| {
            let mut counts = Confusion::default();
            for (truth, predicted, count) in confusion.cells() {
                let (truth, predicted) = rename(truth, predicted);
                counts.add_many(&truth, &predicted, count);
            }
            counts
        };
        Self {
            earlier: renamed(&self.earlier),
            versions: self
                .versions
                .iter()
                .map(|(version, confusion)| (*version, renamed(confusion)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: usize) -> Option<ModelVersion> {
        format!("{number:016x}").parse().ok()
    }

    #[test]
    fn the_oldest_versions_are_counted_together_and_no_prediction_is_lost() {
        let mut counts = VersionCounts::default();
        for number in 0..MAX_VERSIONS + 5 {
            counts.add(version(number), ("a", "a"));
            counts.add(version(number), ("a", "b"));
        }
        assert_eq!(counts.iter().count(), MAX_VERSIONS);
        assert_eq!(counts.iter().next().unwrap().0, version(5));
        assert_eq!((counts.earlier().total(), counts.total().total()), (10, 50));
        assert_eq!(counts.total().accuracy(), Some(0.5));
    }

    #[test]
    fn a_prediction_of_an_earlier_version_can_be_removed_also_after_that_version_is_served_again() {
        let mut counts = VersionCounts::default();
        for number in 0..=MAX_VERSIONS {
            counts.add(version(number), ("a", "b"));
        }
        counts.remove(version(0), ("a", "b"));
        assert_eq!(counts.earlier().total(), 0);
        counts.add(version(0), ("a", "a"));
        assert_eq!(counts.earlier().count("a", "b"), 1, "that of version 1");
        counts.add(version(1), ("b", "b"));
        assert_eq!(counts.earlier().count("a", "b"), 2, "and of version 2");
        counts.remove(version(1), ("a", "b"));
        assert_eq!(counts.earlier().count("a", "b"), 1);
        assert_eq!(counts.total().total(), MAX_VERSIONS as u64 + 1);
    }

    #[test]
    fn counts_that_an_earlier_version_of_the_program_wrote_are_read() {
        let stored = r#"{"versions":[["0123456789abcdef",{"a":{"b":1}}],[null,{"b":{"b":2}}]]}"#;
        let counts: VersionCounts = serde_json::from_str(stored).unwrap();
        assert_eq!(counts.total().total(), 3);
        assert_eq!(serde_json::to_string(&counts).unwrap(), stored);
    }
}
