use iris_core::{Artefact, BlockId, Lineage, Model, Schema, TrainingSet};

use super::*;

pub(crate) fn artefact(x: f64) -> Artefact {
    let schema = Schema {
        features: vec!["x".into()],
        ..Schema::default()
    };
    let rows = [([x], "a")];
    let rows = rows.iter().map(|(features, label)| (&features[..], *label));
    Artefact {
        model: Model::fit(TrainingSet::new(schema, rows), 1).unwrap(),
        lineage: Lineage::default(),
    }
}

pub(crate) fn grounds(reason: &str) -> Grounds {
    Grounds {
        by: "a test".into(),
        reason: reason.into(),
        ..Grounds::default()
    }
}

/// A log, and what it amounts to.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    pub(crate) registry: Registry,
}

impl Log {
    pub(crate) fn write(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let offset = self.entries.len() as i64;
            self.registry
                .apply(
                    offset,
                    Some(offset),
                    entry.key.as_bytes(),
                    entry.value.as_deref(),
                )
                .unwrap();
            self.entries.push(entry);
        }
    }

    pub(crate) fn keep(&mut self, artefact: &Artefact) -> ModelVersion {
        self.write(Entry::model(artefact));
        artefact.model.version()
    }

    pub(crate) fn promote(&mut self, version: ModelVersion) {
        let entries = self.registry.promote(version, grounds("better")).unwrap();
        self.write(entries);
    }

    pub(crate) fn roll_back(&mut self) {
        let entries = self.registry.roll_back(grounds("worse")).unwrap();
        self.write(entries);
    }

    /// Returns the registry after compaction: only the last record of each key is kept.
    pub(crate) fn compacted(&self) -> Registry {
        let mut registry = Registry::default();
        let entries = || self.entries.iter().enumerate();
        let last: BTreeMap<&str, usize> = entries()
            .map(|(offset, entry)| (entry.key.as_str(), offset))
            .collect();
        for (offset, entry) in entries() {
            if last[entry.key.as_str()] == offset {
                let offset = offset as i64;
                registry
                    .apply(
                        offset,
                        Some(offset),
                        entry.key.as_bytes(),
                        entry.value.as_deref(),
                    )
                    .unwrap();
            }
        }
        registry
    }
}

#[test]
fn the_first_model_is_adopted_and_later_ones_are_only_kept() {
    let mut log = Log::default();
    let entries = log.registry.offer(&artefact(1.0), grounds("first"));
    assert_eq!(entries.len(), 4);
    assert!(!log.registry.has(&entries));
    log.write(entries.clone());
    assert!(log.registry.has(&entries));
    let first = artefact(1.0).model.version();
    assert_eq!(log.registry.champion(), Some(first));
    assert_eq!(log.registry.offer(&artefact(1.0), grounds("again")), []);
    let late = log.registry.offer(&artefact(2.0), grounds("late"));
    assert_eq!(late.len(), 2);
    assert!(!log.registry.has(&late));
    log.write(late);
    assert_eq!(log.registry.champion(), Some(first));
    assert_eq!(log.registry.models().len(), 2);
}

#[test]
fn rollbacks_go_back_through_the_champions_one_by_one() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let first = artefact(1.0).model.version();
    let second = log.keep(&artefact(2.0));
    let third = log.keep(&artefact(3.0));
    log.promote(second);
    log.promote(third);
    assert_eq!(log.registry.succession(), [third, second, first]);
    log.roll_back();
    assert_eq!(log.registry.champion(), Some(second));
    log.roll_back();
    assert_eq!(log.registry.champion(), Some(first));
    assert_eq!(
        log.registry.roll_back(grounds("worse")),
        Err(RegistryError::NothingToRollBackTo)
    );
    log.promote(third);
    assert_eq!(log.registry.succession(), [third, first]);
}

#[test]
fn a_rollback_to_an_earlier_champion_takes_all_later_ones_out_of_the_succession() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let [second, third, fourth] = [2.0, 3.0, 4.0].map(|x| log.keep(&artefact(x)));
    for version in [second, third, second, fourth] {
        log.promote(version);
    }
    let entries = log.registry.roll_back_to(&artefact(3.0), grounds("worse"));
    assert_eq!(entries.len(), 2, "a decision and the champion");
    log.write(entries);
    let first = artefact(1.0).model.version();
    assert_eq!(log.registry.succession(), [third, second, first]);
    log.promote(fourth);
    let entries = log.registry.roll_back_to(&artefact(2.0), grounds("worse"));
    log.write(entries);
    assert_eq!(log.registry.succession(), [second, first], "the last time");
    assert_eq!(log.compacted(), log.registry);
}

