//! Mutilated inputs, as many as IRIS_TEST_CASES says: whatever the bytes are, a record is decided about and a CSV file is
//! read or refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../iris-core/src/property.rs"]
mod property;

use std::cell::{Cell, RefCell};
use std::io::{Write, stdout};
use std::sync::Arc;
use std::thread::{self, available_parallelism};

use iris_contract::fields::Field;
use iris_contract::{Classifier, Scratch};
use iris_core::{Dataset, Model, Schema};
use proptest::prelude::*;

/// Tokens and pieces of JSON and CSV, and values that often break parsers.
const PIECES: [&[u8]; 40] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"-",
    b".",
    b"e",
    b"0",
    b"9",
    b"1e999",
    b"-0.0",
    b"NaN",
    b"null",
    b"true",
    b"\"\\u0000\"",
    b"\\ud800",
    b"\xff",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\"SepalLengthCm\":5.1",
    b"\"SepalLengthCm\"",
    b"\"PetalWidthCm\":0.2,",
    b"\"Species\":\"Iris-setosa\"",
    b"\"Species\":null",
    b"\"PredictedSpecies\":\"x\",",
    b"\"Species\":[[[[",
    b"123456789012345678901234567890",
    b"SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species\n",
    b"5.1,3.5,1.4,0.2,Iris-setosa\n",
    b"\"\"",
    b"Id",
    b";",
];

const RECORD: &[u8] =
    br#"{"Id":1,"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris-setosa"}"#;

const CSV: &[u8] = b"Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species\n1,5.1,3.5,1.4,0.2,Iris-setosa\n\
                     2,4.9,3.0,1.4,0.2,\"Iris-setosa\"\n";

/// One cut into the bytes: where, how many go, and what comes in their place.
type Cut = (prop::sample::Index, usize, Vec<u8>);

fn cut() -> impl Strategy<Value = Cut> {
    let piece = prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec);
    let noise = prop::collection::vec(any::<u8>(), 0..4);
    (
        any::<prop::sample::Index>(),
        0_usize..12,
        prop_oneof![3 => piece, 1 => noise],
    )
}

/// Something well-formed with a few cuts, or nothing but pieces.
fn mutilated(whole: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![4 => Just(whole), 1 => Just(&b""[..])];
    (start, prop::collection::vec(cut(), 0..6)).prop_map(|(start, cuts)| {
        let mut bytes = start.to_vec();
        for (at, gone, instead) in cuts {
            let from = at.index(bytes.len() + 1);
            let to = bytes.len().min(from + gone);
            bytes.splice(from..to, instead);
        }
        bytes
    })
}

fn classifier() -> Classifier {
    let rows = Dataset::parse(CSV, &Schema::default()).unwrap();
    Classifier::new(Arc::new(Model::fit(rows.training_set(&[0, 1]), 1).unwrap()))
}

/// Prints how much was tested, and fails if nearly all inputs took the same way: then the other was hardly tested.
fn report(inputs: &str, cases: u32, accepted: u32, refused: u32) {
    // The test harness captures what print macros write, and shows it of failed tests only.
    let line = format!("{cases} mutilated {inputs}: {accepted} accepted, {refused} refused\n");
    stdout().write_all(line.as_bytes()).unwrap();
    assert!(accepted.min(refused) >= cases / 100);
}

/// Runs a property on every processor, each with a part of the cases. Returns the sums of the results.
fn on_all_processors(
    config: &ProptestConfig,
    test: impl Fn(ProptestConfig) -> [u32; 2] + Sync,
) -> [u32; 2] {
    let processors = available_parallelism().map_or(1, usize::from);
    let parts = u32::try_from(processors).unwrap().min(config.cases);
    thread::scope(|scope| {
        let test = &test;
        let threads: Vec<_> = (0..parts)
            .map(|part| {
                let cases = config.cases / parts + u32::from(part < config.cases % parts);
                let config = ProptestConfig {
                    cases,
                    ..config.clone()
                };
                scope.spawn(move || test(config))
            })
            .collect();
        threads
            .into_iter()
            .fold([0, 0], |[accepted, refused], thread| {
                let [more_accepted, more_refused] = thread.join().unwrap();
                [accepted + more_accepted, refused + more_refused]
            })
    })
}

#[test]
fn every_record_is_a_prediction_or_a_dead_letter_with_a_reason() {
    let classifier = classifier();
    let config = property::config(1);
    let [accepted, refused] = on_all_processors(&config, |config| {
        let scratch = RefCell::new(Scratch::default());
        let (accepted, refused) = (Cell::new(0), Cell::new(0));
        proptest!(config, |(value in mutilated(RECORD))| {
            match classifier.classify(Some(&value), &mut scratch.borrow_mut()) {
                Ok(classification) => {
                    accepted.set(accepted.get() + 1);
                    let mut written = Vec::new();
                    classifier.write_value(&classification, &mut written);
                    let fields = Field::all(std::str::from_utf8(&written).unwrap()).unwrap();
                    prop_assert_eq!(&fields.last().unwrap().name, "PredictedSpecies");
                }
                Err(rejection) => {
                    refused.set(refused.get() + 1);
                    prop_assert!(!rejection.reason().is_empty());
                    prop_assert!(!rejection.to_string().is_empty());
                }
            }
        });
        [accepted.get(), refused.get()]
    });
    report("records", config.cases, accepted, refused);
}

#[test]
fn every_csv_file_is_read_or_refused_with_its_place() {
    let schema = Schema::default();
    let config = property::config(1);
    let [read, refused] = on_all_processors(&config, |config| {
        let (read, refused) = (Cell::new(0), Cell::new(0));
        proptest!(config, |(csv in mutilated(CSV))| {
            match Dataset::parse(&csv, &schema) {
                Ok(dataset) => {
                    read.set(read.get() + 1);
                    for row in 0..dataset.len() {
                        prop_assert!(dataset.features(row).iter().all(|feature| feature.is_finite()));
                        prop_assert!(serde_json::from_slice::<serde_json::Value>(&dataset.to_json(row)).is_ok());
                    }
                }
                Err(error) => {
                    refused.set(refused.get() + 1);
                    let text = error.to_string();
                    let has_place = text.contains("line") || text.contains("the file is ");
                    prop_assert!(has_place, "{}", text);
                }
            }
        });
        [read.get(), refused.get()]
    });
    report("CSV files", config.cases, read, refused);
}
