//! Compares the results for two datasets with those of scikit-learn, row by row.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use iris_contract::{Classifier, Scratch};
use iris_core::{
    Buffers, Dataset, ForestKind, Metric, Model, ModelKind, ModelSettings, ScaleSetting, Schema,
    Weights, cross_check, split,
};
use serde::Deserialize;

/// The results of scikit-learn: ids in the order of the split, and for each row the class and the votes.
#[derive(Deserialize)]
struct Reference {
    train: Vec<String>,
    test: Vec<String>,
    classes: Vec<String>,
    predictions: Vec<Predicted>,
}

#[derive(Deserialize)]
struct Predicted {
    id: String,
    predicted: String,
    votes: Vec<u32>,
}

struct Fixture {
    schema: Schema,
    dataset: Dataset,
    reference: Reference,
}

fn fixture(name: &str, schema: Schema) -> Fixture {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let csv = fs::read(root.join("../../data").join(name).with_extension("csv")).unwrap();
    let json = fs::read(
        root.join("tests/reference")
            .join(name)
            .with_extension("json"),
    )
    .unwrap();
    let dataset = Dataset::parse(&csv, &schema).unwrap();
    Fixture {
        dataset,
        reference: serde_json::from_slice(&json).unwrap(),
        schema,
    }
}

fn iris() -> Fixture {
    fixture("iris", Schema::default())
}

fn wine() -> Fixture {
    let features = "Alcohol MalicAcid Ash AlcalinityOfAsh Magnesium TotalPhenols Flavanoids NonflavanoidPhenols \
                    Proanthocyanins ColorIntensity Hue OD280OD315 Proline";
    let features = features.split_whitespace().map(str::to_owned).collect();
    fixture(
        "wine",
        Schema {
            id: "Bottle".into(),
            features,
            label: "Cultivar".into(),
        },
    )
}

impl Fixture {
    fn ids(&self, rows: &[usize]) -> Vec<&str> {
        rows.iter()
            .map(|&row| self.dataset.cell(row, &self.schema.id).unwrap())
            .collect()
    }

    fn split(&self) -> split::Split {
        self.dataset.split(0.2, 42).unwrap()
    }

    fn model(&self) -> Model {
        Model::fit(self.dataset.training_set(&self.split().train), 5).unwrap()
    }

    /// Sends every row through the classifier as the JSON that the producer makes of it; returns the ids of the
    /// mispredicted rows.
    fn check_every_prediction(&self) -> Vec<&str> {
        let classifier = Classifier::new(Arc::new(self.model()));
        let mut scratch = Scratch::default();
        let mut mispredicted = Vec::new();
        for (row, expected) in self.reference.predictions.iter().enumerate() {
            let record = self.dataset.to_json(row);
            let classification = classifier.classify(Some(&record), &mut scratch).unwrap();
            assert_eq!(
                classifier.class_name(classification.class),
                expected.predicted,
                "id {}",
                expected.id
            );
            assert_eq!(scratch.votes(), expected.votes, "id {}", expected.id);
            if classification.mispredicted {
                mispredicted.push(expected.id.as_str());
            }
        }
        mispredicted
    }

    fn accuracy(&self, rows: &[usize]) -> f64 {
        let rows = self.dataset.examples(rows);
        self.model().accuracy(rows).unwrap()
    }
}

#[test]
fn the_split_is_scikit_learns_row_for_row() {
    for fixture in [iris(), wine()] {
        let split = fixture.split();
        assert_eq!(fixture.ids(&split.train), fixture.reference.train);
        assert_eq!(fixture.ids(&split.test), fixture.reference.test);
        assert_eq!(fixture.model().classes(), fixture.reference.classes);
    }
}

#[test]
fn the_papers_150_predictions_and_votes_are_scikit_learns() {
    assert_eq!(iris().check_every_prediction(), ["71", "73", "84", "107"]);
}

#[test]
fn the_papers_accuracies_are_scikit_learns() {
    let iris = iris();
    let split = iris.split();
    assert!((iris.accuracy(&split.test) - 1.0).abs() < f64::EPSILON);
    assert!((iris.accuracy(&split.train) - 116.0 / 120.0).abs() < 1e-12);
}

#[test]
fn thirteen_features_are_predicted_as_scikit_learn_does() {
    assert_eq!(wine().check_every_prediction().len(), 44);
}

#[test]
fn the_models_agree_with_smartcore_on_every_row() {
    for fixture in [iris(), wine()] {
        let rows = (0..fixture.dataset.len()).map(|row| fixture.dataset.features(row));
        let compared = cross_check(&fixture.model(), rows).unwrap();
        assert!(
            compared * 10 > fixture.dataset.len() * 7,
            "only {compared} rows have a determined answer"
        );
    }
}

/// The predictions of scikit-learn for a dataset with other settings, which `bench/reference.py` writes. `None` where the
/// prediction depends on the order of rows at the same distance.
#[derive(Deserialize)]
struct Case {
    dataset: String,
    scale: ScaleSetting,
    weights: Weights,
    metric: Metric,
    classes: Vec<String>,
    predicted: Vec<Option<usize>>,
}

