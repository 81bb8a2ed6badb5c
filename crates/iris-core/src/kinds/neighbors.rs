//! The k-nearest-neighbours models.
//!
//! The predicted class is that of most of the `k` nearest training rows, or with weights, the class whose votes have the largest
//! sum. A tie goes to the class that sorts first. Among rows at the same distance in the k-th place, the first in the training
//! set votes. A vote's weight is 1 divided by the distance; if there are rows at distance 0, only these vote. Where scikit-learn
//! has a rule, it is the same.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::buffers::Buffers;
use super::error::FitError;
use super::votes::{first_largest, thousandths};
use crate::content_hash::{update_number, update_text};
use crate::neighbors::{Metric, Neighbor, NeighborIndex};
use crate::scaling::Scaling;
use crate::training_set::TrainingSet;

/// Whether features are scaled before distances are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Features are used as they are.
    #[default]
    None,
    /// Features are scaled by the mean and the standard deviation of the training rows.
    Standard,
}

/// How much the vote of a neighbour counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// All votes count the same.
    #[default]
    Uniform,
    /// A vote counts 1 divided by the distance.
    Distance,
}

impl Scale {
    /// Returns its name, as in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
        }
    }
}

impl Weights {
    /// Returns its name, as in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Distance => "distance",
        }
    }
}

/// How a model of this kind is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NeighborsKind {
    /// The number of neighbours that vote.
    pub neighbors: usize,
    /// Whether features are scaled.
    pub scale: Scale,
    /// How much a vote counts.
    pub weights: Weights,
    /// The distance.
    pub metric: Metric,
}

impl NeighborsKind {
    /// Returns the content of the model that is fitted to these rows.
    pub(super) fn fit(self, set: &TrainingSet) -> NeighborsContent {
        let width = set.schema().features.len();
        NeighborsContent {
            neighbors: self.neighbors,
            weights: self.weights,
            metric: self.metric,
            scaling: (self.scale == Scale::Standard).then(|| Scaling::of(set.features(), width)),
        }
    }
}

/// For example "5 neighbours" or "5 neighbours (scaled features, Manhattan distance)".
impl fmt::Display for NeighborsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = [
            (self.scale == Scale::Standard, "scaled features"),
            (
                self.weights == Weights::Distance,
                "votes weighted by distance",
            ),
            (self.metric == Metric::Manhattan, "Manhattan distance"),
        ];
        let differences: Vec<&str> = differences
            .into_iter()
            .filter_map(|(differs, text)| differs.then_some(text))
            .collect();
        match self.neighbors {
            1 => write!(f, "1 neighbour")?,
            neighbors => write!(f, "{neighbors} neighbours")?,
        }
        match &differences[..] {
            [] => Ok(()),
            differences => write!(f, " ({})", differences.join(", ")),
        }
    }
}

/// All that a model's predictions depend on, besides its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborsContent {
    neighbors: usize,
    #[serde(default)]
    weights: Weights,
    #[serde(default)]
    metric: Metric,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaling: Option<Scaling>,
}

impl NeighborsContent {
    /// Returns how the model was fitted.
    pub(super) fn kind(&self) -> NeighborsKind {
        NeighborsKind {
            neighbors: self.neighbors,
            scale: match self.scaling {
                None => Scale::None,
                Some(_) => Scale::Standard,
            },
            weights: self.weights,
            metric: self.metric,
        }
    }

    /// Returns the number of neighbours, if that is all: formats up to 3 have no other models.
    pub(super) fn plain(&self) -> Option<usize> {
        (self.kind() == NeighborsKind::from(self.neighbors)).then_some(self.neighbors)
    }

    /// Hashes the content. The hash of a plain model is that of formats 1 to 3.
    pub(super) fn hash(&self, hash: &mut Sha256) {
        if self.plain().is_some() {
            hash.update(b"iris knn 1");
            update_number(hash, self.neighbors);
            return;
        }
        hash.update(b"iris knn 2");
        update_number(hash, self.neighbors);
        update_text(hash, self.weights.name());
        update_text(hash, self.metric.name());
        let numbers: Vec<f64> = self.scaling.iter().flat_map(Scaling::numbers).collect();
        update_number(hash, numbers.len());
        for number in numbers {
            hash.update(number.to_bits().to_be_bytes());
        }
    }
}

