use std::collections::{BTreeMap, BTreeSet};

use iris_contract::registry::Action;
use iris_core::{Artefact, Lineage, Model, RowRecords, Schema, TrainingSet};

use super::*;
use crate::error::RegistryError;
use crate::registry::tests::{Log, artefact, entry, grounds, in_parts, inline, large};

/// A challenger: a model with a parent.
fn challenger(x: f64) -> Artefact {
    Artefact {
        lineage: Lineage {
            parent: Some(artefact(0.0).model.version()),
            ..Lineage::default()
        },
        ..artefact(x)
    }
}

fn version(x: f64) -> ModelVersion {
    artefact(x).model.version()
}

fn retention(retired: usize) -> Retention {
    Retention {
        retired,
        ..Retention::default()
    }
}

/// A log in which challengers with these numbers have replaced the dataset's model, number 0, in turn.
fn promoted(numbers: impl IntoIterator<Item = u32>) -> Log {
    let mut log = Log::default();
    log.write(log.registry.offer(&artefact(0.0), grounds("first")));
    for number in numbers {
        let entries = log
            .registry
            .enter(&challenger(f64::from(number)), true, grounds("better"));
        log.write(entries);
    }
    log
}

impl Log {
    /// Writes what `prune` returns. Returns the numbers of the models that keep their rows.
    fn prune(&mut self, retention: Retention) -> Vec<u32> {
        let pruned = self.registry.prune(retention);
        self.write(pruned.entries.clone());
        assert!(self.registry.has(&pruned.entries));
        assert_eq!(self.registry.prune(retention), Pruned::default(), "once");
        self.with_rows()
    }

    fn with_rows(&self) -> Vec<u32> {
        let has_rows = |number: &u32| self.registry.has_rows(version(f64::from(*number)));
        (0..100).filter(has_rows).collect()
    }

    /// The latest record of each key that is not deleted.
    fn live(&self) -> impl Iterator<Item = &Entry> {
        let latest: BTreeMap<&str, &Entry> = self
            .entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry))
            .collect();
        latest.into_values().filter(|entry| entry.value.is_some())
    }

    fn live_bytes(&self) -> usize {
        self.live().map(Entry::bytes).sum()
    }

    /// The live records of rows.
    fn live_rows(&self) -> RowRecords {
        let rows = self.live().filter_map(|entry| {
            let block = entry.key.strip_prefix("rows-")?.parse().ok()?;
            Some((block, entry.value.clone()?))
        });
        RowRecords {
            blocks: rows.collect(),
            ..RowRecords::default()
        }
    }
}

#[test]
fn the_champion_its_predecessor_the_first_champion_and_the_newest_retired_ones_keep_their_rows() {
    for (retired, kept) in [
        (0, vec![0, 8, 9]),
        (1, vec![0, 7, 8, 9]),
        (5, vec![0, 3, 4, 5, 6, 7, 8, 9]),
        (7, (0..10).collect()),
        (99, (0..10).collect()),
    ] {
        let mut log = promoted(1..10);
        assert_eq!(log.prune(retention(retired)), kept, "{retired}");
        assert_eq!(log.compacted().models().len(), 10, "all are described");
    }
}

#[test]
fn the_model_that_the_champion_is_compared_with_keeps_its_rows() {
    let mut log = promoted(1..10);
    let against = Retention {
        on_probation_against: Some(version(4.0)),
        ..retention(1)
    };
    assert_eq!(log.prune(against), [0, 4, 7, 8, 9]);
}

#[test]
fn after_rollbacks_the_models_that_were_champion_last_keep_their_rows() {
    let mut log = promoted(1..10);
    log.roll_back();
    log.roll_back();
    assert_eq!(log.prune(retention(0)), [0, 6, 7]);
    log.roll_back();
    assert_eq!(
        log.registry.roll_back(grounds("worse")),
        Err(RegistryError::NoRows(version(5.0)))
    );
    let mut log = promoted(1..10);
    log.roll_back();
    log.roll_back();
    assert_eq!(log.prune(retention(2)), [0, 6, 7, 8, 9]);
}

#[test]
fn models_that_no_decision_names_lose_their_rows_and_description_unless_in_shadow() {
    let mut log = promoted([1]);
    log.keep(&challenger(2.0));
    log.keep(&challenger(3.0));
    assert_eq!(log.registry.newest_undecided(), Some(version(3.0)));
    let in_shadow = Retention {
        in_shadow: Some(version(3.0)),
        ..retention(5)
    };
    assert_eq!(log.prune(in_shadow), [0, 1, 3]);
    assert_eq!(log.registry.model(version(2.0)), None);
    let rejected = log
        .registry
        .enter(&challenger(3.0), false, grounds("worse"));
    log.write(rejected);
    assert_eq!(log.registry.newest_undecided(), None);
    assert_eq!(log.prune(retention(5)), [0, 1]);
    let described = log.registry.model(version(3.0)).unwrap();
    assert_eq!(
        described.timestamp,
        Some(11),
        "its description keeps its time"
    );
    assert_eq!(log.compacted(), log.registry);
}

