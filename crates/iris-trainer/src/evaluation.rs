//! How good the answers of each model were.

use iris_core::{Confusion, ModelVersion};
use serde::{Deserialize, Serialize};

/// The model versions that are told apart; the one that was seen first makes room.
const MOST_VERSIONS: usize = 20;

/// A confusion matrix for each model version, in the order in which the versions were first seen. Answers that do not say
/// which version gave them have a matrix of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    versions: Vec<(Option<ModelVersion>, Confusion)>,
}

impl Evaluation {
    /// Counts an answer.
    pub fn add(&mut self, version: Option<ModelVersion>, truth: &str, predicted: &str) {
        let known = self
            .versions
            .iter()
            .position(|(known, _)| *known == version);
        let position = known.unwrap_or_else(|| {
            if self.versions.len() == MOST_VERSIONS {
                self.versions.remove(0);
            }
            self.versions.push((version, Confusion::default()));
            self.versions.len() - 1
        });
        self.versions[position].1.add(truth, predicted);
    }

    /// Takes an answer back that was counted.
    pub fn remove(&mut self, version: Option<ModelVersion>, truth: &str, predicted: &str) {
        let known = |(known, _): &&mut (Option<ModelVersion>, Confusion)| *known == version;
        if let Some((_, confusion)) = self.versions.iter_mut().find(known) {
            confusion.remove(truth, predicted);
        }
    }

    /// The matrices.
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
    fn the_versions_told_apart_are_bounded() {
        let mut evaluation = Evaluation::default();
        for number in 0..MOST_VERSIONS as u64 + 5 {
            let version = format!("{number:016x}").parse().unwrap();
            evaluation.add(Some(version), "a", "a");
        }
        assert_eq!(evaluation.versions().count(), MOST_VERSIONS);
        let first = evaluation.versions().next().unwrap().0.unwrap();
        assert_eq!(first.to_string(), "0000000000000005");
    }
}
