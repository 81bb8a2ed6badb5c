use super::*;
use crate::example::model;

fn example(record: u64, x: f64) -> TrainingExample {
    TrainingExample {
        place: place(record),
        features: vec![x],
        label: "a".to_owned(),
        record,
    }
}

fn place(record: u64) -> PartitionOffset {
    PartitionOffset::new(0, i64::try_from(record).unwrap())
}

fn known(record: u64) -> KnownRow {
    KnownRow::from(&example(record, 0.0))
}

/// A memory with an example for each of the first `records` records.
fn memory(records: u64) -> Memory {
    let mut memory = Memory::default();
    for _ in 0..records {
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    memory
}

/// The records of the champion's known rows that are not left out, and those of the examples.
fn records(memory: &Memory) -> (Vec<u64>, Vec<u64>) {
    let known = memory.known.iter();
    let known =
        known.filter(|row| row.record >= memory.first_record && !memory.withdrawn.contains(row));
    (
        known.map(|row| row.record).collect(),
        memory
            .examples
            .iter()
            .map(|example| example.record)
            .collect(),
    )
}

/// Notes that a challenger was trained on all rows of the memory. Returns its version.
fn train(memory: &mut Memory, threshold: f64) -> ModelVersion {
    let challenger = model(threshold);
    let mut rows: Vec<KnownRow> = memory
        .known
        .iter()
        .filter(|row| !memory.withdrawn.contains(row))
        .copied()
        .chain(memory.examples.iter().map(KnownRow::from))
        .collect();
    rows.sort_unstable();
    memory.trained(Some(&challenger), rows);
    challenger.model.version()
}

fn first() -> ModelVersion {
    model(0.0).model.version()
}

fn settings() -> TrainerSettings {
    TrainerSettings {
        retrain_after_rows: 3,
        retrain_after_ms: 100,
        ..TrainerSettings::default()
    }
}

fn cause(memory: &Memory, now: i64) -> Option<TrainingCause> {
    memory.training_cause(4, Some(now), false, false, &settings())
}

#[test]
fn a_rejected_challenger_takes_no_example_with_it() {
    let mut memory = memory(3);
    assert_eq!(cause(&memory, 0), Some(TrainingCause::EnoughRows));
    train(&mut memory, 1.0);
    assert_eq!(cause(&memory, 0), None, "nothing is new");
    assert_eq!(records(&memory), (vec![], vec![1, 2, 3]));
    let record = memory.count();
    memory.add(example(record, 1.0));
    train(&mut memory, 2.0);
    assert_eq!(records(&memory), (vec![], vec![1, 2, 3, 4]));
}

#[test]
fn the_rows_of_a_promoted_challenger_are_known() {
    let mut memory = memory(2);
    let version = train(&mut memory, 1.0);
    let record = memory.count();
    memory.add(example(record, 1.0));
    memory.promoted(version, first());
    assert_eq!(records(&memory), (vec![1, 2], vec![3]));
}

#[test]
fn a_champion_that_is_rolled_back_returns_its_examples() {
    let mut memory = memory(2);
    let version = train(&mut memory, 1.0);
    memory.promoted(version, first());
    let record = memory.count();
    memory.add(example(record, 1.0));
    memory.remove(place(1));
    memory.rolled_back(first());
    assert_eq!(records(&memory), (vec![], vec![2, 3]));
}

#[test]
fn another_champion_has_no_known_rows_and_the_examples_stay() {
    for (promote, expected) in [(true, vec![3]), (false, vec![3])] {
        let mut memory = memory(2);
        let version = train(&mut memory, 1.0);
        memory.promoted(version, first());
        let record = memory.count();
        memory.add(example(record, 1.0));
        let other = model(9.0).model.version();
        if promote {
            memory.promoted(other, version);
        } else {
            memory.rolled_back(other);
        }
        assert_eq!(records(&memory), (vec![], expected));
    }
}

#[test]
fn a_corrected_label_removes_the_row_of_its_prediction_and_no_other() {
    let mut memory = memory(3);
    memory.remove(place(2));
    assert_eq!(records(&memory), (vec![], vec![1, 3]));
    let version = train(&mut memory, 1.0);
    memory.promoted(version, first());
    memory.remove(place(1));
    assert_eq!(records(&memory), (vec![3], vec![]));
    assert_eq!(memory.new_rows, 1, "the champion has a row too many");
    memory.remove(place(7));
    assert_eq!(memory.new_rows, 1);
}

#[test]
fn a_row_that_is_corrected_while_its_challenger_is_in_shadow_is_left_out_afterwards() {
    let mut memory = memory(3);
    let version = train(&mut memory, 1.0);
    memory.remove(place(2));
    memory.promoted(version, first());
    assert_eq!(records(&memory), (vec![1, 3], vec![]));
    assert_eq!(memory.known, [known(1), known(2), known(3)]);
}

#[test]
fn old_records_are_left_out_now_and_later() {
    let mut memory = memory(4);
    let version = train(&mut memory, 1.0);
    memory.promoted(version, first());
    for _ in 0..2 {
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    memory.keep_newest_records(3);
    assert_eq!(records(&memory), (vec![4], vec![5, 6]));
    memory.add(example(2, 1.0));
    assert_eq!(records(&memory), (vec![4], vec![5, 6]), "it is old");
    memory.rolled_back(first());
    assert_eq!(records(&memory), (vec![], vec![4, 5, 6]));
    assert_eq!(
        memory.selection().left_out(4),
        4,
        "so are the rows of the dataset"
    );
}

#[test]
fn the_oldest_rows_of_the_champion_are_left_out() {
    let mut memory = memory(4);
    let version = train(&mut memory, 1.0);
    memory.promoted(version, first());
    memory.keep_newest_rows(6, 5);
    assert_eq!((memory.forgotten, memory.first_record), (1, 0));
    memory.keep_newest_rows(6, 3);
    assert_eq!((memory.forgotten, memory.first_record), (2, 2));
    assert_eq!(records(&memory), (vec![2, 3, 4], vec![]));
}

#[test]
fn training_waits_for_rows_or_time() {
    let mut memory = memory(2);
    memory.wait_from(Some(5));
    memory.wait_from(Some(7));
    assert_eq!(cause(&memory, 104), None);
    assert_eq!(cause(&memory, 105), Some(TrainingCause::EnoughTime));
    let end = memory.training_cause(4, None, false, true, &settings());
    assert_eq!(end, Some(TrainingCause::EndOfInput));
    let drift = memory.training_cause(4, None, true, false, &settings());
    assert_eq!(drift, Some(TrainingCause::Drift));
    train(&mut memory, 1.0);
    assert_eq!(cause(&memory, 1_000), None);
    let end = memory.training_cause(4, None, false, true, &settings());
    assert_eq!(end, None);
}

#[test]
fn a_memory_that_has_forgotten_most_rows_is_used_more_often() {
    let settings = TrainerSettings {
        retrain_after_rows: 50,
        ..settings()
    };
    let mut memory = memory(20);
    memory.keep_newest_records(8);
    let cause = |memory: &Memory| memory.training_cause(100, None, false, false, &settings);
    assert_eq!(cause(&memory), Some(TrainingCause::EnoughRows));
    train(&mut memory, 1.0);
    assert_eq!(cause(&memory), None);
    for _ in 0..3 {
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    assert_eq!(memory.enough_rows(100, 50), 2);
    assert_eq!(cause(&memory), Some(TrainingCause::EnoughRows));
}

#[test]
fn a_memory_that_waits_for_rows_trains_when_there_are_more() {
    let mut memory = memory(3);
    memory.wait_for_rows();
    assert_eq!(cause(&memory, 1_000), None);
    for _ in 0..3 {
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    assert_eq!(cause(&memory, 0), Some(TrainingCause::EnoughRows));
}
