//! How often a decision is wrong, by simulation: models of known error rates are judged by the rules at their default settings.
//! `IRIS_TEST_CASES` sets the number of runs.

use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use iris_contract::registry::Action;
use iris_core::{Artefact, Lineage, Model, TrainingSet};
use iris_kafka::PartitionOffset;

use super::holdout::HeldOut;
use super::trial::{Labelled, Probation, ShadowRun};
use super::{Due, Learner, LearnerState, Models, trial};
use crate::challenger::TrainingExample;
use crate::example::schema;
use crate::gate::{Comparison, Evidence, GateVerdict, RecordWeights};
use crate::observation::{Prediction, RawPrediction};
use crate::paired_test::PairedResult;
use crate::property;
use crate::settings::TrainerSettings;

/// A number of labelled records of which a tenth fills the holdout.
const FILLING: usize = 1_200;

/// The number of the runs of a simulation is `IRIS_TEST_CASES` divided by this.
const COST: u32 = 2_000;

/// Which of two models classify a record correctly.
#[derive(Clone, Copy)]
enum Correct {
    Both,
    Champion,
    Challenger,
    Neither,
}

/// How often two models are wrong: each of them, and both on the same record.
#[derive(Clone, Copy)]
struct Errors {
    champion: f64,
    challenger: f64,
    both: f64,
}

impl Errors {
    /// The errors of the models do not depend on each other.
    fn independent(champion: f64, challenger: f64) -> Self {
        Self {
            champion,
            challenger,
            both: champion * challenger,
        }
    }

    /// Exactly one of the models is correct on this share of all records.
    fn correlated(champion: f64, challenger: f64, differing: f64) -> Self {
        Self {
            champion,
            challenger,
            both: (champion + challenger - differing) / 2.0,
        }
    }

    fn draw(self, random: &mut Rng) -> Record {
        let number = random.f64();
        let correct = if number < self.both {
            Correct::Neither
        } else if number < self.challenger {
            Correct::Champion
        } else if number < self.challenger + self.champion - self.both {
            Correct::Challenger
        } else {
            Correct::Both
        };
        let is_b = random.bool();
        Record {
            features: [feature(correct, is_b)],
            label: class(is_b),
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differing = self.champion + self.challenger - 2.0 * self.both;
        write!(
            f,
            "error rates {:.2} (champion) and {:.2}, differing on {differing:.3}",
            self.champion, self.challenger
        )
    }
}

/// A labelled record.
struct Record {
    features: [f64; 1],
    label: &'static str,
}

impl Record {
    fn labelled(&self) -> Labelled<'_> {
        Labelled {
            id: "",
            features: &self.features,
            label: self.label,
        }
    }
}

fn class(is_b: bool) -> &'static str {
    if is_b { "b" } else { "a" }
}

fn feature(correct: Correct, is_b: bool) -> f64 {
    f64::from(correct as u8) + if is_b { 10.0 } else { 0.0 }
}

/// A model that is wrong on these records.
fn model(is_wrong: impl Fn(Correct) -> bool) -> Arc<Artefact> {
    let mut rows = Vec::new();
    for is_b in [false, true] {
        for correct in [
            Correct::Both,
            Correct::Champion,
            Correct::Challenger,
            Correct::Neither,
        ] {
            let label = class(is_b ^ is_wrong(correct));
            rows.push(([feature(correct, is_b)], label));
        }
    }
    let rows = rows.iter().map(|(features, label)| (&features[..], *label));
    Arc::new(Artefact {
        model: Model::fit(TrainingSet::new(schema(), rows), 1).unwrap(),
        lineage: Lineage::default(),
    })
}

fn champion() -> Arc<Artefact> {
    model(|correct| matches!(correct, Correct::Challenger | Correct::Neither))
}

fn challenger() -> Arc<Artefact> {
    model(|correct| matches!(correct, Correct::Champion | Correct::Neither))
}

/// A learner with a stream of records on which the two models have these errors.
struct Stream {
    learner: Learner,
    random: Rng,
    errors: Errors,
    offset: i64,
}

impl Stream {
    fn new(seed: u64, errors: Errors) -> Self {
        let models = Models {
            champion: champion(),
            predecessor: None,
            shadow: None,
            kinds: Vec::new(),
            dataset: champion(),
        };
        let settings = TrainerSettings::default();
        Self {
            learner: Learner::restore(settings, schema(), LearnerState::default(), models),
            random: Rng::with_seed(seed),
            errors,
            offset: 0,
        }
    }

