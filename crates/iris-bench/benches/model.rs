//! Measures predictions per second by training rows and features, also of smartcore.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use iris_core::{Buffers, Model, Schema, TrainingSet};
use smartcore::algorithm::neighbour::KNNAlgorithmName;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::metrics::distance::euclidian::Euclidian;
use smartcore::neighbors::knn_classifier::{KNNClassifier, KNNClassifierParameters};

const NEIGHBORS: usize = 5;
const CLASSES: usize = 3;
const QUERIES: usize = 1_000;

/// Returns rows around one centre for each class, like measurements of three species.
fn rows(rng: &mut Rng, rows: usize, width: usize) -> Vec<(Vec<f64>, usize)> {
    (0..rows)
        .map(|row| {
            let class = row % CLASSES;
            let centre = class as f64 * 1.5;
            // The sum of several uniform values is almost normally distributed.
            let value = |rng: &mut Rng| centre + (0..4).map(|_| rng.f64() - 0.5).sum::<f64>();
            ((0..width).map(|_| value(rng)).collect(), class)
        })
        .collect()
}

fn predictions(c: &mut Criterion) {
    let names = ["a", "b", "c"];
    for width in [4, 13, 30] {
        let mut group = c.benchmark_group(format!("{width} features"));
        group
            .throughput(Throughput::Elements(QUERIES as u64))
            .sample_size(10);
        for count in [120, 1_000, 10_000, 100_000] {
            let mut rng = Rng::with_seed(42);
            let training = rows(&mut rng, count, width);
            let queries = rows(&mut rng, QUERIES, width);
            let schema = Schema {
                features: (0..width).map(|feature| format!("f{feature}")).collect(),
                ..Schema::default()
            };
            let labelled = training
                .iter()
                .map(|(features, class)| (features.as_slice(), names[*class]));
            let model = Model::fit(TrainingSet::new(schema, labelled), NEIGHBORS).unwrap();
            let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
            group.bench_function(BenchmarkId::new("iris", count), |b| {
                b.iter(|| {
                    for (query, _) in &queries {
                        black_box(model.predict(query, &mut buffers, &mut votes));
                    }
                });
            });
            if count > 10_000 {
                // smartcore's search takes seconds per iteration here.
                continue;
            }
            let features: Vec<Vec<f64>> = training.iter().map(|(row, _)| row.clone()).collect();
            let features = DenseMatrix::from_2d_vec(&features).unwrap();
            let classes: Vec<u32> = training
                .iter()
                .map(|(_, class)| u32::try_from(*class).unwrap())
                .collect();
            let asked: Vec<Vec<f64>> = queries.iter().map(|(row, _)| row.clone()).collect();
            let asked = DenseMatrix::from_2d_vec(&asked).unwrap();
            for (name, algorithm) in [
                ("smartcore, linear", KNNAlgorithmName::LinearSearch),
                ("smartcore, cover tree", KNNAlgorithmName::CoverTree),
            ] {
                let parameters = KNNClassifierParameters::default()
                    .with_k(NEIGHBORS)
                    .with_algorithm(algorithm)
                    .with_distance(Euclidian::new());
                let fitted = KNNClassifier::fit(&features, &classes, parameters).unwrap();
                group.bench_function(BenchmarkId::new(name, count), |b| {
                    b.iter(|| black_box(fitted.predict(&asked).unwrap()));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, predictions);
criterion_main!(benches);
