use super::*;
use crate::example::{self, model};

fn settings(window: usize) -> TrainerSettings {
    TrainerSettings {
        evaluation_window_records: window,
        ..TrainerSettings::default()
    }
}

/// An evaluation whose first champion is `model(0.0)`.
fn evaluation(window: usize) -> Evaluation {
    restored(StoredEvaluation::default(), window)
}

fn restored(stored: StoredEvaluation, window: usize) -> Evaluation {
    let mut evaluation = Evaluation::restore(stored, &settings(window));
    evaluation.compare_with(FirstChampion::Loaded(model(0.0)));
    evaluation
}

/// Stores an evaluation as JSON and restores it.
fn restart(evaluation: &Evaluation, window: usize) -> Evaluation {
    let json = serde_json::to_string(&evaluation.store_whole()).unwrap();
    restored(serde_json::from_str(&json).unwrap(), window)
}

/// A record whose served prediction is `served`. The first champion predicts `a` if `x` is below 0, otherwise `b`.
fn prediction(number: u64, x: f64, served: &str) -> Prediction {
    let offset = i64::try_from(number).unwrap();
    Prediction {
        predicted: served.to_owned(),
        ..example::prediction(offset, x)
    }
}

fn label(evaluation: &mut Evaluation, number: u64, x: f64, served: &str, truth: &str) {
    evaluation.change(number, &prediction(number, x, served), None, Some(truth));
    evaluation.forget(|_| false);
}

fn accuracies(baseline: Option<BaselineScores>) -> (u64, f64, f64) {
    let baseline = baseline.unwrap();
    let accuracy = |accuracy: Option<f64>| accuracy.unwrap();
    (
        baseline.scores.records,
        accuracy(baseline.scores.accuracy),
        accuracy(baseline.loop_accuracy),
    )
}

#[test]
fn the_total_has_the_scores_of_all_versions_together() {
    // The matrix of `iris-core`'s test against scikit-learn, spread over 25 versions.
    let counts = [[90, 4, 0, 1], [8, 30, 2, 0], [0, 3, 5, 2]];
    let mut evaluation = evaluation(10);
    let mut number = 0;
    for (truth, row) in counts.iter().enumerate() {
        for (served, &count) in row.iter().enumerate() {
            for _ in 0..count {
                let mut prediction = prediction(number, 1.0, &served.to_string());
                prediction.version = format!("{:016x}", number % 25).parse().ok();
                let truth = truth.to_string();
                evaluation.change(number, &prediction, None, Some(&truth));
                number += 1;
            }
        }
    }
    assert_eq!(evaluation.versions().count(), 20);
    let scores = evaluation.figures().total.scores;
    assert_eq!(scores.records, 145);
    for (score, expected) in [
        (scores.accuracy, 0.862_068_965_517_241_3),
        (scores.kappa, 0.714_707_329_070_339_4),
        (scores.balanced_accuracy, 0.732_456_140_350_877_1),
    ] {
        assert!((score.unwrap() - expected).abs() < 1e-12, "{score:?}");
    }
}

#[test]
fn baselines_are_compared_on_the_records_that_they_predict() {
    let mut evaluation = evaluation(10);
    // The loop is correct on 4 of 5, the first champion on 3 of 5, and the previous label on 1 of 4.
    for (number, (x, served, truth)) in (0..).zip([
        (-1.0, "a", "a"),
        (1.0, "b", "b"),
        (1.0, "a", "a"),
        (-1.0, "b", "b"),
        (1.0, "a", "b"),
    ]) {
        label(&mut evaluation, number, x, served, truth);
    }
    let figures = evaluation.figures();
    assert_eq!(figures.total, figures.window);
    assert_eq!(figures.total.scores.accuracy, Some(0.8));
    let never_learning = figures.total.never_learning;
    assert_eq!(accuracies(never_learning), (5, 0.6, 0.8));
    // Two records only the loop predicted correctly, and one only the first champion.
    let standard_error = never_learning.unwrap().standard_error;
    assert!((standard_error - 3_f64.sqrt() / 5.0).abs() < 1e-12);
    assert_eq!(accuracies(figures.total.no_change), (4, 0.25, 0.75));
    let version = model(0.0).model.version();
    assert_eq!(figures.never_learning.model_version, Some(version));
    assert_eq!(figures.never_learning.problem, None);
}