    /// Reads a labelled record. Returns whether the served prediction is correct.
    fn read(&mut self) -> bool {
        let record = self.errors.draw(&mut self.random);
        let model = &self.learner.champion().model;
        let predicted = model.predict_label(&record.features).to_owned();
        let is_correct = predicted == record.label;
        let prediction = Prediction {
            raw: RawPrediction {
                place: PartitionOffset::new(0, self.offset),
                timestamp: self.offset,
                key: None,
                value: String::new(),
                provenance: None,
            },
            id: self.offset.to_string(),
            version: Some(model.version()),
            features: record.features.to_vec(),
            predicted,
            own_label: Some(record.label.to_owned()),
        };
        self.learner.predicted(prediction);
        self.offset += 1;
        is_correct
    }

    /// Adds a record to the holdout.
    fn hold_out(&mut self) {
        let record = self.errors.draw(&mut self.random);
        let example = TrainingExample {
            place: PartitionOffset::new(0, self.offset),
            features: record.features.to_vec(),
            label: record.label.to_owned(),
            record: self.learner.memory.count(),
        };
        let held_out = HeldOut {
            example,
            is_learned: false,
        };
        let max = self.learner.settings.holdout_records;
        drop(self.learner.holdout.add(held_out, max));
        self.offset += 1;
    }

    /// Judges the challenger on the holdout.
    fn is_challenger_rejected(&mut self) -> bool {
        let verdict = self.learner.judge(&challenger().model, &[]);
        assert!(verdict.recent.rows > 0, "{verdict}");
        !verdict.is_passed()
    }

    fn promote(&mut self) {
        let predecessor = Some(champion());
        let learner = &mut self.learner;
        learner.follow(1, Action::Promoted, challenger(), predecessor);
    }
}

/// In how many runs something happens.
struct Rate {
    runs: u64,
    hits: u64,
}

impl Rate {
    /// Counts the runs, which are numbered from 0, in which something happens.
    fn of(happens: impl Fn(u64) -> bool) -> Self {
        let runs = u64::from(property::config(COST).cases);
        let hits = (0..runs).filter(|&run| happens(run)).count() as u64;
        Self { runs, hits }
    }

    fn share(&self) -> f64 {
        self.hits as f64 / self.runs as f64
    }

    /// Three standard errors of the share, if the true one is this.
    fn tolerance(&self, share: f64) -> f64 {
        3.0 * (share * (1.0 - share) / self.runs as f64).sqrt()
    }

    fn assert_at_most(&self, share: f64, case: &str) {
        let (observed, tolerance) = (self.share(), self.tolerance(share));
        let text = format!("{case}: {observed:.4} of {} runs", self.runs);
        println!("{text}, the limit is {share}");
        let is_kept = observed <= share + tolerance;
        assert!(is_kept, "{text}, the limit is {share} (+ {tolerance:.4})");
    }

    fn assert_at_least(&self, share: f64, case: &str) {
        let (observed, tolerance) = (self.share(), self.tolerance(share));
        let text = format!("{case}: {observed:.4} of {} runs", self.runs);
        println!("{text}, the limit is {share}");
        let is_kept = observed >= share - tolerance;
        assert!(is_kept, "{text}, the limit is {share} (- {tolerance:.4})");
    }
}

/// Whether the gate rejects the challenger, judged by a full holdout.
fn is_rejected_at_the_gate(run: u64, errors: Errors) -> bool {
    let mut stream = Stream::new(run, errors);
    for _ in 0..stream.learner.settings.holdout_records {
        stream.hold_out();
    }
    stream.is_challenger_rejected()
}

/// Whether the challenger is rejected in a shadow run of this many records.
fn is_rejected_in_shadow(run: u64, errors: Errors, records: usize) -> bool {
    let settings = TrainerSettings {
        shadow_records: records,
        ..TrainerSettings::default()
    };
    let (champion, weights) = (champion(), RecordWeights::default());
    let mut random = Rng::with_seed(run);
    let mut shadow = ShadowRun::new(challenger(), GateVerdict::default());
    while !shadow.is_finished(&settings) {
        let record = errors.draw(&mut random);
        shadow.add(&champion.model, record.labelled(), &weights, 1.0);
    }
    let verdict = shadow.verdict(&settings);
    !verdict.is_passed()
}

/// Whether the challenger is rejected by its newest 2,000 rows, which are left out.
fn is_rejected_on_left_out_rows(run: u64, errors: Errors) -> bool {
    let (champion, challenger) = (champion(), challenger());
    let mut random = Rng::with_seed(run);
    let results: Vec<PairedResult> = (0..2_000)
        .map(|_| {
            let record = errors.draw(&mut random);
            trial::compare(&champion.model, &challenger.model, record.labelled(), 1.0)
        })
        .collect();
    let verdict = GateVerdict {
        margin: 1.0,
        left_out: Comparison::of_results(&results),
        left_out_evidence: Evidence::of_results(&results),
        error_rate: TrainerSettings::default().rejection_error_rate,
        ..GateVerdict::default()
    };
    !verdict.is_passed()
}

