use proptest::prelude::*;

use super::*;
use crate::kinds::{ForestKind, ModelKind, NeighborsKind, Scale, Weights};
use crate::neighbors::Metric;
use crate::property;
use crate::schema::Schema;

fn model(rows: &[([f64; 2], &str)], neighbors: usize) -> Model {
    let schema = Schema {
        features: vec!["x".into(), "y".into()],
        ..Schema::default()
    };
    let rows = rows.iter().map(|(features, label)| (&features[..], *label));
    Model::fit(TrainingSet::new(schema, rows), neighbors).unwrap()
}

fn artefact(rows: &[([f64; 2], &str)], neighbors: usize) -> Artefact {
    let lineage = Lineage {
        parent: Some("0123456789abcdef".parse().unwrap()),
        made_by: "a test".into(),
        rows: vec![("dataset".into(), 1), ("feedback".into(), 1)],
        sources: [("feedback".into(), [(0, 7), (3, 1)].into())].into(),
        metrics: [("holdout_accuracy".into(), 0.1 + 0.2)].into(),
    };
    Artefact {
        model: model(rows, neighbors),
        lineage,
    }
}

const ROWS: [([f64; 2], &str); 2] = [([0.1, -0.0], "a"), ([1e300, 5e-324], "b")];

/// `ROWS` with one neighbour, as format 1 has them.
const INLINE: &str = r#"{"format":1,"lineage":{"parent":"0123456789abcdef","made_by":"a test","rows":[["dataset",1],["feedback",1]],"sources":{"feedback":{"0":7,"3":1}},"metrics":{"holdout_accuracy":0.30000000000000004}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["a","b"],"class_of_row":[0,1],"features":[0.1,-0.0,1e300,5e-324]}"#;

/// `ROWS` with one neighbour, as format 2 has them.
const IN_PARTS: &str = r#"{"format":2,"parts":2,"lineage":{"parent":"0123456789abcdef","made_by":"a test","rows":[["dataset",1],["feedback",1]],"sources":{"feedback":{"0":7,"3":1}},"metrics":{"holdout_accuracy":0.30000000000000004}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["a","b"]}"#;
const PARTS: [&str; 2] = [
    r#"{"format":2,"class_of_row":[0],"features":[0.1,-0.0]}"#,
    r#"{"format":2,"class_of_row":[1],"features":[1e300,5e-324]}"#,
];

fn no_rows() -> RowRecords {
    RowRecords::default()
}

fn in_parts(parts: &[(u32, &str)]) -> RowRecords {
    let parts = parts.iter();
    RowRecords {
        parts: parts.map(|&(number, json)| (number, json.into())).collect(),
        ..RowRecords::default()
    }
}

/// Many rows, of three classes.
fn many(rows: std::ops::Range<u32>) -> Vec<([f64; 2], &'static str)> {
    rows.map(|n| {
        (
            [f64::from(n).sqrt(), f64::from(n % 9)],
            ["b", "c", "a"][n as usize % 3],
        )
    })
    .collect()
}

/// Writes an artefact: its description and its rows.
fn write(artefact: &Artefact) -> (Description, RowRecords) {
    let blocks = artefact.blocks();
    let json = blocks
        .iter()
        .map(|block| (block.id, artefact.block_json(block)));
    let records = RowRecords {
        blocks: json.collect(),
        ..RowRecords::default()
    };
    (artefact.describe_in(&blocks), records)
}

#[test]
fn a_written_artefact_is_read_back_bit_for_bit() {
    for rows in [ROWS.to_vec(), many(0..1_000)] {
        let written = artefact(&rows, 2);
        let version = written.model.version();
        let (description, records) = write(&written);
        let json = description.to_json();
        let read = Artefact::read(version, &json, &records).unwrap();
        assert_eq!(read.model.version(), version);
        assert_eq!(read.model.training_set(), written.model.training_set());
        assert_eq!(read.lineage, written.lineage);
        assert_eq!(Description::read(&json), Ok(description));
    }
}

