use iris_core::Schema;
use iris_kafka::PartitionOffset;
use proptest::prelude::*;

use super::*;
use crate::evaluation::Evaluation;
use crate::observation::RawPrediction;

const BOUNDS: Bounds = Bounds {
    records: 1_000,
    window_ms: 1_000_000,
};

fn schema() -> Schema {
    Schema {
        features: vec!["x".into()],
        ..Schema::default()
    }
}

fn prediction(id: &str, predicted: &str, own_label: Option<&str>, offset: i64) -> Prediction {
    let label = own_label.map_or_else(|| "null".to_owned(), |label| format!("\"{label}\""));
    let value = format!(
        "{{\"Id\":\"{id}\",\"x\":1,\"Species\":{label},\"PredictedSpecies\":\"{predicted}\"}}"
    );
    let raw = RawPrediction {
        place: PartitionOffset {
            partition: 0,
            offset,
        },
        timestamp: offset,
        key: None,
        value,
        provenance: Some(format!("00-{:016x}-0-{offset}-5", offset % 3)),
    };
    Prediction::read(&schema(), raw).unwrap()
}

fn label(id: &str, label: Option<&str>) -> LabelRecord {
    LabelRecord {
        id: id.to_owned(),
        label: label.map(str::to_owned),
    }
}

fn truths(changes: &[Change]) -> Vec<(Option<&str>, Option<&str>)> {
    changes
        .iter()
        .map(|change| (change.before.as_deref(), change.after.as_deref()))
        .collect()
}

#[test]
fn a_label_is_joined_whether_it_comes_before_or_after_the_prediction() {
    let mut join = Join::new(BOUNDS);
    assert_eq!(join.predicted(prediction("1", "a", None, 1)), None);
    let late = join.labelled(label("1", Some("a")), 2);
    assert_eq!(truths(&late), [(None, Some("a"))]);
    assert!(join.labelled(label("2", Some("b")), 3).is_empty());
    let early = join.predicted(prediction("2", "a", None, 4)).unwrap();
    assert_eq!(truths(&[early]), [(None, Some("b"))]);
}

#[test]
fn a_label_can_be_corrected_and_withdrawn() {
    let mut join = Join::new(BOUNDS);
    join.predicted(prediction("1", "a", Some("a"), 1));
    let mut change = |class| {
        let changes = join.labelled(label("1", class), 2);
        truths(&changes)
            .iter()
            .map(|(before, after)| format!("{before:?} {after:?}"))
            .collect::<Vec<_>>()
            .join("")
    };
    assert_eq!(change(Some("a")), "");
    assert_eq!(change(Some("b")), "Some(\"a\") Some(\"b\")");
    assert_eq!(change(Some("c")), "Some(\"b\") Some(\"c\")");
    assert_eq!(change(None), "Some(\"c\") Some(\"a\")");
    assert_eq!(change(None), "");
}

#[test]
fn predictions_and_labels_above_the_limit_are_counted_if_they_were_not_joined() {
    let mut join = Join::new(Bounds {
        records: 2,
        ..BOUNDS
    });
    for offset in 0..4 {
        let label = (offset == 1).then_some("a");
        join.predicted(prediction(&offset.to_string(), "a", label, offset));
    }
    // 0 and 1 have expired; 1 had its label.
    assert_eq!((join.len(), join.expired().predictions), (2, 1));
    for id in ["9", "3", "8"] {
        join.labelled(label(id, Some("a")), 5);
    }
    let expired = Expired {
        predictions: 1,
        labels: 1,
    };
    assert_eq!(join.expired(), expired);
    let unjoined = |id: &str| Unjoined {
        records: 1,
        above_limit: 1,
        example: id.to_owned(),
    };
    assert_eq!(join.take_unjoined(), ["0", "9"].map(unjoined));
    assert_eq!(join.take_unjoined(), [(); 2].map(|()| Unjoined::default()));
}

#[test]
fn predictions_and_labels_older_than_the_window_are_counted_if_they_were_not_joined() {
    let mut join = Join::new(Bounds {
        records: 10_000,
        window_ms: 1_000,
    });
    join.predicted(prediction("first", "a", None, 0));
    join.labelled(label("no match", Some("a")), 0);
    for time in 0..1_100 {
        join.predicted(prediction("x", "a", Some("a"), time));
    }
    let unjoined = |id: &str| Unjoined {
        records: 1,
        above_limit: 0,
        example: id.to_owned(),
    };
    assert_eq!(join.take_unjoined(), ["first", "no match"].map(unjoined));
    assert!((1_000..1_080).contains(&join.len()), "{}", join.len());
}

#[test]
fn expired_records_are_described_by_an_example_and_the_limit() {
    let settings = TrainerSettings::default();
    let mut unjoined = Unjoined::default();
    unjoined.add("a\nb", false);
    unjoined.add("c", false);
    assert_eq!(
        unjoined.describe(&settings),
        "id `a\\nb` (trainer.join_window_ms is 3600000)"
    );
    unjoined.add("d", true);
    assert_eq!(
        unjoined.describe(&settings),
        "id `a\\nb` (1 of them because more than trainer.max_join_records = 10000 were kept)"
    );
    let mut without_id = Unjoined::default();
    without_id.add("", false);
    let description = without_id.describe(&settings);
    assert!(description.starts_with("without an id "), "{description}");
}