/// Returns the number of records after which a promoted challenger fails a probation of this length. `None` if it passes.
fn failing_record(run: u64, errors: Errors, length: usize) -> Option<usize> {
    first_failing_record(run, |_| errors, length)
}

/// Returns the number of records after which a probation of this length is failed, if `errors` are those of the last champion
/// that has passed and of the champion of each record. `None` if it is passed.
fn first_failing_record(
    run: u64,
    errors: impl Fn(usize) -> Errors,
    length: usize,
) -> Option<usize> {
    let settings = TrainerSettings {
        probation_records: length,
        ..TrainerSettings::default()
    };
    let (promoted, weights) = (challenger(), RecordWeights::default());
    let mut random = Rng::with_seed(run);
    let mut probation = Probation::new(champion());
    let mut records = 0;
    while !probation.is_passed(&settings) {
        let record = errors(records).draw(&mut random);
        probation.add(&promoted.model, record.labelled(), &weights);
        records += 1;
        if probation.is_failed(&settings) {
            return Some(records);
        }
    }
    None
}

/// The errors of equal champions of which a new one is promoted every 26 records, so that they differ from the first one on more
/// and more records, up to a share.
fn succession_of_equals(differing: f64) -> impl Fn(usize) -> Errors {
    move |records| {
        let differing = differing.min(0.01 * (1 + records / 26) as f64);
        Errors::correlated(0.25, 0.25, differing)
    }
}

/// Two models of the same error rate that differ on 4% to 42% of the records.
const EQUAL: [fn() -> Errors; 4] = [
    || Errors::correlated(0.1, 0.1, 0.04),
    || Errors::independent(0.05, 0.05),
    || Errors::independent(0.1, 0.1),
    || Errors::independent(0.3, 0.3),
];

#[test]
fn an_equal_challenger_is_rejected_at_most_at_the_set_rate() {
    let error_rate = TrainerSettings::default().rejection_error_rate;
    for errors in EQUAL.map(|errors| errors()) {
        let at_the_gate = Rate::of(|run| is_rejected_at_the_gate(run, errors));
        at_the_gate.assert_at_most(error_rate, &format!("rejected at the gate, {errors}"));
        let in_shadow = Rate::of(|run| is_rejected_in_shadow(run, errors, 2_000));
        in_shadow.assert_at_most(error_rate, &format!("rejected in shadow, {errors}"));
        let left_out = Rate::of(|run| is_rejected_on_left_out_rows(run, errors));
        left_out.assert_at_most(error_rate / 2.0, &format!("rejected by its rows, {errors}"));
    }
}

/// The evidence never decreases, so a long probation shows the results of all shorter ones.
#[test]
fn an_equal_champion_is_rolled_back_at_most_at_the_set_rate_however_long_the_probation() {
    let settings = TrainerSettings::default();
    let default = settings.probation_records;
    let runs = u64::from(property::config(COST).cases);
    for errors in [EQUAL[0](), EQUAL[3]()] {
        let failing: Vec<usize> = (0..runs)
            .filter_map(|run| failing_record(run, errors, 10 * default))
            .collect();
        for length in [default / 10, default, 3 * default, 10 * default] {
            let hits = failing.iter().filter(|&&record| record <= length).count() as u64;
            let case = format!("rolled back in a probation of {length} records, {errors}");
            Rate { runs, hits }.assert_at_most(settings.rollback_error_rate, &case);
        }
    }
}

/// The probation continues when the next champion is promoted, so it is one test, however many champions there are.
#[test]
fn equal_champions_that_follow_each_other_are_rolled_back_at_most_at_the_set_rate() {
    let settings = TrainerSettings::default();
    let default = settings.probation_records;
    for length in [default, 4 * default] {
        for differing in [0.04, 0.4] {
            let rolled_back = Rate::of(|run| {
                first_failing_record(run, succession_of_equals(differing), length).is_some()
            });
            let case = format!("rolled back within {length} records, differing on {differing}");
            rolled_back.assert_at_most(settings.rollback_error_rate, &case);
        }
    }
}

/// Each champion is worse by 3 points than the last one that passed, because the rows that harm stay in the memory.
#[test]
fn champions_that_are_worse_are_rolled_back_although_they_are_replaced_soon() {
    let length = TrainerSettings::default().probation_records;
    for (differing, share) in [(0.05, 0.9), (0.1, 0.5), (0.2, 0.2)] {
        let errors = Errors::correlated(0.1, 0.13, differing);
        let rolled_back = Rate::of(|run| failing_record(run, errors, length).is_some());
        rolled_back.assert_at_least(share, &format!("rolled back, {errors}"));
        let in_time = Rate::of(|run| failing_record(run, errors, 26).is_some());
        in_time.assert_at_most(
            0.05,
            &format!("rolled back in a probation of its own, {errors}"),
        );
    }
}