proptest! {
    #![proptest_config(property::config(1_000))]

    #[test]
    fn any_rows_are_joined_from_their_blocks(
        rows in prop::collection::vec(
            (prop::array::uniform2(-1e300..1e300_f64), prop::sample::select(vec!["a", "b", "\u{1}\"ß"])),
            1..600,
        ),
        known in 0_usize..600,
    ) {
        let written = artefact(&rows, 1);
        let version = written.model.version();
        let (description, records) = write(&written);
        let read = Artefact::read(version, &description.to_json(), &records).unwrap();
        prop_assert_eq!(read.model.training_set(), written.model.training_set());
        let known = model(&rows[..known.clamp(1, rows.len())], 1);
        let read = Artefact::join(version, &description, &records.blocks, &[&known]).unwrap();
        prop_assert_eq!(read.model.training_set(), written.model.training_set());
    }
}

#[test]
fn a_forest_is_read_back_from_its_description_and_blocks() {
    let kind = ForestKind {
        max_depth: Some(3),
        ..ForestKind::from(20)
    };
    let large = ForestKind {
        min_samples_leaf: 1,
        max_features: Some(1),
        ..ForestKind::from(600)
    };
    for kind in [kind, large] {
        let mut written = artefact(&many(0..1_000), 1);
        let set = written.model.training_set().clone();
        written.model = Model::fit(set, ModelKind::Forest(kind)).unwrap();
        let version = written.model.version();
        let (description, records) = write(&written);
        let json = description.to_json();
        assert_eq!(Description::read(&json), Ok(description.clone()));
        assert_eq!(
            description.content_blocks,
            if kind.trees == 20 { 1 } else { 2 }
        );
        let read = Artefact::read(version, &json, &records).unwrap().model;
        assert_eq!(
            (read.version(), read.kind()),
            (version, ModelKind::Forest(kind))
        );
        assert_eq!(read.content_bytes(), written.model.content_bytes());
        // Without its trees, it is another model.
        let json = Description::to_json(&Description {
            content_blocks: 0,
            ..description
        });
        assert!(Artefact::read(version, &json, &records).is_err());
    }
}

#[test]
fn a_block_that_occurs_twice_is_read_twice() {
    let rows: Vec<_> = many(0..1_000).into_iter().chain(many(0..1_000)).collect();
    let written = artefact(&rows, 1);
    let (description, records) = write(&written);
    assert!(records.blocks.len() + 5 < description.blocks().len());
    let read = Artefact::read(written.model.version(), &description.to_json(), &records);
    assert_eq!(
        read.unwrap().model.training_set(),
        written.model.training_set()
    );
}

#[test]
fn a_new_class_leaves_the_blocks_of_other_rows_as_they_are() {
    let before = write(&artefact(&many(0..1_000), 1)).1.blocks;
    let mut rows = many(0..1_000);
    rows.push(([7.0, 7.0], "A"));
    let after = write(&artefact(&rows, 1)).1.blocks;
    let new = after
        .iter()
        .filter(|(id, json)| before.get(id) != Some(json));
    assert_eq!(new.count(), 1);
}

#[test]
fn blocks_of_known_models_need_not_be_found() {
    let known = [model(&many(0..500), 1), model(&many(400..1_000), 1)];
    let wanted = artefact(&many(0..1_000), 3);
    let version = wanted.model.version();
    let (description, RowRecords { mut blocks, .. }) = write(&wanted);
    let join = |blocks: &BTreeMap<_, _>, known: &[&Model]| {
        Artefact::join(version, &description, blocks, known)
    };
    for known in &known {
        for block in blocks::cut(known.training_set()) {
            blocks.remove(&block.id);
        }
    }
    assert!(blocks.len() <= 3, "{}", blocks.len());
    let read = join(&blocks, &[&known[0], &known[1]]).unwrap();
    assert_eq!(read.model.training_set(), wanted.model.training_set());
    let missing = join(&blocks, &[&known[1]]).unwrap_err();
    assert!(matches!(missing, ArtefactError::MissingBlock { .. }));
}

