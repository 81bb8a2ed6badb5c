use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::property;
use crate::schema::Schema;

/// A row with two features.
type Row = ([f64; 2], &'static str);

const LABELS: [&str; 3] = ["a", "b", "a class with a longer name"];

fn set(rows: &[Row]) -> TrainingSet {
    let schema = Schema {
        features: vec!["x".into(), "y".into()],
        ..Schema::default()
    };
    let rows = rows.iter().map(|(features, label)| (&features[..], *label));
    TrainingSet::new(schema, rows)
}

fn ids(rows: &[Row]) -> Vec<BlockId> {
    cut(&set(rows)).iter().map(|block| block.id).collect()
}

/// Random rows of a few or of many distinct values.
fn rows(count: usize, distinct: u32, seed: u32) -> Vec<Row> {
    let mut state = u64::from(seed) << 1 | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut row = || {
        let value = next() % distinct;
        let label = LABELS[next() as usize % LABELS.len()];
        ([f64::from(value) / 8.0, f64::from(value % 7)], label)
    };
    (0..count).map(|_| row()).collect()
}

/// Returns how many blocks of `after` are not blocks of `before`.
fn new_blocks(before: &[Row], after: &[Row]) -> usize {
    let known: BTreeSet<BlockId> = ids(before).into_iter().collect();
    let new: BTreeSet<BlockId> = ids(after)
        .into_iter()
        .filter(|id| !known.contains(id))
        .collect();
    new.len()
}

/// An edit of rows: its kind, its place as a number modulo that of places, and its number of rows.
fn edit(rows: &mut Vec<Row>, (kind, place, count): (u8, usize, usize), more: &[Row]) {
    let at = place % (rows.len() + 1);
    let end = (at + count).min(rows.len());
    match kind {
        0 => rows.extend_from_slice(&more[..count]),
        1 => drop(rows.drain(at..end)),
        2 => drop(rows.drain(..count.min(rows.len()))),
        _ => drop(rows.splice(at..at, more[..count].iter().copied())),
    }
}

#[test]
fn blocks_have_about_64_rows() {
    for distinct in [150, u32::MAX] {
        let blocks = cut(&set(&rows(50_000, distinct, 7)));
        let mean = 50_000 / blocks.len();
        assert!((48..=96).contains(&mean), "{mean} of {distinct}");
        let last = blocks.len() - 1;
        let sizes = || blocks[..last].iter().map(|block| block.rows.len());
        assert!(sizes().all(|rows| (16..=192).contains(&rows)));
    }
}

#[test]
fn equal_rows_are_one_block_many_times() {
    let rows = vec![([1.0, 2.0], "a"); 5_000];
    let ids = ids(&rows);
    let distinct: BTreeSet<&BlockId> = ids.iter().collect();
    assert!(ids.len() >= 26 && distinct.len() <= 2, "{ids:?}");
}

#[test]
fn rows_that_recur_in_the_same_order_have_the_same_blocks_wherever_they_start() {
    for seed in 0..20 {
        let period = rows(150, u32::MAX, seed);
        let rows: Vec<Row> = period.iter().cycle().take(5_000).copied().collect();
        for dropped in [1, 7, 40] {
            let new = new_blocks(&rows, &rows[dropped..]);
            assert!(new <= 4, "{new} new blocks without {dropped} of {seed}");
        }
    }
}

#[test]
fn wide_rows_have_blocks_that_fit_into_a_record() {
    for (width, label, mean) in [
        (54, 1, 64),
        (300, 1, 30),
        (4_000, 1, 2),
        (30_000, 1, 1),
        (2, 90_000, 1),
    ] {
        let schema = Schema {
            features: (0..width).map(|n| format!("f{n}")).collect(),
            ..Schema::default()
        };
        // The longest features in JSON, and a label of characters that are escaped.
        let values: Vec<f64> = (0..30 * width)
            .map(|n| -2.225_073_858_507_201_4e-308 * (1.0 + n as f64))
            .collect();
        let label = "\u{1}".repeat(label);
        let rows = values.chunks(width).map(|features| (features, &*label));
        let set = TrainingSet::new(schema, rows);
        let blocks = cut(&set);
        assert!(blocks.len() * 2 * mean >= 30, "{width}: {}", blocks.len());
        for block in blocks.iter().filter(|block| block.rows.len() > 1) {
            let json = super::super::rows::write_block(RowSlice::of(&set, &block.rows));
            assert!(json.len() <= MAX_BLOCK_BYTES, "{width}: {}", json.len());
        }
    }
}

#[test]
fn the_id_of_a_block_depends_on_its_rows_alone() {
    let id = |rows: &[Row]| {
        let set = set(rows);
        RowSlice::of(&set, &(rows.len() - 2..rows.len()))
            .id(2)
            .to_string()
    };
    let (first, second) = (([1.0, -0.0], "b"), ([0.5, 3.0], "c"));
    assert_eq!(id(&[first, second]), "deaf17d4f5c99dce");
    assert_eq!(
        id(&[([9.0, 9.0], "a"), first, second]),
        id(&[first, second])
    );
    for other in [
        [second, first],
        [([1.0, 0.0], "b"), second],
        [first, ([0.5, 3.0], "b")],
    ] {
        assert_ne!(id(&other), id(&[first, second]));
    }
    for text in ["", "0123", "+123456789abcdef", "0123456789ABCDEF"] {
        assert!(text.parse::<BlockId>().is_err());
    }
}

proptest! {
    #![proptest_config(property::config(1_000))]

    /// Whatever is appended, removed, dropped or inserted, the blocks are the rows in their order, and each edit changes a few
    /// blocks, besides those that hold its own rows.
    #[test]
    fn an_edit_changes_the_blocks_around_it(
        count in 0_usize..1_000,
        is_repetitive in any::<bool>(),
        seed in any::<u32>(),
        edits in prop::collection::vec((0_u8..4, any::<usize>(), 1_usize..120), 1..5),
    ) {
        let distinct = if is_repetitive { 150 } else { u32::MAX };
        let mut before = rows(count, distinct, seed);
        for (number, edited) in (1..).zip(edits) {
            let more = rows(120, distinct, seed ^ number);
            let mut after = before.clone();
            edit(&mut after, edited, &more);
            let set = set(&after);
            let mut next = 0;
            for block in cut(&set) {
                prop_assert_eq!(block.rows.start, next);
                prop_assert!(block.rows.end > next);
                next = block.rows.end;
                prop_assert_eq!(RowSlice::of(&set, &block.rows).id(2), block.id);
            }
            prop_assert_eq!(next, after.len());
            let new = new_blocks(&before, &after);
            prop_assert!(new <= 14, "{} new blocks after {:?}", new, edited);
            before = after;
        }
    }
}
