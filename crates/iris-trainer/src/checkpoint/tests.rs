use std::sync::Arc;

use fastrand::Rng;
use iris_contract::registry::Action;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::blocks::List;
use crate::example::{label, learner, predict};
use crate::learner::Learner;
use crate::property;
use crate::settings::Learn;

fn long() -> Checkpoint {
    let offsets: Positions = (0..100_000).map(|n| (n, i64::from(n) * 7)).collect();
    Checkpoint {
        sources: [("predictions".to_owned(), offsets)].into(),
        topic_ids: BTreeMap::from_iter(
            TopicId::new("4Yy1GbkqTBqqG6KrqGAyeQ").map(|id| ("predictions".to_owned(), id)),
        ),
        times: [("predictions".to_owned(), [(0, 7)].into())].into(),
        state: LearnerState::default(),
    }
}

fn writer() -> CheckpointWriter {
    StoredCheckpoint::default().into_writer("me").1
}

/// Writes records to a topic, and returns the number of values.
fn write(topic: &mut Values, records: Vec<KeyedValue>) -> usize {
    let count = records.iter().filter(|(_, value)| value.is_some()).count();
    for (key, value) in records {
        match value {
            Some(value) => topic.insert(key, value),
            None => topic.remove(&key),
        };
    }
    count
}

fn read(topic: &Values) -> Checkpoint {
    StoredCheckpoint::assemble("t", topic).unwrap().checkpoint
}

fn problem(topic: &Values) -> String {
    let read = StoredCheckpoint::assemble("t", topic);
    read.unwrap_err().to_string()
}

#[test]
fn a_state_of_many_parts_can_be_read_back() {
    let (mut topic, mut writer) = (Values::new(), writer());
    write(&mut topic, writer.changes(&long(), Blocks::default()));
    assert!(topic.len() > 2, "{}", topic.len());
    let stored = StoredCheckpoint::assemble("t", &topic).unwrap();
    assert_eq!((&stored.checkpoint, &*stored.writer), (&long(), "me"));
    // A shorter state leaves no parts behind, also when another process writes it.
    let (_, mut writer) = stored.into_writer("another");
    let records = writer.changes(&Checkpoint::default(), Blocks::default());
    write(&mut topic, records);
    assert_eq!(read(&topic), Checkpoint::default());
    assert_eq!(topic.keys().collect::<Vec<_>>(), ["head", "part-0000"]);
}

/// A learner with small bounds, so that its lists soon drop their oldest items.
fn small_learner(random: &mut Rng) -> Learner {
    learner(|settings| {
        settings.learn = Learn::All;
        settings.max_join_records = random.usize(10..100);
        settings.evaluation_window_records = random.usize(1..100);
        settings.max_learned_rows = random.usize(10..100);
        settings.holdout_ratio = 0.2;
    })
}

/// Adds a prediction, maybe with a label, and maybe a label of one of the latest or next predictions.
fn add_records(learner: &mut Learner, offset: i64, random: &mut Rng) {
    let x = random.f64() * 4.0 - 2.0;
    let own = random.bool().then_some(if x < 0.0 { "a" } else { "b" });
    predict(learner, offset, x, own);
    if random.u8(..) < 100 {
        let id = random.i64((offset - 50).max(0)..=offset + 5);
        let class = ["a", "b"][random.usize(..2)];
        label(learner, id, (random.u8(..) > 20).then_some(class), offset);
    }
}

/// Trains a challenger and promotes, rejects or promotes it and rolls back.
fn train(learner: &mut Learner, random: &mut Rng) {
    let Some(challenger) = learner.train_challenger(&BTreeMap::new()) else {
        return;
    };
    let champion = Arc::clone(learner.champion());
    let number = learner.decision() + 1;
    let choice = random.u8(..4);
    if choice > 0 {
        let predecessor = Some(Arc::clone(&champion));
        learner.follow(number, Action::Promoted, Arc::new(challenger), predecessor);
    }
    if choice == 1 {
        learner.follow(number + 1, Action::RolledBack, champion, None);
    }
}

