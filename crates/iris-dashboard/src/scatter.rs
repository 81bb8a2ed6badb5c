//! What a model makes of two features: its regions, the points of the stream on them, and the model's errors.
//!
//! A region is what the model answers where the two features have the place's values and all others are at the mean of the
//! model's training rows. Points may differ in those, so that a right answer can lie in another class's region.

use std::collections::BTreeSet;

use iris_core::{Model, Neighbors};
use serde::Serialize;
use utoipa::ToSchema;

use crate::recent::PredictionRow;

/// The regions' resolution: cells along each axis.
pub const CELLS: usize = 60;

/// How much of the range of the training rows is added at each end.
const MARGIN: f64 = 0.08;

/// What is added where all rows have the same value.
const NO_RANGE_MARGIN: f64 = 0.5;

/// A rectangle of neighbouring cells of one class, in cells: the first of them, and how many to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Run {
    /// The class, as a position in the classes.
    pub class: usize,
    /// Cells from the left.
    pub x: usize,
    /// Cells from below.
    pub y: usize,
    /// How many cells.
    pub length: usize,
}

/// A model's answers over two features.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Regions {
    /// The model version.
    pub model_version: String,
    /// The names of all features.
    pub features: Vec<String>,
    /// The feature from left to right, as a position among the features.
    pub x: usize,
    /// The feature from below.
    pub y: usize,
    /// The values at the left and at the right.
    pub x_range: [f64; 2],
    /// The values at the bottom and at the top.
    pub y_range: [f64; 2],
    /// The classes.
    pub classes: Vec<String>,
    /// Cells along each axis.
    pub cells: usize,
    /// The answers.
    pub runs: Vec<Run>,
}

/// A point of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// The feature from left to right.
    pub x: f64,
    /// The feature from below.
    pub y: f64,
    /// What the model answered.
    pub predicted: String,
    /// The label.
    pub actual: Option<String>,
    /// What identifies the record.
    pub id: Option<String>,
}

impl Point {
    /// Whether the label contradicts the model.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.actual
            .as_ref()
            .is_some_and(|actual| *actual != self.predicted)
    }
}

impl Regions {
    /// What a model answers over the features `x` and `y`, which are positions in its schema. `None` if they are not.
    #[must_use]
    pub fn of(model: &Model, x: usize, y: usize) -> Option<Self> {
        let training_set = model.training_set();
        let features = &training_set.schema().features;
        let width = features.len();
        if x >= width || y >= width {
            return None;
        }
        let rows = training_set.features().chunks_exact(width);
        let mut query: Vec<f64> = (0..width)
            .map(|feature| rows.clone().map(|row| row[feature]).sum::<f64>() / rows.len() as f64)
            .collect();
        let (x_range, y_range) = (range(rows.clone(), x), range(rows, y));
        let (mut found, mut votes) = (Neighbors::default(), Vec::new());
        let mut runs: Vec<Run> = Vec::new();
        for row in 0..CELLS {
            for column in 0..CELLS {
                query[x] = middle(x_range, column);
                query[y] = middle(y_range, row);
                let class = model.predict(&query, &mut found, &mut votes).class;
                match runs.last_mut() {
                    Some(run) if run.y == row && run.class == class => run.length += 1,
                    _ => runs.push(Run {
                        class,
                        x: column,
                        y: row,
                        length: 1,
                    }),
                }
            }
        }
        Some(Self {
            model_version: model.version().to_string(),
            features: features.clone(),
            x,
            y,
            x_range,
            y_range,
            classes: model.classes().to_vec(),
            cells: CELLS,
            runs,
        })
    }

    /// The points of the newest predictions that lie within the ranges; where several are the same, one.
    #[must_use]
    pub fn points<'a>(&self, answers: impl Iterator<Item = &'a PredictionRow>) -> Vec<Point> {
        let mut places = BTreeSet::new();
        let is_within = |value: f64, range: [f64; 2]| (range[0]..=range[1]).contains(&value);
        answers
            .filter_map(|answer| {
                let value = |feature: usize| answer.features.get(feature).copied().flatten();
                Some(Point {
                    x: value(self.x)?,
                    y: value(self.y)?,
                    predicted: answer.predicted.clone(),
                    actual: answer.actual.clone(),
                    id: answer.id.clone(),
                })
            })
            .filter(|point| is_within(point.x, self.x_range) && is_within(point.y, self.y_range))
            .filter(|point| {
                let place = (
                    point.x.to_bits(),
                    point.y.to_bits(),
                    point.predicted.clone(),
                );
                places.insert((place, point.is_error()))
            })
            .collect()
    }
}

fn range<'a>(rows: impl Iterator<Item = &'a [f64]>, feature: usize) -> [f64; 2] {
    let (low, high) = rows.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
        (low.min(row[feature]), high.max(row[feature]))
    });
    let margin = if high > low {
        (high - low) * MARGIN
    } else {
        NO_RANGE_MARGIN
    };
    [low - margin, high + margin]
}

/// The value in the middle of a cell.
fn middle([low, high]: [f64; 2], cell: usize) -> f64 {
    low + (high - low) * (cell as f64 + 0.5) / CELLS as f64
}

#[cfg(test)]
mod tests {
    use iris_core::{Schema, TrainingSet};

    use super::*;

    fn model() -> Model {
        let rows: [([f64; 4], &str); 2] =
            [([0.0, 0.0, 5.0, 0.0], "a"), ([10.0, 4.0, 5.0, 0.0], "b")];
        let rows = rows.iter().map(|(row, label)| (row.as_slice(), *label));
        Model::fit(TrainingSet::new(Schema::default(), rows), 1).unwrap()
    }

    #[test]
    fn regions_cover_the_plane_and_change_where_the_model_does() {
        let regions = Regions::of(&model(), 0, 1).unwrap();
        let cells: usize = regions.runs.iter().map(|run| run.length).sum();
        assert_eq!(cells, CELLS * CELLS);
        let corner = |x: usize, y: usize| {
            let run = regions
                .runs
                .iter()
                .find(|run| run.y == y && (run.x..run.x + run.length).contains(&x));
            regions.classes[run.unwrap().class].as_str()
        };
        assert_eq!((corner(0, 0), corner(CELLS - 1, CELLS - 1)), ("a", "b"));
        assert_eq!(Regions::of(&model(), 0, 4), None);
        // A feature that all rows have the same value of has no width of its own.
        assert!(Regions::of(&model(), 2, 3).is_some());
    }

    #[test]
    fn points_are_those_within_each_once() {
        let regions = Regions::of(&model(), 0, 1).unwrap();
        let answer = |x: f64, predicted: &str| PredictionRow {
            partition: 0,
            offset: 0,
            created_ms: None,
            id: None,
            features: vec![Some(x), Some(2.0), None, None],
            predicted: predicted.to_owned(),
            actual: Some("a".to_owned()),
            model_version: None,
            input_offset: None,
            votes: Vec::new(),
        };
        let answers = [
            answer(1.0, "a"),
            answer(1.0, "a"),
            answer(1.0, "b"),
            answer(99.0, "a"),
        ];
        let points = regions.points(answers.iter());
        let errors: Vec<bool> = points.iter().map(Point::is_error).collect();
        assert_eq!(errors, [false, true]);
    }
}