#[test]
fn a_rollback_writes_rows_that_the_registry_has_lost() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let second = log.keep(&artefact(2.0));
    log.promote(second);
    log.promote(artefact(1.0).model.version());
    let pruned = log.registry.with(&[]).prune(crate::Retention::default());
    log.write(pruned.entries);
    log.write(vec![Entry::without_description(second)]);
    assert!(!log.registry.has_rows(second));
    let entries = log.registry.roll_back_to(&artefact(2.0), grounds("worse"));
    log.write(entries);
    assert!(log.registry.has_rows(second));
    assert_eq!(log.registry.champion(), Some(second));
}

#[test]
fn compaction_keeps_the_champion_and_every_decision() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let second = log.keep(&artefact(2.0));
    log.promote(second);
    log.roll_back();
    log.promote(second);
    assert_eq!(log.compacted(), log.registry);
    let actions: Vec<Action> = log
        .registry
        .decisions()
        .map(|recorded| recorded.decision.action)
        .collect();
    assert_eq!(
        actions,
        [
            Action::Adopted,
            Action::Promoted,
            Action::RolledBack,
            Action::Promoted
        ]
    );
}

#[test]
fn only_a_model_that_is_there_and_can_be_used_is_promoted() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let first = artefact(1.0).model.version();
    let missing = artefact(9.0).model.version();
    let refusal = |log: &Log, version| {
        log.registry
            .promote(version, grounds("better"))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refusal(&log, first),
        format!("model {first} is the champion already")
    );
    assert!(refusal(&log, missing).contains("there is no model "));
    log.registry
        .apply(
            9,
            None,
            missing.to_string().as_bytes(),
            Some(b"{\"format\":7}"),
        )
        .unwrap();
    assert_eq!(
        refusal(&log, missing),
        format!(
            "model {missing} is refused: its format is 7, and the newest that this program reads is 5: use a newer program"
        )
    );
}

#[test]
fn an_unreadable_record_changes_nothing() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let before = log.registry.clone();
    for (key, value) in [
        (&b"champignon"[..], &b"{}"[..]),
        (b"champion", b"{\"format\":2}"),
        (b"decision-1", b"{"),
    ] {
        assert!(log.registry.apply(9, None, key, Some(value)).is_err());
    }
    assert_eq!(log.registry, before);
}

/// A model of an earlier version, with its rows in the description.
pub(crate) fn inline(x: f64) -> (ModelVersion, String) {
    let json = format!(
        r#"{{"format":1,"lineage":{{"parent":"0123456789abcdef"}},"schema":{{"id":"Id","features":["x"],"label":"Species"}},"neighbors":1,"classes":["a"],"class_of_row":[0],"features":[{x:?}]}}"#
    );
    (artefact(x).model.version(), json)
}

/// The entries of a model of format 2 whose rows are in this number of parts, of which the first has the row.
pub(crate) fn in_parts(x: f64, parts: u32) -> Vec<Entry> {
    let version = artefact(x).model.version();
    let part = |number: u32| {
        let rows = if number == 0 {
            ("0", format!("{x:?}"))
        } else {
            ("", String::new())
        };
        let (class_of_row, features) = rows;
        entry(
            &format!("rows-{version}-{number:04}"),
            &format!(r#"{{"format":2,"class_of_row":[{class_of_row}],"features":[{features}]}}"#),
        )
    };
    let description = entry(
        &version.to_string(),
        &format!(
            r#"{{"format":2,"parts":{parts},"lineage":{{"parent":"0123456789abcdef"}},"schema":{{"id":"Id","features":["x"],"label":"Species"}},"neighbors":1,"classes":["a"]}}"#
        ),
    );
    (0..parts).map(part).chain([description]).collect()
}

pub(crate) fn entry(key: &str, json: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Some(json.into()),
    }
}