#[test]
fn an_equal_challenger_is_promoted_by_the_learner_without_harm() {
    let settings = TrainerSettings::default();
    let rate = 0.1;
    let errors = Errors::independent(rate, rate);
    let tolerance = 5.0 * (rate * (1.0 - rate) / settings.probation_records as f64).sqrt();
    let promoted_and_kept = Rate::of(|run| {
        let mut stream = Stream::new(run, errors);
        for _ in 0..FILLING {
            stream.read();
        }
        if stream.is_challenger_rejected() {
            return false;
        }
        stream.promote();
        let mut wrong = 0;
        for _ in 0..settings.probation_records {
            wrong += u32::from(!stream.read());
            if stream.learner.due(false) == Some(Due::RollBack) {
                return false;
            }
        }
        assert_eq!(stream.learner.probation(), None, "it has ended");
        let observed = f64::from(wrong) / settings.probation_records as f64;
        assert!((observed - rate).abs() < tolerance, "{run}: {observed}");
        true
    });
    let wrongly = settings.rejection_error_rate + settings.rollback_error_rate;
    promoted_and_kept.assert_at_least(1.0 - wrongly, "promoted and not rolled back");
}

/// A challenger that is worse by 3 percentage points. The more often the errors of two models differ, the more records a
/// difference takes: if the models differ on 40% of the records, no test of this error rate rejects the challenger in more than
/// 80% of the cases after 2,000 records.
struct Worse {
    errors: Errors,
    /// The number of labelled records in shadow.
    records: usize,
    /// How often it is promoted nevertheless.
    promoted: f64,
}

fn worse(error_rate: f64, differing: f64, records: usize, promoted: f64) -> Worse {
    Worse {
        errors: Errors::correlated(error_rate, error_rate + 0.03, differing),
        records,
        promoted,
    }
}

#[test]
fn a_challenger_that_is_worse_by_3_points_is_rejected_in_shadow_with_enough_records() {
    for worse in [
        worse(0.1, 0.05, 2_000, 0.01),
        worse(0.1, 0.1, 2_000, 0.02),
        worse(0.1, 0.2, 2_000, 0.1),
        worse(0.25, 0.4, 2_000, 0.3),
        worse(0.25, 0.4, 4_000, 0.1),
    ] {
        let Worse {
            errors, records, ..
        } = worse;
        let promoted = Rate::of(|run| !is_rejected_in_shadow(run, errors, records));
        let case = format!("promoted after {records} records, {errors}");
        promoted.assert_at_most(worse.promoted, &case);
    }
}

#[test]
fn at_the_defaults_a_challenger_that_is_worse_by_3_points_is_rejected_by_2000_left_out_rows() {
    for (differing, limit) in [(0.05, 0.01), (0.1, 0.02), (0.2, 0.1)] {
        let errors = Errors::correlated(0.1, 0.13, differing);
        let promoted = Rate::of(|run| !is_rejected_on_left_out_rows(run, errors));
        promoted.assert_at_most(limit, &format!("promoted, {errors}"));
    }
}

#[test]
fn a_champion_that_is_worse_by_3_points_is_rolled_back_with_enough_records() {
    for (differing, records) in [(0.05, 2_000), (0.1, 2_000), (0.2, 4_000)] {
        let errors = Errors::correlated(0.1, 0.13, differing);
        let stays = Rate::of(|run| failing_record(run, errors, records).is_none());
        stays.assert_at_most(0.2, &format!("stays after {records} records, {errors}"));
    }
}

#[test]
fn at_the_defaults_a_clear_difference_decides() {
    let length = TrainerSettings::default().probation_records;
    let worse = Errors::independent(0.1, 0.3);
    let rejected = Rate::of(|run| is_rejected_at_the_gate(run, worse));
    rejected.assert_at_least(0.85, &format!("rejected, {worse}"));
    let rolled_back = Rate::of(|run| failing_record(run, worse, length).is_some());
    rolled_back.assert_at_least(0.99, &format!("rolled back, {worse}"));
    let better = Errors::independent(0.3, 0.1);
    let promoted = Rate::of(|run| !is_rejected_at_the_gate(run, better));
    promoted.assert_at_least(0.99, &format!("promoted, {better}"));
    let rolled_back = Rate::of(|run| failing_record(run, better, length).is_some());
    rolled_back.assert_at_most(0.001, &format!("rolled back, {better}"));
}