#[test]
fn a_ground_truth_stays_known_after_its_label_expired() {
    let bounds = Bounds {
        records: 1,
        ..BOUNDS
    };
    let mut join = Join::new(bounds);
    join.predicted(prediction("1", "a", None, 1));
    join.labelled(label("1", Some("b")), 2);
    join.labelled(label("2", Some("b")), 3);
    let changes = join.labelled(label("1", Some("c")), 4);
    assert_eq!(truths(&changes), [(Some("b"), Some("c"))]);
}

#[test]
fn the_stored_form_restores_the_join() {
    let mut join = Join::new(BOUNDS);
    for offset in 0..20 {
        let id = (offset % 7).to_string();
        join.predicted(prediction(&id, "a", None, offset));
        join.labelled(label(&(offset % 5).to_string(), Some("b")), offset);
    }
    let json = serde_json::to_string(&join.store_whole()).unwrap();
    let mut again = Join::restore(BOUNDS, &schema(), serde_json::from_str(&json).unwrap());
    assert_eq!(again.store_whole(), join.store_whole());
    assert_eq!(
        again.labelled(label("3", Some("c")), 30),
        join.labelled(label("3", Some("c")), 30)
    );
}

/// An event of one record.
#[derive(Clone)]
enum Event {
    Predicted(Prediction),
    Labelled(LabelRecord),
}

/// Streams of records, labels, corrections and withdrawals. The labels of one id keep their order, as in a partition;
/// everything else is in random order.
fn events(random: &mut fastrand::Rng) -> Vec<Event> {
    let classes = ["a", "b", "c"];
    let mut queues: Vec<VecDeque<Event>> = Vec::new();
    let mut offset = 0;
    for id in 0..60 {
        let id = id.to_string();
        for _ in 0..random.usize(0..3) {
            let own = random.bool().then(|| classes[random.usize(..3)]);
            let predicted = classes[random.usize(..3)];
            let prediction = prediction(&id, predicted, own, offset);
            queues.push([Event::Predicted(prediction)].into());
            offset += 1;
        }
        let mut labels = VecDeque::new();
        for _ in 0..random.usize(0..4) {
            let class = (random.u8(..4) > 0).then(|| classes[random.usize(..3)]);
            labels.push_back(Event::Labelled(label(&id, class)));
        }
        queues.push(labels);
    }
    let mut events = Vec::new();
    while !queues.is_empty() {
        let queue = random.usize(..queues.len());
        match queues[queue].pop_front() {
            Some(event) => events.push(event),
            None => drop(queues.swap_remove(queue)),
        }
    }
    events
}

/// Returns the same counts, from all events at once.
fn batch(events: &[Event]) -> BTreeMap<(String, String, String), u64> {
    let mut latest = BTreeMap::new();
    for event in events {
        if let Event::Labelled(label) = event {
            latest.insert(label.id.clone(), label.label.clone());
        }
    }
    let mut counts = BTreeMap::new();
    for event in events {
        if let Event::Predicted(prediction) = event {
            let label = latest.get(&prediction.id).cloned().flatten();
            if let Some(truth) = label.or_else(|| prediction.own_label.clone()) {
                let version = prediction.version.unwrap().to_string();
                let cell = (version, truth, prediction.predicted.clone());
                *counts.entry(cell).or_default() += 1;
            }
        }
    }
    counts
}

#[test]
fn counts_in_any_order_equal_those_of_a_batch() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let events = events(&mut random);
        let (mut join, mut evaluation) = (Join::new(BOUNDS), Evaluation::default());
        for event in events.clone() {
            let changes = match event {
                Event::Predicted(prediction) => join.predicted(prediction).into_iter().collect(),
                Event::Labelled(label) => join.labelled(label, 50),
            };
            for change in changes {
                let prediction = &join.get(change.number).unwrap().prediction;
                let (before, after) = (change.before.as_deref(), change.after.as_deref());
                evaluation.change(change.number, prediction, before, after);
            }
        }
        let streamed: BTreeMap<(String, String, String), u64> = evaluation
            .versions()
            .flat_map(|(version, confusion)| {
                confusion.cells().map(move |(truth, predicted, count)| {
                    let version = version.unwrap().to_string();
                    ((version, truth.to_owned(), predicted.to_owned()), count)
                })
            })
            .collect();
        assert!(!streamed.is_empty());
        assert_eq!(streamed, batch(&events), "seed {seed}");
    }
}