impl From<usize> for NeighborsKind {
    fn from(neighbors: usize) -> Self {
        Self {
            neighbors,
            scale: Scale::default(),
            weights: Weights::default(),
            metric: Metric::default(),
        }
    }
}

impl From<usize> for NeighborsContent {
    fn from(neighbors: usize) -> Self {
        Self {
            neighbors,
            weights: Weights::default(),
            metric: Metric::default(),
            scaling: None,
        }
    }
}

/// A model that is ready to predict.
#[derive(Clone, Debug)]
pub(crate) struct FittedNeighbors {
    content: NeighborsContent,
    index: NeighborIndex,
}

impl FittedNeighbors {
    /// Indexes the rows of a model.
    pub(super) fn new(content: NeighborsContent, set: &TrainingSet) -> Result<Self, FitError> {
        let (neighbors, rows) = (content.neighbors, set.len());
        match neighbors {
            0 => return Err(FitError::NoNeighbors),
            _ if neighbors > rows => return Err(FitError::TooFewRows { neighbors, rows }),
            _ => {}
        }
        let width = set.schema().features.len();
        let index = match &content.scaling {
            None => NeighborIndex::new(set.features(), width, content.metric),
            Some(scaling) if scaling.is_valid(width) => {
                let mut scaled = Vec::with_capacity(set.features().len());
                for row in set.features().chunks_exact(width) {
                    scaling.extend(row, &mut scaled);
                }
                NeighborIndex::new(&scaled, width, content.metric)
            }
            Some(_) => return Err(FitError::InvalidScaling),
        };
        Ok(Self { content, index })
    }

    /// Returns the content.
    pub(super) fn content(&self) -> &NeighborsContent {
        &self.content
    }

    /// Returns how the model was fitted.
    pub(crate) fn kind(&self) -> NeighborsKind {
        self.content.kind()
    }

    /// Finds the `wanted` nearest rows.
    pub(crate) fn nearest(&self, features: &[f64], wanted: usize, buffers: &mut Buffers) {
        let query = self.scaled(features, &mut buffers.scaled);
        self.index.nearest(query, wanted, &mut buffers.found);
    }

    /// Returns the features as distances are computed from them.
    pub(crate) fn scaled<'a>(&self, features: &'a [f64], buffer: &'a mut Vec<f64>) -> &'a [f64] {
        match &self.content.scaling {
            None => features,
            Some(scaling) => {
                buffer.clear();
                scaling.extend(features, buffer);
                buffer
            }
        }
    }

    /// Predicts the class of one row.
    pub(super) fn predict(
        &self,
        set: &TrainingSet,
        features: &[f64],
        buffers: &mut Buffers,
        votes: &mut Vec<u32>,
    ) -> usize {
        self.nearest(features, self.content.neighbors, buffers);
        let found = buffers.found.as_slice().iter();
        self.vote(set, found, &mut buffers.weights, votes)
    }

    /// Predicts the classes of some of the training rows, each by the other rows.
    pub(super) fn predict_left_out(&self, set: &TrainingSet, rows: Range<usize>) -> Vec<usize> {
        let width = set.schema().features.len();
        let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
        rows.map(|row| {
            let features = &set.features()[row * width..(row + 1) * width];
            self.nearest(features, self.content.neighbors + 1, &mut buffers);
            let others = buffers.found.as_slice().iter();
            let others = others
                .filter(|other| other.row as usize != row)
                .take(self.content.neighbors);
            self.vote(set, others, &mut buffers.weights, &mut votes)
        })
        .collect()
    }