#[test]
fn the_window_has_the_newest_records_and_the_total_has_all() {
    let mut evaluation = evaluation(3);
    for number in 0..10 {
        let served = if number < 8 { "a" } else { "b" };
        label(&mut evaluation, number, 1.0, served, "b");
    }
    assert_eq!(evaluation.answers.len(), 3);
    let figures = evaluation.figures();
    assert_eq!(
        (figures.window_records, figures.window.scores.records),
        (3, 3)
    );
    assert_eq!(figures.window.scores.accuracy, Some(2.0 / 3.0));
    assert_eq!(figures.total.scores.accuracy, Some(0.2));
    let window = accuracies(figures.window.never_learning);
    assert_eq!(window, (3, 1.0, 2.0 / 3.0));
    let total = accuracies(figures.total.never_learning);
    assert_eq!(total, (10, 1.0, 0.2));
}

#[test]
fn a_corrected_label_changes_its_own_record() {
    let mut evaluation = evaluation(2);
    for number in 0..4 {
        evaluation.change(number, &prediction(number, 1.0, "b"), None, Some("b"));
        evaluation.forget(|number| number > 0);
    }
    assert_eq!(evaluation.answers.len(), 3, "1 may still change");
    let right = |figures: &LoopFigures| {
        let accuracy = |span: &SpanFigures| {
            let (_, never_learning, _) = accuracies(span.never_learning);
            [span.scores.accuracy.unwrap(), never_learning]
        };
        (accuracy(&figures.total), accuracy(&figures.window))
    };
    assert_eq!(right(&evaluation.figures()), ([1.0; 2], [1.0; 2]));
    // Outside the window.
    evaluation.change(1, &prediction(1, 1.0, "b"), Some("b"), Some("a"));
    assert_eq!(right(&evaluation.figures()), ([0.75; 2], [1.0; 2]));
    // Inside, the record keeps its place.
    evaluation.change(2, &prediction(2, 1.0, "b"), Some("b"), Some("a"));
    assert_eq!(right(&evaluation.figures()), ([0.5; 2], [0.5; 2]));
    label(&mut evaluation, 4, 1.0, "b", "b");
    assert_eq!(right(&evaluation.figures()), ([0.6; 2], [1.0; 2]));
    // A withdrawn label removes the record everywhere.
    evaluation.change(4, &prediction(4, 1.0, "b"), Some("b"), None);
    let figures = evaluation.figures();
    assert_eq!(right(&figures), ([0.5; 2], [1.0; 2]));
    let records = [
        figures.total.scores.records,
        figures.total.no_change.unwrap().scores.records,
        figures.window.scores.records,
    ];
    assert_eq!(records, [4, 3, 1]);
}