#[test]
fn a_model_with_a_missing_moved_or_corrupt_block_is_refused() {
    let written = artefact(&many(0..500), 1);
    let version = written.model.version();
    let (description, records) = write(&written);
    let refusal = |description: &Description, records: &RowRecords| {
        let refused = Artefact::read(version, &description.to_json(), records);
        refused.unwrap_err().to_string()
    };
    let blocks = description.blocks().to_vec();
    assert!(blocks.len() > 3);
    for block in &blocks {
        let mut missing = records.clone();
        missing.blocks.remove(block);
        assert_eq!(
            refusal(&description, &missing),
            format!("it is incomplete: its block {block} is missing")
        );
    }
    let (first, second) = (blocks[0], blocks[1]);
    let mut corrupt = records.clone();
    corrupt
        .blocks
        .insert(first, records.blocks[&second].clone());
    assert_eq!(
        refusal(&description, &corrupt),
        format!("it is corrupt: block {first} has the rows of block {second}")
    );
    let listed = |blocks: &[BlockId]| Description {
        rows: RowStorage::Blocks(blocks.to_vec()),
        ..description.clone()
    };
    let moved = [&[second, first], &blocks[2..]].concat();
    assert!(refusal(&listed(&moved), &records).contains("its content is that of version "));
    assert!(refusal(&listed(&blocks[1..]), &records).contains("its content is that of version "));
    assert_eq!(refusal(&listed(&[]), &records), "its rows are not stored");
}

#[test]
fn each_fault_of_a_block_has_an_error_of_its_own() {
    let written = artefact(&ROWS, 1);
    let block = &written.blocks()[0];
    let json = String::from_utf8(written.block_json(block)).unwrap();
    assert_eq!(block.id.check(json.as_bytes()), Ok(()));
    let refusal = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        let changed = json.replacen(from, to, 1);
        block.id.check(changed.as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("\"format\":3", "\"format\":6"),
        "its format is 6, and the newest that this program reads is 5: use a newer program"
    );
    assert_eq!(
        refusal("[0,1]", "[0,2]"),
        "it is corrupt: row 1 is of class 2, and there are 2 classes"
    );
    assert_eq!(
        refusal("[0,1]", "[0,1,1]"),
        "it is corrupt: 4 values are not 3 rows of 1 features"
    );
    assert!(refusal("0.1,", "0.2,").contains(" has the rows of block "));
    assert!(refusal("\"a\"", "\"A\"").contains(" has the rows of block "));
    assert!(refusal("\"features\"", "\"faetures\"").contains("missing field `features`"));
    for length in 0..json.len() {
        assert!(block.id.check(&json.as_bytes()[..length]).is_err());
    }
}

#[test]
fn an_artefact_of_format_1_is_read_from_one_record() {
    let expected = artefact(&ROWS, 1);
    let version = expected.model.version();
    let read = Artefact::read(version, INLINE.as_bytes(), &no_rows()).unwrap();
    assert_eq!(read.model.training_set(), expected.model.training_set());
    assert_eq!(read.lineage, expected.lineage);
    let description = Description::read(INLINE.as_bytes()).unwrap();
    assert_eq!(description.rows, RowStorage::Inline);
    let without_rows = Description {
        registered_ms: Some(7),
        ..description
    };
    let read = Description::read(&without_rows.to_json()).unwrap();
    let nowhere = RowStorage::Blocks(Vec::new());
    assert_eq!((read.rows, read.registered_ms), (nowhere, Some(7)));
}

#[test]
fn an_artefact_of_format_2_is_read_from_its_parts() {
    let expected = artefact(&ROWS, 1);
    let version = expected.model.version();
    let read = |parts: &[(u32, &str)]| {
        let read = Artefact::read(version, IN_PARTS.as_bytes(), &in_parts(parts));
        read.map_err(|refused| refused.to_string())
    };
    let [first, second] = PARTS;
    for parts in [
        &[(0, first), (1, second)][..],
        &[(0, first), (1, second), (2, first)],
    ] {
        let read = read(parts).unwrap();
        assert_eq!(read.model.training_set(), expected.model.training_set());
        assert_eq!(read.lineage, expected.lineage);
    }
    let refusal = |parts: &[(u32, &str)]| read(parts).unwrap_err();
    for part in 0..2 {
        assert_eq!(
            refusal(&[(part, first)]),
            "it is incomplete: 1 of 2 parts of its rows are there"
        );
    }
    assert_eq!(refusal(&[]), "its rows are not stored");
    let moved = refusal(&[(0, second), (1, first)]);
    assert!(moved.contains("its content is that of version "));
    let doubled = refusal(&[(0, first), (1, first)]);
    assert!(doubled.contains("its content is that of version "));
}