    /// Returns the class that the neighbours vote for, and writes the votes, or with weights, the sums of the weights in
    /// thousandths of their total.
    #[inline]
    fn vote<'a>(
        &self,
        set: &TrainingSet,
        voters: impl Iterator<Item = &'a Neighbor>,
        weights: &mut Vec<f64>,
        votes: &mut Vec<u32>,
    ) -> usize {
        let (classes, class_of_row) = (set.classes().len(), set.class_of_row());
        votes.clear();
        if self.content.weights == Weights::Uniform {
            votes.resize(classes, 0);
            for voter in voters {
                votes[class_of_row[voter.row as usize]] += 1;
            }
            return first_largest(votes);
        }
        weights.clear();
        weights.resize(classes, 0.0);
        let mut is_exact = false;
        for voter in voters {
            let weight = 1.0 / self.content.metric.distance(voter.distance);
            // Rows at distance 0 come first.
            is_exact |= weight.is_infinite();
            weights[class_of_row[voter.row as usize]] += match (is_exact, weight.is_infinite()) {
                (false, _) => weight,
                (true, true) => 1.0,
                (true, false) => 0.0,
            };
        }
        let total: f64 = weights.iter().sum();
        votes.extend(weights.iter().map(|weight| thousandths(weight / total)));
        first_largest(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    fn vote(kind: NeighborsKind, rows: &[(&[f64], &str)], query: &[f64]) -> (String, Vec<u32>) {
        let schema = Schema {
            features: (0..query.len()).map(|n| format!("f{n}")).collect(),
            ..Schema::default()
        };
        let set = TrainingSet::new(schema, rows.iter().copied());
        let fitted = FittedNeighbors::new(kind.fit(&set), &set).unwrap();
        let mut votes = Vec::new();
        let class = fitted.predict(&set, query, &mut Buffers::default(), &mut votes);
        (set.classes()[class].clone(), votes)
    }

    #[test]
    fn a_weighted_vote_is_1_divided_by_the_distance() {
        let kind = NeighborsKind {
            weights: Weights::Distance,
            ..3.into()
        };
        let rows: [(&[f64], &str); 3] = [(&[1.0], "a"), (&[-4.0], "b"), (&[4.0], "b")];
        assert_eq!(vote(kind, &rows, &[0.0]), ("a".into(), vec![667, 333]));
        assert_eq!(vote(3.into(), &rows, &[0.0]), ("b".into(), vec![1, 2]));
    }

    #[test]
    fn rows_at_distance_0_vote_alone() {
        let kind = NeighborsKind {
            weights: Weights::Distance,
            ..4.into()
        };
        let rows: [(&[f64], &str); 4] =
            [(&[1.0], "c"), (&[0.0], "b"), (&[0.0], "a"), (&[0.1], "c")];
        assert_eq!(vote(kind, &rows, &[0.0]), ("a".into(), vec![500, 500, 0]));
    }

    #[test]
    fn rows_at_infinite_distance_give_the_first_class() {
        let kind = NeighborsKind {
            weights: Weights::Distance,
            ..2.into()
        };
        let rows: [(&[f64], &str); 2] = [(&[1e300], "b"), (&[2e300], "a")];
        assert_eq!(vote(kind, &rows, &[0.0]), ("a".into(), vec![0, 0]));
    }

    #[test]
    fn scaling_and_the_metric_choose_the_neighbours() {
        // Unscaled, the second feature decides.
        let rows: [(&[f64], &str); 3] = [
            (&[0.0, 0.0], "a"),
            (&[1.0, 900.0], "b"),
            (&[0.0, 2_000.0], "a"),
        ];
        let scaled = NeighborsKind {
            scale: Scale::Standard,
            ..1.into()
        };
        assert_eq!(vote(1.into(), &rows, &[1.0, 0.0]).0, "a");
        assert_eq!(vote(scaled, &rows, &[1.0, 0.0]).0, "b");
        let rows: [(&[f64], &str); 2] = [(&[3.0, 3.0], "a"), (&[0.0, 5.0], "b")];
        let manhattan = NeighborsKind {
            metric: Metric::Manhattan,
            ..1.into()
        };
        assert_eq!(vote(1.into(), &rows, &[0.0, 0.0]).0, "a");
        assert_eq!(vote(manhattan, &rows, &[0.0, 0.0]).0, "b");
    }

    #[test]
    fn a_row_that_is_left_out_does_not_vote() {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        let rows: [(&[f64], &str); 4] =
            [(&[0.0], "a"), (&[1.0], "b"), (&[3.0], "b"), (&[9.0], "a")];
        let set = TrainingSet::new(schema, rows.iter().copied());
        let fitted = FittedNeighbors::new(NeighborsKind::from(1).fit(&set), &set).unwrap();
        assert_eq!(fitted.predict_left_out(&set, 0..4), [1, 0, 1, 1]);
        assert_eq!(fitted.predict_left_out(&set, 1..2), [0]);
    }

    #[test]
    fn the_text_of_a_kind_names_all_that_is_not_a_default() {
        let kind = NeighborsKind {
            scale: Scale::Standard,
            metric: Metric::Manhattan,
            ..5.into()
        };
        assert_eq!(NeighborsKind::from(5).to_string(), "5 neighbours");
        assert_eq!(
            kind.to_string(),
            "5 neighbours (scaled features, Manhattan distance)"
        );
    }
}