impl Case {
    /// Compares all predictions, and all that are determined with smartcore, too; returns how many are compared.
    fn check(&self, dataset: &Dataset) -> usize {
        let settings = ModelSettings {
            scale: self.scale,
            weights: self.weights,
            metric: self.metric,
            ..ModelSettings::default()
        };
        let split = dataset.split(0.2, 42).unwrap();
        let rows = dataset.training_set(&split.train);
        let kind = settings.kind(&rows);
        let model = Model::fit(rows, kind).unwrap();
        assert_eq!(model.classes(), self.classes);
        assert_eq!(self.predicted.len(), dataset.len());
        let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
        for (row, &expected) in self.predicted.iter().enumerate() {
            let predicted = model
                .predict(dataset.features(row), &mut buffers, &mut votes)
                .class;
            let name = &self.dataset;
            assert!(
                expected.is_none_or(|expected| expected == predicted),
                "{name}, {}, row {row}: {predicted}, expected {expected:?}",
                model.kind()
            );
        }
        cross_check(&model, (0..dataset.len()).map(|row| dataset.features(row))).unwrap();
        self.predicted.iter().flatten().count()
    }
}

/// Reads a file of the directory of references.
fn reference(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    fs::read(directory.join(name)).unwrap()
}

/// The datasets of the references that have settings, by name.
fn datasets() -> BTreeMap<&'static str, Dataset> {
    let digits = Schema {
        id: "Id".into(),
        features: (0..64).map(|pixel| format!("p{pixel}")).collect(),
        label: "Digit".into(),
    };
    let digits = Dataset::parse(&reference("digits.csv"), &digits).unwrap();
    let (iris, wine) = (iris().dataset, wine().dataset);
    [("iris", iris), ("wine", wine), ("digits", digits)].into()
}

#[test]
fn scaling_weights_and_metrics_predict_as_scikit_learn_does() {
    let datasets = datasets();
    let cases: Vec<Case> = serde_json::from_slice(&reference("neighbors.json")).unwrap();
    let check = |case: &Case| case.check(&datasets[case.dataset.as_str()]);
    let compared: usize = cases.iter().map(check).sum();
    assert_eq!((cases.len(), compared), (24, 5_342));
}

/// The mean accuracies of scikit-learn's forests with different seeds, which `bench/forests.py` writes.
#[derive(Deserialize)]
struct Forests {
    dataset: String,
    trees: usize,
    min_samples_leaf: usize,
    max_depth: usize,
    held_out: f64,
    out_of_bag: f64,
}

impl Forests {
    /// Compares the mean accuracies, and all predictions with smartcore's.
    fn check(&self, dataset: &Dataset) {
        let split = dataset.split(0.2, 42).unwrap();
        let set = dataset.training_set(&split.train);
        let (mut held_out, mut out_of_bag) = (0.0, 0.0);
        for seed in 0..FOREST_SEEDS {
            let kind = ForestKind {
                max_depth: (self.max_depth > 0).then_some(self.max_depth),
                min_samples_leaf: self.min_samples_leaf,
                seed,
                ..ForestKind::from(self.trees)
            };
            let model = Model::fit(set.clone(), ModelKind::Forest(kind)).unwrap();
            held_out += model.accuracy(dataset.examples(&split.test)).unwrap();
            let correct = model.correct_left_out(0..set.len()).into_iter();
            let correct = correct.filter(|is_correct| *is_correct);
            out_of_bag += correct.count() as f64 / set.len() as f64;
            let rows = (0..dataset.len()).map(|row| dataset.features(row));
            assert_eq!(cross_check(&model, rows), Ok(dataset.len()));
        }
        let name = (&self.dataset, self.min_samples_leaf, self.max_depth);
        for (ours, theirs) in [(held_out, self.held_out), (out_of_bag, self.out_of_bag)] {
            let ours = ours / f64::from(FOREST_SEEDS);
            println!("{name:?}: {ours:.4}, {theirs}");
            assert!((ours - theirs).abs() < 0.01, "{name:?}: {ours}, {theirs}");
        }
    }
}

/// The number of forests of which the mean accuracy is compared.
const FOREST_SEEDS: u32 = 20;

#[test]
fn forests_are_as_accurate_as_scikit_learns() {
    let datasets = datasets();
    let cases: Vec<Forests> = serde_json::from_slice(&reference("forests.json")).unwrap();
    for case in &cases {
        case.check(&datasets[case.dataset.as_str()]);
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn the_producers_records_are_the_papers_objects() {
    let record = String::from_utf8(iris().dataset.to_json(0)).unwrap();
    assert_eq!(
        record,
        r#"{"Id":1,"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris-setosa"}"#
    );
}

#[test]
fn a_prediction_is_the_records_own_value_and_the_predicted_class() {
    let iris = iris();
    let classifier = Classifier::new(Arc::new(iris.model()));
    let record = iris.dataset.to_json(70);
    let classification = classifier
        .classify(Some(&record), &mut Scratch::default())
        .unwrap();
    let mut out = Vec::new();
    classifier.write_value(&classification, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor","PredictedSpecies":"Iris-virginica"}"#
    );
}

#[test]
fn the_papers_model_has_a_fixed_version() {
    assert_eq!(iris().model().version().to_string(), "e01454b61de2d075");
}
