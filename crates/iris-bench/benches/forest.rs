//! Measures predictions per second and the time to fit a forest by trees, training rows and features, also of smartcore.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use iris_core::{Buffers, ForestKind, Model, ModelKind, Schema, TrainingSet};
use smartcore::ensemble::random_forest_classifier::{
    RandomForestClassifier, RandomForestClassifierParameters,
};
use smartcore::linalg::basic::matrix::DenseMatrix;

const CLASSES: [&str; 3] = ["a", "b", "c"];
const QUERIES: usize = 1_000;
const TREES: [usize; 3] = [10, 30, 100];

/// smartcore's fit takes seconds with more rows.
const MAX_SMARTCORE_ROWS: usize = 2_000;

/// Returns rows around one centre for each class, like measurements of three species; one label in ten is of another class.
fn rows(rng: &mut Rng, rows: usize, width: usize) -> Vec<(Vec<f64>, usize)> {
    (0..rows)
        .map(|row| {
            let class = row % CLASSES.len();
            let centre = class as f64 * 1.5;
            // The sum of several uniform values is almost normally distributed.
            let value = |rng: &mut Rng| centre + (0..4).map(|_| rng.f64() - 0.5).sum::<f64>();
            let features = (0..width).map(|_| value(rng)).collect();
            let is_wrong = rng.f64() < 0.1;
            (features, (class + usize::from(is_wrong)) % CLASSES.len())
        })
        .collect()
}

fn set(rows: &[(Vec<f64>, usize)], width: usize) -> TrainingSet {
    let schema = Schema {
        features: (0..width).map(|feature| format!("f{feature}")).collect(),
        ..Schema::default()
    };
    let rows = rows.iter().map(|(row, class)| (&row[..], CLASSES[*class]));
    TrainingSet::new(schema, rows)
}

fn predictions(c: &mut Criterion) {
    for width in [4, 13] {
        let mut group = c.benchmark_group(format!("predictions, {width} features"));
        group
            .throughput(Throughput::Elements(QUERIES as u64))
            .sample_size(10);
        for count in [120, 1_000, 10_000] {
            let mut rng = Rng::with_seed(42);
            let set = set(&rows(&mut rng, count, width), width);
            let queries = rows(&mut rng, QUERIES, width);
            for trees in TREES {
                let kind = ModelKind::Forest(ForestKind::from(trees));
                let model = Model::fit(set.clone(), kind).unwrap();
                let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
                let id = BenchmarkId::new(format!("{trees} trees"), count);
                group.bench_function(id, |b| {
                    b.iter(|| {
                        for (query, _) in &queries {
                            black_box(model.predict(query, &mut buffers, &mut votes));
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

fn fits(c: &mut Criterion) {
    for width in [4, 9, 13] {
        let mut group = c.benchmark_group(format!("fits, {width} features"));
        group.sample_size(10);
        for count in [500, 2_000, 10_000] {
            let rows = rows(&mut Rng::with_seed(42), count, width);
            let set = set(&rows, width);
            for trees in TREES {
                let kind = ModelKind::Forest(ForestKind::from(trees));
                let id = BenchmarkId::new(format!("{trees} trees"), count);
                group.bench_function(id, |b| {
                    b.iter(|| black_box(Model::fit(set.clone(), kind).unwrap()));
                });
            }
            if count > MAX_SMARTCORE_ROWS {
                continue;
            }
            let features: Vec<Vec<f64>> = rows.iter().map(|(row, _)| row.clone()).collect();
            let features = DenseMatrix::from_2d_vec(&features).unwrap();
            let classes: Vec<u32> = rows
                .iter()
                .map(|(_, class)| u32::try_from(*class).unwrap())
                .collect();
            group.bench_function(BenchmarkId::new("smartcore, 10 trees", count), |b| {
                let parameters = RandomForestClassifierParameters::default()
                    .with_n_trees(10)
                    .with_min_samples_leaf(2);
                b.iter(|| {
                    let forest =
                        RandomForestClassifier::fit(&features, &classes, parameters.clone());
                    black_box(forest.unwrap())
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, predictions, fits);
criterion_main!(benches);