/// A record with its first label and the prediction that was served, and the label that it has at the end.
type Labelled = (u64, f64, &'static str, String);

/// Labels 200 records and corrects as many labels. `is_restarted`: stores and restores the evaluation on the way.
fn corrected(seed: u64, window: usize, is_restarted: bool) -> (Evaluation, Vec<Labelled>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut evaluation = evaluation(window);
    let mut labelled: Vec<Labelled> = Vec::new();
    for number in 0..200_u64 {
        let x = random.f64() * 2.0 - 1.0;
        let served = ["a", "b"][random.usize(..2)];
        let truth = ["a", "b", "c"][random.usize(..3)];
        let record = prediction(number, x, served);
        evaluation.change(number, &record, None, Some(truth));
        labelled.push((number, x, served, truth.to_owned()));
        let position = labelled.len() - 1 - random.usize(..labelled.len().min(50));
        let truth = ["a", "b", "c"][random.usize(..3)];
        let (number, x, served, before) = &mut labelled[position];
        let record = prediction(*number, *x, served);
        evaluation.change(*number, &record, Some(before), Some(truth));
        truth.clone_into(before);
        let newest = labelled.len() as u64;
        evaluation.forget(|number| number + 50 > newest);
        if is_restarted && newest.is_multiple_of(7) {
            evaluation = restart(&evaluation, window);
        }
    }
    (evaluation, labelled)
}

#[test]
fn counts_with_corrections_equal_those_of_the_final_labels_also_after_restarts() {
    for seed in 0..30 {
        let (streamed, labelled) = corrected(seed, 20, false);
        let (restarted, _) = corrected(seed, 20, true);
        assert_eq!(
            restarted.store_whole(),
            streamed.store_whole(),
            "seed {seed}"
        );
        assert_eq!(restarted.figures(), streamed.figures());
        let mut at_once = evaluation(20);
        for (number, x, served, truth) in &labelled {
            label(&mut at_once, *number, *x, served, truth);
        }
        let (streamed, at_once) = (streamed.figures(), at_once.figures());
        for (streamed, at_once) in [
            (streamed.total, at_once.total),
            (streamed.window, at_once.window),
        ] {
            assert_eq!(streamed.scores, at_once.scores, "seed {seed}");
            assert_eq!(streamed.never_learning, at_once.never_learning);
        }
    }
}

#[test]
fn no_change_predicts_the_label_that_was_known_when_the_record_was_labelled() {
    let mut evaluation = evaluation(10);
    label(&mut evaluation, 0, 1.0, "b", "a");
    evaluation.change(0, &prediction(0, 1.0, "b"), Some("a"), Some("b"));
    label(&mut evaluation, 1, 1.0, "b", "b");
    let right = |evaluation: &Evaluation| accuracies(evaluation.figures().total.no_change).1;
    assert!((right(&evaluation) - 1.0).abs() < 1e-12);
    evaluation.change(0, &prediction(0, 1.0, "b"), Some("b"), Some("a"));
    assert!((right(&evaluation) - 1.0).abs() < 1e-12, "as predicted");
}

#[test]
fn a_state_of_an_earlier_version_is_read_and_its_records_are_only_counted_for_the_loop() {
    let stored = r#"{"versions":[["0123456789abcdef",{"a":{"b":1}}],[null,{"b":{"b":2}}]]}"#;
    let mut evaluation = restored(serde_json::from_str(stored).unwrap(), 10);
    let figures = evaluation.figures();
    assert_eq!(figures.total.scores.records, 3);
    assert_eq!(figures.window.scores.records, 0);
    assert_eq!(
        (figures.total.never_learning, figures.total.no_change),
        (None, None)
    );
    let mut record = prediction(7, 1.0, "b");
    record.version = None;
    evaluation.change(7, &record, Some("b"), Some("a"));
    label(&mut evaluation, 8, 1.0, "b", "b");
    let figures = evaluation.figures().total;
    assert_eq!(figures.scores.accuracy, Some(0.5));
    assert_eq!(accuracies(figures.never_learning), (1, 1.0, 1.0));
    assert_eq!(figures.no_change, None, "there is no previous label");
}

#[test]
fn a_state_with_too_many_classes_is_read_with_the_same_accuracy() {
    let mut counts = VersionCounts::default();
    for number in 0..300 {
        let (truth, other) = (number.to_string(), (number + 1).to_string());
        counts.add(None, (&truth, &truth));
        counts.add(None, (&truth, &other));
    }
    let stored = StoredEvaluation {
        versions: counts,
        ..StoredEvaluation::default()
    };
    let evaluation = restart(&restored(stored, 10), 10);
    let (_, matrix) = evaluation.versions().next().unwrap();
    assert_eq!((matrix.total(), matrix.right()), (600, 300));
    let mut classes: Vec<&str> = matrix.cells().map(|(truth, _, _)| truth).collect();
    classes.dedup();
    assert_eq!(classes.len(), 101);
}

#[test]
fn without_its_model_never_learning_is_absent_and_says_why() {
    let version = model(0.0).model.version();
    let mut evaluation = evaluation(10);
    label(&mut evaluation, 0, 1.0, "a", "b");
    evaluation.compare_with(FirstChampion::NotLoaded(version));
    label(&mut evaluation, 1, 1.0, "b", "b");
    let figures = evaluation.figures();
    assert_eq!(figures.total.never_learning, None);
    let problem = figures.never_learning.problem.unwrap();
    assert!(problem.contains(&version.to_string()), "{problem}");
    assert!(figures.total.no_change.is_some());
    // Loaded again, it continues with the records that it has predicted.
    evaluation.compare_with(FirstChampion::Loaded(model(0.0)));
    let figures = evaluation.figures().total;
    assert_eq!(accuracies(figures.never_learning), (1, 1.0, 0.0));
    // Another registry's first champion starts from nothing.
    evaluation.compare_with(FirstChampion::Loaded(model(5.0)));
    assert_eq!(evaluation.figures().total.never_learning, None);
    label(&mut evaluation, 2, 1.0, "b", "b");
    let figures = evaluation.figures().window;
    assert_eq!(accuracies(figures.never_learning), (1, 0.0, 1.0));
}