#[test]
fn only_the_newest_model_of_the_dataset_is_kept_without_having_been_the_champion() {
    let mut log = promoted([1, 2, 3]);
    log.keep(&artefact(4.0));
    log.keep(&artefact(5.0));
    assert_eq!(log.registry.newest_undecided(), None);
    assert_eq!(log.prune(retention(0)), [0, 2, 3, 5]);
}

#[test]
fn an_artefact_of_format_1_is_replaced_by_its_description_with_its_time() {
    let mut log = promoted([1, 2]);
    for x in [3.0, 4.0] {
        let (version, json) = inline(x);
        log.write(vec![Entry {
            key: version.to_string(),
            value: Some(json.into_bytes()),
        }]);
    }
    log.promote(version(4.0));
    let rejected = log
        .registry
        .enter(&challenger(3.0), false, grounds("worse"));
    log.write(rejected);
    let before = log.registry.model(version(3.0)).unwrap().clone();
    let pruned = log.registry.prune(retention(0));
    let expected = log.registry.row_bytes(version(3.0));
    assert_eq!(pruned.models[&version(3.0)], expected);
    assert!(!log.registry.has(&pruned.entries));
    assert_eq!(log.prune(retention(0)), [0, 2, 4]);
    let after = log.registry.model(version(3.0)).unwrap();
    assert_eq!(after.timestamp, before.timestamp);
    assert_eq!(
        after.description.as_ref().unwrap().lineage,
        before.description.unwrap().lineage
    );
}