#[test]
fn changes_add_up_to_the_whole_state() {
    let config = property::config(10_000);
    proptest!(config, |(seed: u64)| {
        let mut random = Rng::with_seed(seed);
        let mut learner = small_learner(&mut random);
        let (mut topic, mut writer) = (Values::new(), writer());
        for offset in 0..300 {
            add_records(&mut learner, offset, &mut random);
            if random.u8(..) < 10 {
                train(&mut learner, &mut random);
            }
            if random.u8(..) < 20 {
                let (state, blocks) = learner.store();
                let checkpoint = Checkpoint {
                    state,
                    ..Checkpoint::default()
                };
                write(&mut topic, writer.changes(&checkpoint, blocks));
                prop_assert_eq!(read(&topic).state, learner.state());
                let is_of_predictions = |key: &&String| key.starts_with("predictions-");
                let blocks = topic.keys().filter(is_of_predictions).count();
                prop_assert!(blocks <= 3, "{blocks} blocks of at most 100 predictions");
                if random.bool() {
                    let stored = StoredCheckpoint::assemble("t", &topic).unwrap();
                    (_, writer) = stored.into_writer("another");
                }
            }
        }
    });
}

#[test]
fn a_change_of_few_records_writes_few_records() {
    let mut learner = learner(|settings| settings.learn = Learn::All);
    let (mut topic, mut writer) = (Values::new(), writer());
    let mut commit = |learner: &mut Learner| {
        let (state, blocks) = learner.store();
        let checkpoint = Checkpoint {
            state,
            ..Checkpoint::default()
        };
        write(&mut topic, writer.changes(&checkpoint, blocks))
    };
    for offset in 0..5_000 {
        predict(&mut learner, offset, 1.0, None);
    }
    // 5,000 predictions in blocks of 64, the state without its lists, and the head.
    assert_eq!(commit(&mut learner), 79 + 2);
    assert_eq!(commit(&mut learner), 1, "only the head is always written");
    predict(&mut learner, 5_000, 1.0, None);
    assert_eq!(commit(&mut learner), 3);
    label(&mut learner, 64, Some("b"), 5_000);
    // A block of predictions, one of labels, one of answers; the row is not the champion's yet.
    assert_eq!(commit(&mut learner), 3 + 2);
}

#[test]
fn a_state_of_the_previous_format_has_no_blocks() {
    let json = br#"{"sources":{"predictions":{"0":120}},"state":{}}"#;
    let head = br#"{"format":2,"owner":"me","parts":1}"#;
    let records = [
        ("part-0000", &json[..]),
        ("head", &head[..]),
        ("part-0001", b"x"),
    ];
    let mut topic: Values = records
        .map(|(key, value)| (key.to_owned(), value.to_vec()))
        .into();
    let stored = StoredCheckpoint::assemble("t", &topic).unwrap();
    let (checkpoint, mut writer) = stored.into_writer("me");
    assert_eq!((checkpoint.sources.len(), checkpoint.times.len()), (1, 0));
    assert!(checkpoint.topic_ids.is_empty());
    write(&mut topic, writer.changes(&checkpoint, Blocks::default()));
    assert_eq!(topic.keys().collect::<Vec<_>>(), ["head", "part-0000"]);
    assert_eq!(read(&topic), checkpoint);
}

#[test]
fn a_missing_record_is_reported() {
    let mut topic = Values::new();
    write(&mut topic, writer().changes(&long(), Blocks::default()));
    topic.remove("part-0001");
    assert!(problem(&topic).contains("`part-0001` is missing"));
    let blocks = Blocks {
        changed: vec![Block::new(List::Labels, 0, &[0; 3])],
        whole: Vec::new(),
    };
    topic.clear();
    write(&mut topic, writer().changes(&Checkpoint::default(), blocks));
    assert!(problem(&topic).contains("`labels-000000000000`: invalid type"));
    topic.remove("labels-000000000000-0000");
    let found = problem(&topic);
    assert!(
        found.contains("there are 0 records of blocks instead of 1"),
        "{found}"
    );
    topic.clear();
    assert_eq!(read(&topic), Checkpoint::default());
    topic.insert(
        "head".to_owned(),
        br#"{"format":4,"owner":"","parts":1}"#.to_vec(),
    );
    assert!(problem(&topic).contains("format 4, and this program reads 2 to 3"));
}

#[test]
fn a_trainer_is_taken_over_when_another_has_written_the_state_or_it_is_gone() {
    assert!(!is_taken_over(false, "me", "another"), "it starts");
    assert!(!is_taken_over(true, "me", "me"));
    assert!(is_taken_over(true, "me", "another"));
    assert!(is_taken_over(true, "me", ""));
}
