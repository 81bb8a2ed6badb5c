//! Records of the tests.

use iris_contract::loop_figures::NeverLearning;
use iris_contract::{
    BaselineScores, CountsBy, LoopFigures, PartitionProgress, Scores, SpanFigures,
    TransactionSummary,
};
use iris_core::Confusion;

/// Returns a transaction of one partition, with one wrong prediction and a latency of 5 ms for each record.
pub(crate) fn summary(partition: i32, records: u64, next_offset: i64) -> TransactionSummary {
    let progress = PartitionProgress {
        records,
        next_offset,
    };
    let mut evaluations = Confusion::default();
    evaluations.add_many("a", "a", records - 1);
    evaluations.add("b", "a");
    TransactionSummary {
        group: "group".to_owned(),
        worker: Some("host-0 worker 0".to_owned()),
        model_version: "00c0ffee00c0ffee".parse().unwrap(),
        partitions: [(partition, progress)].into(),
        predictions: [("a".to_owned(), records)].into(),
        evaluations,
        dead_letters: CountsBy::new(),
        latency_ms: [(5, records)].into(),
    }
}

fn scores(records: u64, accuracy: f64) -> Scores {
    Scores {
        records,
        accuracy: Some(accuracy),
        kappa: Some(0.9),
        balanced_accuracy: Some(accuracy),
    }
}

/// Returns figures of a loop of this accuracy over the newest 1,000 records, of which the first champion predicts 95%
/// correctly, with a standard error of 0.6 percentage points.
pub(crate) fn loop_figures(accuracy: f64) -> LoopFigures {
    let baseline = |records, baseline| BaselineScores {
        scores: scores(records, baseline),
        loop_accuracy: Some(accuracy),
        standard_error: 0.006,
    };
    let span = |records| SpanFigures {
        scores: scores(records, accuracy),
        never_learning: Some(baseline(records, 0.95)),
        no_change: Some(baseline(records - 1, 0.3)),
    };
    LoopFigures {
        window_records: 1_000,
        never_learning: NeverLearning {
            model_version: "00c0ffee00c0ffee".parse().ok(),
            sample_ratio: 1.0,
            problem: None,
        },
        total: span(2_500),
        window: span(1_000),
    }
}
