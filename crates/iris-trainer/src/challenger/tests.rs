use iris_core::Schema;

use super::*;

/// A champion with two rows of the dataset.
fn champion() -> Artefact {
    let schema = Schema {
        features: vec!["x".into()],
        ..Schema::default()
    };
    let rows = [(&[1.0][..], "a"), (&[2.0][..], "b")];
    Artefact {
        model: Model::fit(TrainingSet::new(schema, rows.into_iter()), 1).unwrap(),
        lineage: Lineage {
            rows: vec![(DATASET.to_owned(), 2)],
            ..Lineage::default()
        },
    }
}

/// An example of the record with this number, at the offset of the same number.
fn example(record: u64, x: f64, label: &str) -> TrainingExample {
    TrainingExample {
        place: PartitionOffset::new(0, i64::try_from(record).unwrap()),
        features: vec![x],
        label: label.to_owned(),
        record,
    }
}

fn known(record: u64) -> KnownRow {
    KnownRow::from(&example(record, 0.0, "a"))
}

const LIMITS: TrainingLimits = TrainingLimits {
    policy: Policy::Append,
    learned_rows: 2,
    window_records: 3,
};

static NONE: BTreeSet<KnownRow> = BTreeSet::new();

fn selection<'a>(known: &'a [KnownRow], examples: &'a [TrainingExample]) -> Selection<'a> {
    let newest = examples.iter().map(|example| example.record).max();
    Selection {
        known,
        withdrawn: &NONE,
        forgotten: 0,
        first_record: 0,
        records: newest.unwrap_or_default(),
        examples,
    }
}

fn rows(artefact: &Artefact) -> String {
    let rows = artefact.model.training_set();
    let row = |(x, &class): (&f64, &usize)| format!("{x}{}", rows.classes()[class]);
    rows.features()
        .iter()
        .zip(rows.class_of_row())
        .map(row)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Trains a challenger. Returns it and the records of its known rows.
fn trained(
    from: &Artefact,
    selection: Selection<'_>,
    limits: TrainingLimits,
) -> (Artefact, Vec<KnownRow>) {
    let challenger = train(from, selection, limits, &BTreeMap::new(), |_| 1.into()).unwrap();
    (challenger.artefact.unwrap(), challenger.known)
}

#[test]
fn rows_are_appended_and_the_oldest_learned_rows_are_dropped() {
    let examples = [example(1, 3.0, "c")];
    let (first, own) = trained(&champion(), selection(&[], &examples), LIMITS);
    assert_eq!(
        (rows(&first).as_str(), &own[..]),
        ("1a 2b 3c", &[known(1)][..])
    );
    assert_eq!(first.lineage.parent, Some(champion().model.version()));
    let examples = [example(2, 4.0, "a"), example(3, 5.0, "a")];
    let (second, own) = trained(&first, selection(&own, &examples), LIMITS);
    assert_eq!(rows(&second), "1a 2b 4a 5a");
    assert_eq!(own, [known(2), known(3)]);
    let expected = [("dataset".to_owned(), 2), ("stream".to_owned(), 2)];
    assert_eq!(second.lineage.rows, expected);
}

#[test]
fn a_window_counts_records_of_the_stream_and_drops_rows_of_the_dataset_too() {
    let limits = TrainingLimits {
        policy: Policy::Window,
        ..LIMITS
    };
    let examples = [example(1, 3.0, "c"), example(2, 4.0, "a")];
    let (two, own) = trained(&champion(), selection(&[], &examples), limits);
    assert_eq!(rows(&two), "2b 3c 4a");
    let expected = [("dataset".to_owned(), 1), ("stream".to_owned(), 2)];
    assert_eq!(two.lineage.rows, expected);
    // Records that were not learned fill the window, too.
    let examples = [example(5, 6.0, "b")];
    let (later, own) = trained(&two, selection(&own, &examples), limits);
    assert_eq!((rows(&later).as_str(), &own[..]), ("6b", &[known(5)][..]));
}

#[test]
fn rows_are_in_the_order_of_their_labels() {
    let examples = [example(3, 5.0, "a"), example(2, 4.0, "a")];
    let (trained, own) = trained(&champion(), selection(&[], &examples), LIMITS);
    assert_eq!(rows(&trained), "1a 2b 4a 5a");
    assert_eq!(own, [known(2), known(3)]);
}

#[test]
fn only_the_row_that_was_withdrawn_is_left_out() {
    let examples = [example(1, 2.0, "b"), example(2, 2.0, "b")];
    let (first, own) = trained(&champion(), selection(&[], &examples), LIMITS);
    assert_eq!(rows(&first), "1a 2b 2b 2b");
    let withdrawn = BTreeSet::from([known(1)]);
    let corrected = [example(3, 2.0, "a")];
    let selection = Selection {
        withdrawn: &withdrawn,
        ..selection(&own, &corrected)
    };
    let (second, own) = trained(&first, selection, LIMITS);
    assert_eq!(rows(&second), "1a 2b 2b 2a");
    assert_eq!(own, [known(2), known(3)]);
}

#[test]
fn old_rows_are_left_out() {
    let examples = [example(1, 3.0, "c"), example(2, 4.0, "a")];
    let (first, own) = trained(&champion(), selection(&[], &examples), LIMITS);
    for (forgotten, first_record, expected, left_out) in [
        (0, 0, "1a 2b 3c 4a 5b", 0),
        (1, 0, "2b 3c 4a 5b", 1),
        (9, 0, "3c 4a 5b", 2),
        (9, 2, "4a 5b", 3),
        (9, 3, "5b", 4),
    ] {
        let examples = [example(3, 5.0, "b")];
        let selection = Selection {
            forgotten,
            first_record,
            ..selection(&own, &examples)
        };
        let limits = TrainingLimits {
            learned_rows: 9,
            ..LIMITS
        };
        assert_eq!(rows(&trained(&first, selection, limits).0), expected);
        assert_eq!(selection.left_out(4), left_out);
    }
}

#[test]
fn the_same_rows_make_the_same_model() {
    let same = train(
        &champion(),
        selection(&[], &[]),
        LIMITS,
        &BTreeMap::new(),
        |_| 1.into(),
    )
    .unwrap();
    assert!(same.artefact.is_none());
}

#[test]
fn a_model_needs_as_many_rows_as_neighbours() {
    let selection = Selection {
        forgotten: 9,
        ..selection(&[], &[])
    };
    let error = train(&champion(), selection, LIMITS, &BTreeMap::new(), |_| {
        1.into()
    })
    .unwrap_err();
    assert!(matches!(error, FitError::TooFewRows { .. }), "{error}");
}
