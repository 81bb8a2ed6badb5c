//! The decision regions of a model over two features, and the newest predictions as points on them.
//!
//! A region is the class that the model predicts for the values of the two features, with all other features at the mean of the
//! training rows, or of the newest predictions if the model is imported. Points may differ in the other features, so that a right prediction can lie in the region of another class.

use std::collections::BTreeSet;

use iris_core::{Buffers, Model};
use serde::Serialize;
use utoipa::ToSchema;

use crate::recent::PredictionRow;

/// The resolution of regions: the number of cells along each axis.
pub const CELLS: usize = 60;

/// The share of the range of the training rows that is added at each end.
const MARGIN: f64 = 0.08;

/// The regions of an imported model are kept from this number of predictions on, because their ranges change before.
const ENOUGH_PREDICTIONS: usize = 30;

/// The margin of a feature with the same value in all rows.
const NO_RANGE_MARGIN: f64 = 0.5;

/// Adjacent cells of one class in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Run {
    /// The class, as a position in the classes.
    pub class: usize,
    /// The column of the first cell, from the left.
    pub x: usize,
    /// The row of the cells, from below.
    pub y: usize,
    /// The number of cells.
    pub length: usize,
}

/// The decision regions of a model over two features.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Regions {
    /// The model version.
    pub model_version: String,
    /// The names of all features.
    pub features: Vec<String>,
    /// The feature on the horizontal axis, as a position in the features.
    pub x: usize,
    /// The feature on the vertical axis, as a position in the features.
    pub y: usize,
    /// The values at the left and the right end.
    pub x_range: [f64; 2],
    /// The values at the lower and the upper end.
    pub y_range: [f64; 2],
    /// The classes.
    pub classes: Vec<String>,
    /// The number of cells along each axis.
    pub cells: usize,
    /// The predicted classes, as runs of cells.
    pub runs: Vec<Run>,
}

/// A prediction as a point.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// The value on the horizontal axis.
    pub x: f64,
    /// The value on the vertical axis.
    pub y: f64,
    /// The predicted class.
    pub predicted: String,
    /// The record's label.
    pub actual: Option<String>,
    /// The record's id.
    pub id: Option<String>,
}

impl Point {
    /// Returns whether the label differs from the prediction.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.actual
            .as_ref()
            .is_some_and(|actual| *actual != self.predicted)
    }
}

impl Regions {
    /// Returns the regions over the features at positions `x` and `y` of the model's schema, and whether they are to be kept; `None`
    /// if it has no such features. The ranges are those of the training rows, or without any, of the predictions; `None` if there
    /// are no predictions either.
    #[must_use]
    pub fn of<'a>(
        model: &Model,
        predictions: impl Iterator<Item = &'a PredictionRow>,
        x: usize,
        y: usize,
    ) -> Option<(Self, bool)> {
        let training_set = model.training_set();
        let width = training_set.schema().features.len();
        if !training_set.is_empty() {
            return Some((Self::over(model, training_set.features(), x, y)?, true));
        }
        let row = |prediction: &PredictionRow| -> Option<Vec<f64>> {
            let row: Option<Vec<f64>> = prediction.features.iter().copied().collect();
            row.filter(|row| row.len() == width)
        };
        let rows: Vec<f64> = predictions.filter_map(row).flatten().collect();
        let is_kept = rows.len() >= ENOUGH_PREDICTIONS * width;
        Some((Self::over(model, &rows, x, y)?, is_kept))
    }

    /// Returns the regions over two features within the ranges of these rows.
    fn over(model: &Model, rows: &[f64], x: usize, y: usize) -> Option<Self> {
        let features = &model.training_set().schema().features;
        let width = features.len();
        if x >= width || y >= width || rows.is_empty() {
            return None;
        }
        let rows = rows.chunks_exact(width);
        let mut query: Vec<f64> = (0..width)
            .map(|feature| rows.clone().map(|row| row[feature]).sum::<f64>() / rows.len() as f64)
            .collect();
        let (x_range, y_range) = (range(rows.clone(), x), range(rows, y));
        let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
        let mut runs: Vec<Run> = Vec::new();
        for row in 0..CELLS {
            for column in 0..CELLS {
                query[x] = middle(x_range, column);
                query[y] = middle(y_range, row);
                let class = model.predict(&query, &mut buffers, &mut votes).class;
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

    /// Returns the predictions within the ranges as points, without duplicates.
    #[must_use]
    pub fn points<'a>(&self, predictions: impl Iterator<Item = &'a PredictionRow>) -> Vec<Point> {
        let mut places = BTreeSet::new();
        let is_within = |value: f64, range: [f64; 2]| (range[0]..=range[1]).contains(&value);
        predictions
            .filter_map(|prediction| {
                let value = |feature: usize| prediction.features.get(feature).copied().flatten();
                Some(Point {
                    x: value(self.x)?,
                    y: value(self.y)?,
                    predicted: prediction.predicted.clone(),
                    actual: prediction.actual.clone(),
                    id: prediction.id.clone(),
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

/// Returns the range of a feature with its margins.
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

/// Returns the value in the middle of a cell.
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

    fn regions_of(model: &Model, x: usize, y: usize) -> Option<Regions> {
        Some(Regions::of(model, std::iter::empty(), x, y)?.0)
    }

    #[test]
    fn regions_cover_the_plane_with_the_predicted_classes() {
        let regions = regions_of(&model(), 0, 1).unwrap();
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
        assert_eq!(regions_of(&model(), 0, 4), None);
        // A feature with the same value in all rows has a range, too.
        assert!(regions_of(&model(), 2, 3).is_some());
    }

    #[test]
    fn points_are_within_the_ranges_and_distinct() {
        let regions = regions_of(&model(), 0, 1).unwrap();
        let prediction = |x: f64, predicted: &str| PredictionRow {
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
        let predictions = [
            prediction(1.0, "a"),
            prediction(1.0, "a"),
            prediction(1.0, "b"),
            prediction(99.0, "a"),
        ];
        let points = regions.points(predictions.iter());
        let errors: Vec<bool> = points.iter().map(Point::is_error).collect();
        assert_eq!(errors, [false, true]);
    }

    #[cfg(feature = "onnx")]
    #[test]
    fn the_ranges_of_an_imported_model_are_those_of_the_predictions() {
        let bytes = include_bytes!("../../iris-core/src/kinds/onnx/threshold.onnx");
        let schema = Schema {
            features: vec!["x".to_owned()],
            ..Schema::default()
        };
        let model = Model::import_onnx(bytes.to_vec(), None, schema).unwrap();
        let prediction = |x: f64| PredictionRow {
            partition: 0,
            offset: 0,
            created_ms: None,
            id: None,
            features: vec![Some(x)],
            predicted: "a".to_owned(),
            actual: None,
            model_version: None,
            input_offset: None,
            votes: Vec::new(),
        };
        assert_eq!(Regions::of(&model, std::iter::empty(), 0, 0), None);
        let few = [prediction(-1.0), prediction(1.0)];
        let (regions, is_kept) = Regions::of(&model, few.iter(), 0, 0).unwrap();
        assert!(!is_kept && regions.x_range[0] < -1.0 && regions.x_range[1] > 1.0);
        assert_eq!(regions.classes, ["a", "b"]);
        let many = vec![prediction(1.0); ENOUGH_PREDICTIONS];
        assert!(Regions::of(&model, many.iter(), 0, 0).unwrap().1);
    }
}
