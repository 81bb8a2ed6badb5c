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
    memory.training_cause(4, false, Some(now), false, false, &settings())
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
    memory.promoted(version, first(), false);
    assert_eq!(records(&memory), (vec![1, 2], vec![3]));
}

#[test]
fn a_champion_that_is_rolled_back_returns_its_examples() {
    let mut memory = memory(2);
    let version = train(&mut memory, 1.0);
    memory.promoted(version, first(), false);
    let record = memory.count();
    memory.add(example(record, 1.0));
    memory.remove(place(1));
    memory.rolled_back(first(), &model(1.0).model);
    assert_eq!(records(&memory), (vec![], vec![2, 3]));
}

/// A memory whose champion, with two rows, has replaced two others on probation, with one more row each.
fn chain() -> (Memory, ModelVersion) {
    let mut memory = memory(2);
    let mut predecessor = first();
    for (threshold, is_on_probation) in [(1.0, false), (2.0, true), (3.0, true)] {
        let version = train(&mut memory, threshold);
        assert!(memory.has_trained(version));
        memory.promoted(version, predecessor, is_on_probation);
        predecessor = version;
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    assert_eq!(records(&memory), (vec![1, 2, 3, 4], vec![5]));
    (memory, model(2.0).model.version())
}

#[test]
fn after_a_rollback_over_several_champions_the_rows_of_all_of_them_are_examples() {
    let champion = &model(3.0).model;
    let (mut memory, _) = chain();
    memory.remove(place(3));
    memory.rolled_back(first(), champion);
    assert_eq!(records(&memory), (vec![], vec![1, 2, 4, 5]));
    let (mut memory, direct) = chain();
    memory.rolled_back(direct, champion);
    assert_eq!(records(&memory), (vec![1, 2, 3], vec![4, 5]));
    let (mut memory, _) = chain();
    let other = model(1.0).model.version();
    memory.rolled_back(other, champion);
    assert_eq!(
        records(&memory),
        (vec![], vec![5]),
        "its rows are not known"
    );
}

#[test]
fn a_restored_memory_is_rolled_back_in_the_same_way() {
    let (memory, _) = chain();
    let json = serde_json::to_string(&memory.store_whole()).unwrap();
    let restored: StoredMemory = serde_json::from_str(&json).unwrap();
    assert_eq!(restored.restore(), memory);
}

#[test]
fn after_a_change_no_former_champion_has_older_rows() {
    let (mut memory, _) = chain();
    memory.keep_newest_records(2);
    assert_eq!(records(&memory), (vec![4], vec![5]));
    memory.rolled_back(first(), &model(3.0).model);
    assert_eq!(records(&memory), (vec![], vec![4, 5]));
    assert_eq!(memory.selection().left_out(4), 4);
}

#[test]
fn once_a_champion_has_passed_its_probation_only_its_own_rows_are_kept() {
    let (mut memory, _) = chain();
    let version = train(&mut memory, 4.0);
    memory.promoted(version, model(3.0).model.version(), false);
    assert_eq!(memory.earlier, None);
    let fallback = memory.fallback.unwrap();
    assert_eq!(fallback.version, model(3.0).model.version());
}

#[test]
fn another_champion_has_no_known_rows_and_the_examples_stay() {
    for (promote, expected) in [(true, vec![3]), (false, vec![3])] {
        let mut memory = memory(2);
        let version = train(&mut memory, 1.0);
        memory.promoted(version, first(), false);
        let record = memory.count();
        memory.add(example(record, 1.0));
        let other = model(9.0).model.version();
        if promote {
            memory.promoted(other, version, false);
        } else {
            memory.rolled_back(other, &model(1.0).model);
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
    memory.promoted(version, first(), false);
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
    memory.promoted(version, first(), false);
    assert_eq!(records(&memory), (vec![1, 3], vec![]));
    assert_eq!(memory.known, [known(1), known(2), known(3)]);
}

#[test]
fn old_records_are_left_out_now_and_later() {
    let mut memory = memory(4);
    let version = train(&mut memory, 1.0);
    memory.promoted(version, first(), false);
    for _ in 0..2 {
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    memory.keep_newest_records(3);
    assert_eq!(records(&memory), (vec![4], vec![5, 6]));
    memory.add(example(2, 1.0));
    assert_eq!(records(&memory), (vec![4], vec![5, 6]), "it is old");
    memory.rolled_back(first(), &model(1.0).model);
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
    memory.promoted(version, first(), false);
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
    let end = memory.training_cause(4, false, None, false, true, &settings());
    assert_eq!(end, Some(TrainingCause::EndOfInput));
    let drift = memory.training_cause(4, false, None, true, false, &settings());
    assert_eq!(drift, Some(TrainingCause::Drift));
    train(&mut memory, 1.0);
    assert_eq!(cause(&memory, 1_000), None);
    let end = memory.training_cause(4, false, None, false, true, &settings());
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
    let cause = |memory: &Memory| memory.training_cause(100, false, None, false, false, &settings);
    assert_eq!(cause(&memory), Some(TrainingCause::EnoughRows));
    train(&mut memory, 1.0);
    assert_eq!(cause(&memory), None);
    for _ in 0..3 {
        let record = memory.count();
        memory.add(example(record, 1.0));
    }
    assert_eq!(memory.enough_rows(100, false, 50), 2);
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

#[test]
fn a_kind_that_takes_long_to_fit_is_trained_less_often() {
    let memory = memory(0);
    for (rows, enough) in [(100, 25), (500, 25), (1_000, 50), (4_000, 200)] {
        assert_eq!(memory.enough_rows(rows, false, 25), 25);
        assert_eq!(memory.enough_rows(rows, true, 25), enough, "{rows}");
    }
}