#[test]
fn a_model_of_format_2_is_usable_if_all_its_parts_are_there() {
    let version = artefact(1.0).model.version();
    let [first, description] = <[Entry; 2]>::try_from(in_parts(1.0, 1)).unwrap();
    let [_, other, two_parts] = <[Entry; 3]>::try_from(in_parts(1.0, 2)).unwrap();
    let parts = [first];
    let no_rows = format!("model {version} has no rows in the registry: ");
    let incomplete =
        format!("model {version} is refused: it is incomplete: 1 of 2 parts of its rows are there");
    for (entries, problem) in [
        (vec![], Some(format!("there is no model {version}"))),
        (
            vec![&parts[0]],
            Some(format!("there is no model {version}")),
        ),
        (vec![&description], Some(no_rows.clone())),
        (vec![&parts[0], &description], None),
        (vec![&description, &parts[0]], None),
        (vec![&parts[0], &two_parts], Some(incomplete.clone())),
        (vec![&other, &two_parts], Some(incomplete)),
        (vec![&two_parts], Some(no_rows)),
        (vec![&parts[0], &other, &two_parts], None),
        (vec![&parts[0], &other, &description], None),
    ] {
        let mut log = Log::default();
        log.write(entries.into_iter().cloned().collect());
        assert_eq!(log.registry.has_rows(version), problem.is_none());
        if let Some(problem) = problem {
            let refused = log.registry.promote(version, grounds("better"));
            let refused = refused.unwrap_err().to_string();
            assert!(refused.starts_with(&problem), "{refused}");
        }
    }
}

#[test]
fn a_rejected_model_keeps_its_description_and_cannot_be_promoted() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let rejected = log.registry.enter(&artefact(2.0), false, grounds("worse"));
    assert_eq!(rejected.len(), 2);
    log.write(rejected.clone());
    assert!(log.registry.has(&rejected));
    let version = artefact(2.0).model.version();
    let model = log.registry.model(version).unwrap();
    assert_eq!(model.description, Ok(artefact(2.0).describe()));
    assert_eq!(
        log.registry.promote(version, grounds("better")),
        Err(RegistryError::NoRows(version))
    );
    assert_eq!(log.compacted(), log.registry);
    // Trained again, it is written with its rows.
    assert_eq!(
        log.registry.offer(&artefact(2.0), grounds("again")).len(),
        2
    );
    let promoted = log.registry.enter(&artefact(2.0), true, grounds("better"));
    log.write(promoted);
    assert_eq!(log.registry.champion(), Some(version));
    assert!(log.registry.has_rows(version));
}

#[test]
fn a_rejected_model_that_has_been_the_champion_keeps_its_rows() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let second = log.keep(&artefact(2.0));
    log.promote(second);
    let rejected = log.registry.enter(&artefact(1.0), false, grounds("worse"));
    log.write(rejected);
    assert!(log.registry.has_rows(artefact(1.0).model.version()));
    log.roll_back();
}

/// A model of many rows, of which neighbours in number share all but one.
pub(crate) fn large(number: u32) -> Artefact {
    let schema = Schema {
        features: vec!["x".into(), "y".into()],
        ..Schema::default()
    };
    let rows = (number..number + 600).map(|row| [f64::from(row).sqrt(), f64::from(row)]);
    let rows: Vec<[f64; 2]> = rows.collect();
    let rows = rows.iter().map(|row| (&row[..], "a"));
    Artefact {
        model: Model::fit(TrainingSet::new(schema, rows), 1).unwrap(),
        lineage: Lineage::default(),
    }
}

/// The size of the values.
fn bytes(entries: &[Entry]) -> usize {
    let values = entries.iter().filter_map(|entry| entry.value.as_ref());
    values.map(Vec::len).sum()
}

#[test]
fn rows_that_the_registry_has_are_not_written_again() {
    let mut log = Log::default();
    let whole = Entry::model(&large(0));
    let version = log.keep(&large(0));
    assert_eq!(log.registry.model_bytes(version), bytes(&whole));
    let largest = whole
        .iter()
        .filter_map(|entry| entry.value.as_ref())
        .map(Vec::len)
        .max();
    assert_eq!(log.registry.largest_record(version), largest.unwrap());
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let next = log.registry.enter(&large(1), true, grounds("better"));
    assert!(bytes(&next) * 2 < bytes(&whole), "{}", bytes(&next));
    log.write(next.clone());
    assert!(log.registry.has(&next));
    let version = large(1).model.version();
    assert!(log.registry.has_rows(version));
    assert_eq!(
        log.registry.model_bytes(version),
        bytes(&Entry::model(&large(1)))
    );
    assert_eq!(log.compacted(), log.registry);
}