#[test]
fn a_refused_model_is_left_alone() {
    let mut log = promoted([1]);
    let rows = Entry::model(&challenger(2.0)).swap_remove(0);
    let block = &rows.key["rows-".len()..];
    let newer = format!(r#"{{"format":9,"blocks":["{block}"]}}"#);
    log.write(vec![entry(&version(2.0).to_string(), &newer), rows]);
    log.write(vec![entry(&version(3.0).to_string(), r#"{"format":9}"#)]);
    let part = in_parts(3.0, 1).swap_remove(0);
    log.write(vec![part]);
    assert_eq!(log.registry.prune(retention(0)), Pruned::default());
}

#[test]
fn rows_without_a_model_are_deleted() {
    let mut log = promoted([1]);
    let block = Entry::model(&challenger(2.0)).swap_remove(0);
    let part = in_parts(3.0, 1).swap_remove(0);
    let deleted = |entry: &Entry| Entry {
        key: entry.key.clone(),
        value: None,
    };
    let deletions = [&block, &part].map(deleted);
    log.write(vec![block, part]);
    let pruned = log.registry.prune(retention(0));
    assert_eq!(pruned.entries, deletions);
}

#[test]
fn models_of_all_formats_are_pruned() {
    let mut log = promoted([]);
    let (inlined, json) = inline(1.0);
    log.write(vec![entry(&inlined.to_string(), &json)]);
    log.promote(inlined);
    for (x, parts) in [(2.0, 1), (3.0, 2)] {
        log.write(in_parts(x, parts));
        log.promote(version(x));
    }
    let entries = log
        .registry
        .enter(&challenger(4.0), true, grounds("better"));
    log.write(entries);
    assert_eq!(log.with_rows(), [0, 1, 2, 3, 4]);
    assert_eq!(log.compacted(), log.registry);
    assert_eq!(log.prune(retention(1)), [0, 2, 3, 4]);
    assert_eq!(log.prune(retention(0)), [0, 3, 4]);
    // Registered again, the parts are replaced by a block.
    let entries = log
        .registry
        .enter(&challenger(3.0), true, grounds("better"));
    log.write(entries);
    let pruned = log.registry.prune(retention(0));
    assert_eq!(pruned.models, BTreeMap::new());
    let parts = [0, 1].map(|part| Entry::without_part(version(3.0), part));
    assert_eq!(pruned.entries, parts);
    assert_eq!(log.prune(retention(0)), [0, 3, 4]);
    assert_eq!(log.compacted(), log.registry);
}

/// Each model shares all but two of its blocks with its predecessor.
#[test]
fn a_block_is_deleted_with_the_last_model_that_lists_it() {
    let mut log = promoted([]);
    let lineage = challenger(0.0).lineage;
    let models: Vec<Artefact> = (0..40)
        .map(|number| Artefact {
            lineage: lineage.clone(),
            ..large(number)
        })
        .collect();
    for (number, large) in models.iter().enumerate() {
        let mut entries = log.registry.enter(large, true, grounds("better"));
        let pruned = log.registry.with(&entries).prune(retention(2));
        entries.extend(pruned.entries);
        log.write(entries);
        let versions = || models.iter().map(|large| large.model.version());
        let kept = |version: &ModelVersion| log.registry.has_rows(*version);
        assert_eq!(versions().filter(kept).count(), (number + 1).min(4));
        let listed: BTreeSet<BlockId> = versions()
            .filter_map(|version| log.registry.model(version))
            .flat_map(|model| model.blocks())
            .copied()
            .collect();
        let stored = log
            .registry
            .rows()
            .blocks()
            .filter(|(block, _)| listed.contains(block));
        // The block of the dataset's model is the only other one.
        assert_eq!(stored.count() + 1, log.registry.rows().blocks().count());
    }
    assert_eq!(log.compacted(), log.registry);
    // A model whose rows were deleted is written again.
    let first = &models[0];
    assert!(!log.registry.has_rows(first.model.version()));
    let entries = log.registry.enter(first, true, grounds("better"));
    log.write(entries);
    assert!(log.registry.has_rows(first.model.version()));
    let before = log.live_bytes();
    let pruned = log.registry.prune(retention(0));
    let freed: usize = pruned.models.values().sum();
    log.write(pruned.entries);
    assert!(freed > 0 && log.live_bytes() < before);
    assert!(log.registry.has_rows(first.model.version()));
}

#[test]
fn the_same_registry_is_pruned_in_the_same_way() {
    let log = promoted(1..20);
    let again = log.compacted().prune(retention(3));
    assert_eq!(again, log.registry.prune(retention(3)));
}

#[test]
fn the_newest_decisions_of_each_kind_are_kept() {
    let mut log = promoted([1]);
    let count = 2 * u32::try_from(MAX_DECISIONS).unwrap();
    for number in 2..count {
        let entries = log.registry.enter(
            &challenger(f64::from(number)),
            number % 4 == 0,
            grounds("x"),
        );
        log.write(entries);
        let pruned = log.registry.prune(retention(2)).entries;
        log.write(pruned);
    }
    let kinds = |action| {
        let decisions = log.registry.decisions();
        let kinds = decisions.filter(|made| made.decision.action == action);
        kinds.count()
    };
    assert_eq!(kinds(Action::Rejected), MAX_DECISIONS);
    assert_eq!(kinds(Action::Promoted), 125);
    assert_eq!(kinds(Action::Adopted), 1);
    let described = log.registry.models().len();
    assert_eq!(described, 1 + MAX_DECISIONS + 125);
    assert_eq!(log.registry.succession().len(), 126);
    assert_eq!(log.registry.next_decision(), u64::from(count) + 1);
    assert_eq!(log.compacted(), log.registry);
}

#[test]
fn rollbacks_work_after_the_first_decisions_are_deleted() {
    let numbers = u32::try_from(MAX_DECISIONS).unwrap() + 10;
    let mut log = promoted(1..numbers);
    assert_eq!(log.registry.decisions().count(), MAX_DECISIONS + 1);
    // The first champion, the predecessor of the first promotion that is kept, and those that were promoted since.
    let succession = log.registry.succession();
    assert_eq!(succession.len(), MAX_DECISIONS + 2);
    assert_eq!(succession[MAX_DECISIONS..], [version(9.0), version(0.0)]);
    for number in (numbers - 20..numbers - 1).rev() {
        log.roll_back();
        assert_eq!(log.registry.champion(), Some(version(f64::from(number))));
    }
    assert_eq!(log.registry.decisions().count(), MAX_DECISIONS + 1);
    // Even if all decisions that are kept are rollbacks to and promotions of the same two models.
    let [champion, other] = [1, 2].map(|n| version(f64::from(numbers - n)));
    for _ in 0..MAX_DECISIONS {
        log.promote(champion);
        log.roll_back();
        let known = log.registry.succession();
        assert_eq!(known.first(), log.registry.champion().as_ref());
        assert_eq!(known.last(), Some(&version(0.0)));
    }
    log.promote(champion);
    log.promote(other);
    log.roll_back();
    assert_eq!(log.registry.champion(), Some(champion));
}

/// Models that share rows are promoted, rejected, rolled back and pruned at random. Whatever is written, the models that are kept
/// can be rebuilt from the live records, and each block is listed by one of them.
#[test]
fn in_random_histories_the_kept_models_have_all_their_rows_and_no_others_are_stored() {
    let schema = Schema {
        features: vec!["x".into()],
        ..Schema::default()
    };
    for seed in 0..20_u32 {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut rows: Vec<u32> = (0..400).collect();
        let mut log = promoted([]);
        for step in 0..30 {
            let at = random(300) as usize;
            match random(4) {
                0 => drop(rows.drain(at..at + 5)),
                1 => drop(rows.drain(..30)),
                2 => rows.insert(at, 1_000_000 + step),
                _ => {}
            }
            rows.extend((0..30).map(|n| 1_000 + step * 100 + n));
            let features: Vec<[f64; 1]> = rows.iter().map(|&n| [f64::from(n).sqrt()]).collect();
            let labelled = features.iter().map(|row| (&row[..], "a"));
            let artefact = Artefact {
                model: Model::fit(TrainingSet::new(schema.clone(), labelled), 1).unwrap(),
                ..challenger(0.0)
            };
            let mut entries = match random(4) {
                0 => log.registry.roll_back(grounds("worse")).unwrap_or_default(),
                1 => log.registry.enter(&artefact, false, grounds("worse")),
                _ => log.registry.enter(&artefact, true, grounds("better")),
            };
            let retention = retention(random(3) as usize);
            entries.extend(log.registry.with(&entries).prune(retention).entries);
            log.write(entries.clone());
            assert!(log.registry.has(&entries));
            assert_eq!(log.registry.prune(retention), Pruned::default());
        }
        assert_eq!(log.compacted(), log.registry);
        let found: RowRecords = log.live_rows();
        let mut listed: BTreeSet<BlockId> = BTreeSet::new();
        for (version, model) in log.registry.models() {
            let description = model.description.as_ref().unwrap();
            assert_eq!(
                log.registry.has_rows(version),
                !description.blocks().is_empty()
            );
            listed.extend(description.blocks());
            if log.registry.has_rows(version) {
                Artefact::read(version, &description.to_json(), &found).unwrap();
            }
        }
        assert!(log.registry.has_rows(log.registry.champion().unwrap()));
        assert!(found.blocks.keys().eq(&listed));
    }
}

/// The size of the live records stays within three times that of the models with rows, and the number of records that are read
/// at start stays the same.
#[test]
fn after_250_rejections_and_500_promotions_the_live_records_are_bounded() {
    let model = |number: u32| {
        let schema = Schema {
            features: (0..8).map(|n| format!("feature {n}")).collect(),
            ..Schema::default()
        };
        let rows: Vec<[f64; 8]> = (0..300)
            .map(|row| [0, 1, 2, 3, 4, 5, 6, 7].map(|n| f64::from(row * 8 + n + number) / 7.0))
            .collect();
        let rows = rows.iter().map(|row| (&row[..], "a"));
        Artefact {
            model: Model::fit(TrainingSet::new(schema, rows), 1).unwrap(),
            ..challenger(0.0)
        }
    };
    let mut log = promoted([]);
    let figures: BTreeMap<String, f64> = (0..9)
        .map(|n| (format!("figure_number_{n}"), 0.1 + f64::from(n) / 7.0))
        .collect();
    let grounds = crate::Grounds {
        figures,
        ..grounds(&"accuracy 0.9500 on holdout rows (champion 0.9000); ".repeat(3))
    };
    let mut sizes = Vec::new();
    for number in 0..750 {
        let mut entries = log
            .registry
            .enter(&model(number), number >= 250, grounds.clone());
        let pruned = log.registry.with(&entries).prune(retention(5));
        entries.extend(pruned.entries);
        log.write(entries);
        if number % 100 == 99 {
            sizes.push(log.live_bytes());
        }
    }
    let models = log.registry.models().map(|(version, _)| version);
    let with_rows: Vec<ModelVersion> = models
        .filter(|&version| log.registry.has_rows(version))
        .collect();
    assert_eq!(with_rows.len(), 1 + 1 + 5 + 1);
    let blocks = log.registry.rows().blocks();
    let models: usize = blocks.map(|(_, record)| record.bytes).sum();
    let live = log.live_bytes();
    assert!(
        live <= 3 * models,
        "{live} bytes, models {models}: {sizes:?}"
    );
    assert!(live <= sizes[5] + sizes[5] / 100, "{sizes:?}");
    // Two records for each decision.
    let history = live - models;
    assert!(history / (2 * MAX_DECISIONS) <= 1_500, "{history}");
}