#[test]
fn a_stored_form_without_places_in_the_stream_is_read() {
    let mut join = Join::new(BOUNDS);
    join.predicted(prediction("1", "a", None, 7));
    join.labelled(label("2", Some("a")), 7);
    let mut stored = serde_json::to_value(join.store_whole()).unwrap();
    stored.as_object_mut().unwrap().remove("clock");
    for list in ["predictions", "labels"] {
        stored[list][0].as_object_mut().unwrap().remove("record");
    }
    let stored = serde_json::from_value(stored).unwrap();
    let mut join = Join::restore(BOUNDS, &schema(), stored);
    // The window starts with the first records after that.
    for time in 0..200 {
        join.labelled(label("other", None), 50_000_000 + time);
    }
    assert_eq!(join.len(), 1);
    assert_eq!(join.labelled(label("1", Some("b")), 50_000_200).len(), 1);
    assert!(join.predicted(prediction("2", "a", None, 8)).is_some());
    for time in 0..100 {
        join.labelled(label("other", None), 60_000_000 + time);
    }
    assert!(join.is_empty());
}

/// The time between two records, and the window, in milliseconds.
const STEP: i64 = 10_000;
const WINDOW: i64 = 1_800_000;

/// A stream with a prediction per step, and for each a label after some steps.
fn timed(delays: &[i64]) -> Vec<(i64, Event)> {
    let mut events = Vec::new();
    // As many withdrawals that withdraw nothing, so that there are records until the end.
    for number in 0..delays.len() as i64 + TOO_LATE + 100 {
        events.push((number * STEP + 2, Event::Labelled(label("none", None))));
    }
    for (number, &delay) in (0..).zip(delays) {
        let (id, time) = (number.to_string(), number * STEP);
        let late = time + delay * STEP + 1;
        events.push((late, Event::Labelled(label(&id, Some("b")))));
        let prediction = prediction(&id, "a", None, number);
        events.push((time, Event::Predicted(prediction)));
    }
    events.sort_by_key(|&(time, _)| time);
    events
}

/// Returns the ids of the predictions that were joined, and the numbers of expired ones.
fn joined(events: &[(i64, Event)]) -> (Vec<String>, Expired) {
    joined_with_restarts(events, || false)
}

/// Returns the same, with a restart after some of the records.
fn joined_with_restarts(
    events: &[(i64, Event)],
    mut is_restarted: impl FnMut() -> bool,
) -> (Vec<String>, Expired) {
    let bounds = Bounds {
        records: 100_000,
        window_ms: WINDOW,
    };
    let mut join = Join::new(bounds);
    let mut ids = Vec::new();
    for (time, event) in events.iter().cloned() {
        match event {
            Event::Predicted(mut prediction) => {
                prediction.raw.timestamp = time;
                let id = prediction.id.clone();
                ids.extend(join.predicted(prediction).map(|_| id));
            }
            Event::Labelled(label) => {
                let id = label.id.clone();
                ids.extend(join.labelled(label, time).iter().map(|_| id.clone()));
            }
        }
        if is_restarted() {
            let json = serde_json::to_string(&join.store_whole()).unwrap();
            let stored = serde_json::from_str(&json).unwrap();
            join = Join::restore(bounds, &schema(), stored);
        }
    }
    (ids, join.expired())
}

#[test]
fn a_restored_join_expires_the_same_records() {
    let mut random = fastrand::Rng::with_seed(4);
    let delays: Vec<i64> = (0..500).map(|_| random.i64(0..2 * IN_TIME)).collect();
    let mut events = timed(&delays);
    for _ in 0..50 {
        let changed = random.usize(..events.len());
        events[changed].0 = random.i64(..) / 2;
    }
    let undisturbed = joined(&events);
    assert!(undisturbed.1.predictions > 100 && undisturbed.0.len() > 100);
    let restarted = joined_with_restarts(&events, || random.u8(..20) == 0);
    assert_eq!(restarted, undisturbed);
}

/// The steps of a window, and those after which a record has expired. The clock is late by half of the latest 101 records, with
/// at least one record per step, and by its precision.
const IN_TIME: i64 = WINDOW / STEP;
const TOO_LATE: i64 = IN_TIME + 55;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_single_timestamp_decides_what_is_late_for_others(
        delays in proptest::collection::vec(
            prop_oneof![0_i64..IN_TIME - 1, TOO_LATE..TOO_LATE + 50],
            300..500,
        ),
        changed in any::<prop::sample::Index>(),
        timestamp in prop_oneof![any::<i64>(), -100 * WINDOW..100 * WINDOW],
    ) {
        let mut events = timed(&delays);
        let (ids, expired) = joined(&events);
        for (id, &delay) in delays.iter().enumerate().skip(120) {
            let is_joined = ids.contains(&id.to_string());
            prop_assert_eq!(is_joined, delay < IN_TIME, "{} after {}", id, delay);
        }
        let changed = changed.index(events.len());
        events[changed].0 = timestamp;
        let (disturbed_ids, disturbed_expired) = joined(&events);
        prop_assert_eq!(ids, disturbed_ids);
        prop_assert!(expired.predictions.abs_diff(disturbed_expired.predictions) <= 4);
    }

    #[test]
    fn old_records_keep_their_late_labels(age in 0..100 * WINDOW, delay in 0_i64..IN_TIME - 1) {
        let mut events = timed(&vec![delay; 600]);
        for (time, event) in &mut events {
            if matches!(event, Event::Predicted(prediction) if prediction.raw.place.offset % 3 == 0) {
                *time -= age;
            }
        }
        let (ids, _) = joined(&events);
        prop_assert_eq!(ids.len(), 600);
    }
}
