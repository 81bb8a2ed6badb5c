//! The text of a cell, from the CSV file to the export of the feedback store, with the services' binaries.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use iris_contract::fields::{Field, text};
use iris_testkit::{Fixture, TIMEOUT, eventually};
use serde_json::Value;

/// The number of rows of the file. Each has three random texts.
const ROWS: usize = 300;

/// Pieces that CSV, JSON, SQL, terminals and number parsers treat in a special way.
const PIECES: [&str; 48] = [
    "",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\"",
    "\"\"",
    "'",
    ",",
    ";",
    "\\",
    "\\n",
    "\\u0041",
    "\u{feff}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{200b}",
    "\u{2028}",
    "\u{202e}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "ä",
    "a\u{301}",
    "三",
    "\u{1f33c}",
    "{",
    "}",
    "[1]",
    "null",
    "true",
    "NaN",
    "-0",
    "007",
    "1.10",
    "1e5",
    "1E400",
    "9007199254740993",
    "18446744073709551616",
    "<b>",
    "'; DROP TABLE feedback;--",
    "%s",
    "$1",
    "Iris-setosa ",
];

/// A row's texts: the id, the label and another cell.
type Texts = [String; 3];

const COLUMNS: [&str; 3] = ["Id", "Species", "Note"];

fn hostile(random: &mut Rng) -> String {
    let pieces = random.usize(..5);
    (0..pieces)
        .map(|_| match random.usize(..8) {
            0 => random.char(..).to_string(),
            _ => PIECES[random.usize(..PIECES.len())].to_owned(),
        })
        .collect()
}

/// Writes the rows, each with its number in the column `Row`.
fn write(path: &Path, rows: &[Texts]) {
    let cell = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
    let mut csv =
        "Row,Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species,Note\n".to_owned();
    for (number, [id, label, note]) in rows.iter().enumerate() {
        let (id, label, note) = (cell(id), cell(label), cell(note));
        csv += &format!("{number},{id},5.1,3.5,1.4,0.2,{label},{note}\n");
    }
    fs::write(path, csv).unwrap();
}

/// Asserts that a record has the texts of its row. Returns the number of the row.
#[track_caller]
fn assert_kept(rows: &[Texts], value: &str) -> usize {
    let fields = Field::all(value).unwrap();
    let text = |name: &str| {
        let field = fields.iter().find(|field| field.name == name).unwrap();
        text(field.value).unwrap().into_owned()
    };
    let row: usize = text("Row").parse().unwrap();
    assert_eq!(COLUMNS.map(text), rows[row], "row {row}: {value}");
    row
}

/// Asserts that every row is there once.
#[track_caller]
fn assert_all(mut found: Vec<usize>, expected: &[usize]) {
    found.sort_unstable();
    assert_eq!(found, expected);
}

/// Stores the feedback, and checks the export of the store in both formats.
fn check_store(fixture: &Fixture, store: &str, rows: &[Texts], mispredicted: &[usize]) {
    let export = |format: &str| {
        let args = ["export", "--format", format, "--store", store];
        let ended = fixture.run("iris-feedback-sink", &args).unwrap();
        (ended.code == Some(0)).then_some(ended.stdout)
    };
    let json = |text: String| serde_json::from_str::<Vec<Value>>(&text).unwrap_or_default();
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", store])
        .unwrap();
    let stored = eventually("all feedback", TIMEOUT, || {
        export("json")
            .map(json)
            .filter(|stored| stored.len() == mispredicted.len())
    });
    let stored = stored.unwrap();
    assert!(sink.terminate(TIMEOUT).unwrap().success());

    // PostgreSQL stores no zero bytes in text; the record's JSON has them as escapes.
    let storable = |text: &str| text.replace('\0', "\u{fffd}");
    let check = |value: &str, id: &str, label: &str| {
        let row = assert_kept(rows, value);
        let [expected_id, expected_label, _] = &rows[row];
        assert_eq!(
            (id, label),
            (&*storable(expected_id), &*storable(expected_label))
        );
        row
    };
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let found = stored.iter().map(|row| {
        check(
            &text(row, "value"),
            &text(row, "record_id"),
            &text(row, "label"),
        )
    });
    assert_all(found.collect(), mispredicted);

    let csv = export("csv").unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|found| found == name).unwrap();
    let (value, id, label) = (column("value"), column("record_id"), column("label"));
    let found = reader.records().map(|row| {
        let row = row.unwrap();
        check(&row[value], &row[id], &row[label])
    });
    assert_all(found.collect(), mispredicted);
}

#[test]
fn every_cell_keeps_its_text_from_the_file_to_the_export() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture
        .set("[producer]\ninterval_ms = 0\nkey = \"Id\"\n")
        .unwrap();
    let mut random = fixture.random().unwrap();
    let rows: Vec<Texts> = (0..ROWS)
        .map(|_| std::array::from_fn(|_| hostile(&mut random)))
        .collect();
    let path = fixture.directory().join("hostile.csv");
    write(&path, &rows);
    for (service, args) in [
        ("iris-producer", ["--file", path.to_str().unwrap()]),
        ("iris-classifier", ["--idle-timeout-ms", "2000"]),
    ] {
        let ended = fixture.run(service, &args).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let all: Vec<usize> = (0..ROWS).collect();
    for topic in [&fixture.topics.input, &fixture.topics.predictions] {
        let found = fixture.records(topic).unwrap().into_iter().map(|record| {
            let value = String::from_utf8(record.value.unwrap()).unwrap();
            let row = assert_kept(&rows, &value);
            assert_eq!(record.key.as_deref(), Some(rows[row][0].as_bytes()));
            row
        });
        assert_all(found.collect(), &all);
    }
    let has_label = |row: &usize| !rows[*row][1].trim().is_empty();
    let mispredicted: Vec<usize> = all.into_iter().filter(has_label).collect();
    for store in [fixture.sqlite(), fixture.postgres().unwrap()] {
        check_store(&fixture, &store, &rows, &mispredicted);
    }
}