/// A model of 5,000 rows whose successors have 25 new rows each, once beside the others and once in place of the oldest ones. An
/// older row, which was held out, is inserted as well.
#[test]
fn a_promotion_writes_a_small_part_of_a_large_model() {
    let schema = Schema {
        features: ["x", "y"].map(str::to_owned).into(),
        ..Schema::default()
    };
    let row = |number: u32| {
        let features = [37, 997].map(|n| f64::from(number * n % 9_973) / 7.0);
        (features, ["a", "b"][number as usize % 2])
    };
    let model = |rows: &[u32]| {
        let rows: Vec<_> = rows.iter().copied().map(row).collect();
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        Artefact {
            model: Model::fit(TrainingSet::new(schema.clone(), rows), 5).unwrap(),
            lineage: Lineage {
                parent: Some(artefact(0.0).model.version()),
                ..Lineage::default()
            },
        }
    };
    for dropped in [0, 25] {
        let mut log = Log::default();
        let mut rows: Vec<u32> = (0..5_000).collect();
        log.write(log.registry.offer(&model(&rows), grounds("first")));
        let mut written = 0;
        for round in 0..20 {
            rows.extend(5_000 + 25 * round..5_025 + 25 * round);
            rows.insert(4_000 + 23 * round as usize, 9_000 + round);
            rows.drain(..dropped);
            let next = model(&rows);
            let mut entries = log.registry.enter(&next, true, grounds("better"));
            let retention = crate::Retention {
                retired: 5,
                ..crate::Retention::default()
            };
            let pruned = log.registry.with(&entries).prune(retention);
            entries.extend(pruned.entries);
            written += entries.iter().map(Entry::bytes).sum::<usize>();
            log.write(entries);
        }
        let whole: usize = Entry::model(&model(&rows)).iter().map(Entry::bytes).sum();
        let mean = written / 20;
        assert!(mean * 12 < whole, "{mean} bytes of {whole}");
    }
}

#[test]
fn missing_and_corrupt_blocks_are_named_and_written_again() {
    let entries = Entry::model(&large(0));
    let version = large(0).model.version();
    let block: BlockId = entries[1].key["rows-".len()..].parse().unwrap();
    let problem =
        format!("model {version} is refused: it is incomplete: its block {block} is missing");
    let refusal = |log: &Log| {
        let refused = log.registry.promote(version, grounds("better"));
        refused.unwrap_err().to_string()
    };
    let delete = |log: &mut Log| log.write(vec![Entry::without_block(block)]);
    let corrupt = |log: &mut Log| {
        let json = entries[0].value.as_deref();
        let key = entries[1].key.as_bytes();
        let refused = log.registry.apply(99, None, key, json).unwrap_err();
        let other = &entries[0].key["rows-".len()..];
        assert_eq!(
            refused.to_string(),
            format!(
                "block {block} is refused: it is corrupt: block {block} has the rows of block {other}"
            )
        );
    };
    let losses: [&dyn Fn(&mut Log); 2] = [&delete, &corrupt];
    for lose in losses {
        let mut log = Log::default();
        log.write(entries.clone());
        lose(&mut log);
        assert_eq!(refusal(&log), problem);
        assert!(!log.registry.has_rows(version));
        let again = log.registry.offer(&large(0), grounds("first"));
        let keys: Vec<&str> = again.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys[..2], [&entries[1].key, &version.to_string()]);
        log.write(again);
        assert!(log.registry.has_rows(version));
    }
}

#[test]
fn of_entries_with_the_same_key_the_last_one_counts() {
    let mut log = Log::default();
    let mut entries = Entry::model(&artefact(1.0));
    let block: BlockId = entries[0].key["rows-".len()..].parse().unwrap();
    entries.push(Entry::without_block(block));
    assert!(!log.registry.has(&entries));
    log.write(entries.clone());
    assert!(log.registry.has(&entries));
    entries.push(entries[0].clone());
    assert!(!log.registry.has(&entries));
    log.write(entries.clone());
    assert!(log.registry.has(&entries));
}

#[test]
fn models_of_format_1_are_used() {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(1.0), grounds("first")));
    let (version, json) = inline(2.0);
    let value = Some(json.into_bytes());
    log.write(vec![Entry {
        key: version.to_string(),
        value,
    }]);
    assert!(log.registry.has_rows(version));
    log.promote(version);
    assert_eq!(log.registry.champion(), Some(version));
    assert_eq!(log.registry.offer(&artefact(2.0), grounds("again")), []);
}