#[test]
fn each_fault_has_an_error_of_its_own() {
    let version = artefact(&ROWS, 1).model.version();
    let refusal = |from: &str, to: &str| {
        assert!(INLINE.contains(from), "{from}");
        let changed = INLINE.replacen(from, to, 1);
        let refused = Artefact::read(version, changed.as_bytes(), &no_rows());
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refusal("\"format\":1", "\"format\":6"),
        "its format is 6, and the newest that this program reads is 5: use a newer program"
    );
    assert_eq!(
        refusal("[0,1]", "[0,2]"),
        "it is corrupt: row 1 is of class 2, and there are 2 classes"
    );
    assert_eq!(
        refusal("[0,1]", "[0]"),
        "it is corrupt: 4 values are not 1 rows of 2 features"
    );
    assert_eq!(
        refusal("\"neighbors\":1", "\"neighbors\":3"),
        "it is corrupt: neighbors is 3, but there are only 2 training rows"
    );
    assert!(refusal("0.1,", "0.2,").contains("its content is that of version "));
    assert!(refusal("\"classes\"", "\"klasses\"").contains("missing field `classes`"));
}

/// Two neighbours with settings that formats up to 3 do not have.
fn scaled() -> Artefact {
    let kind = ModelKind::Neighbors(NeighborsKind {
        neighbors: 2,
        scale: Scale::Standard,
        weights: Weights::Distance,
        metric: Metric::Manhattan,
    });
    let plain = artefact(&many(0..300), 2);
    Artefact {
        model: Model::fit(plain.model.training_set().clone(), kind).unwrap(),
        ..plain
    }
}

#[test]
fn a_model_with_settings_is_read_back_bit_for_bit() {
    let written = scaled();
    let (description, records) = write(&written);
    let json = description.to_json();
    assert!(json.starts_with(b"{\"format\":4,"));
    let read = Artefact::read(written.model.version(), &json, &records).unwrap();
    assert_eq!(read.model.content(), written.model.content());
    assert_eq!(read.model.kind(), written.model.kind());
    assert_eq!(Description::read(&json), Ok(description));
}

#[test]
fn settings_and_scaling_are_part_of_the_version() {
    let written = scaled();
    let (version, (description, records)) = (written.model.version(), write(&written));
    let json = String::from_utf8(description.to_json()).unwrap();
    let refusal = |from: &str, to: &str| {
        assert!(json.contains(from), "{from} in {json}");
        let changed = json.replacen(from, to, 1);
        let refused = Artefact::read(version, changed.as_bytes(), &records);
        refused.unwrap_err().to_string()
    };
    for (from, to) in [
        ("\"manhattan\"", "\"euclidean\""),
        ("\"weights\":\"distance\"", "\"weights\":\"uniform\""),
        ("\"means\":[", "\"means\":[1"),
        ("\"scaling\"", "\"skaling\""),
    ] {
        assert!(refusal(from, to).contains("its content is that of version "));
    }
    assert_eq!(
        refusal("\"deviations\":[", "\"deviations\":[1,"),
        "it is corrupt: its scaling does not have a finite mean and a positive deviation for each feature"
    );
    let plain = Model::fit(written.model.training_set().clone(), 2).unwrap();
    assert_ne!(plain.version(), version);
}

#[test]
fn the_blocks_of_a_newer_description_are_known() {
    let json = br#"{"format":9,"blocks":["0123456789abcdef"]}"#;
    assert!(Description::read(json).is_err());
    let listed = Description::listed_blocks(json);
    assert_eq!(listed, ["0123456789abcdef".parse().unwrap()]);
    assert_eq!(Description::listed_blocks(b"{"), []);
    assert_eq!(Description::listed_blocks(b"{\"blocks\":[7]}"), []);
}

#[test]
fn every_truncation_is_rejected() {
    let written = artefact(&ROWS, 1);
    let version = written.model.version();
    let (description, records) = write(&written);
    let description = description.to_json();
    for length in 0..description.len() {
        let read = Artefact::read(version, &description[..length], &records);
        assert!(read.is_err(), "{length} bytes of the description");
    }
    for length in 0..PARTS[0].len() {
        let parts = in_parts(&[(0, &PARTS[0][..length]), (1, PARTS[1])]);
        let read = Artefact::read(version, IN_PARTS.as_bytes(), &parts);
        assert!(read.is_err(), "{length} bytes of a part");
    }
    for length in 0..INLINE.len() {
        let read = Artefact::read(version, &INLINE.as_bytes()[..length], &no_rows());
        assert!(read.is_err(), "{length} bytes of format 1");
    }
}
