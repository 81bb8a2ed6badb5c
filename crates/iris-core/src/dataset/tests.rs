use proptest::prelude::*;
use proptest::string::string_regex;

use super::*;
use crate::property;

fn schema() -> Schema {
    Schema {
        id: "id".into(),
        features: vec!["a".into(), "b".into()],
        label: "kind".into(),
    }
}

fn read(csv: &[u8]) -> Result<Dataset, DatasetError> {
    Dataset::parse(csv, &schema())
}

fn error(csv: impl AsRef<[u8]>) -> String {
    read(csv.as_ref()).unwrap_err().to_string()
}

fn json(dataset: &Dataset, row: usize) -> String {
    String::from_utf8(dataset.to_json(row)).unwrap()
}

#[test]
fn a_row_becomes_json_in_column_order() {
    let dataset = read(b"note,id,b,a,kind,mixed\nx y,1,2,0.5,7,1\n,2, 3.25 ,1e-3,8,2.5\n").unwrap();
    assert_eq!(dataset.features(0), [0.5, 2.0]);
    assert_eq!(
        json(&dataset, 0),
        r#"{"note":"x y","id":1,"b":2.0,"a":0.5,"kind":"7","mixed":1}"#
    );
    assert_eq!(
        json(&dataset, 1),
        r#"{"note":"","id":2,"b":3.25,"a":0.001,"kind":"8","mixed":2.5}"#
    );
}

#[test]
fn a_column_is_numbers_only_if_every_cell_keeps_its_text() {
    for (ids, expected) in [
        (["1", "-2"], ["1", "-2"]),
        (["2.5", "3"], ["2.5", "3"]),
        (["00001", "1"], [r#""00001""#, r#""1""#]),
        (["1.10", "1.1"], [r#""1.10""#, r#""1.1""#]),
        (["1e10", "3"], [r#""1e10""#, r#""3""#]),
        ([" 7", "7"], [r#"" 7""#, r#""7""#]),
        (
            ["11898508762506083280", "11898508762506083281"],
            [r#""11898508762506083280""#, r#""11898508762506083281""#],
        ),
    ] {
        let csv = format!("id,a,b,kind\n{},1,1,x\n{},1,1,x\n", ids[0], ids[1]);
        let dataset = read(csv.as_bytes()).unwrap();
        for (row, id) in expected.iter().enumerate() {
            let start = format!("{{\"id\":{id},");
            assert!(json(&dataset, row).starts_with(&start), "{ids:?}");
        }
    }
}

#[test]
fn a_byte_order_mark_quotes_and_blank_lines_are_accepted_with_every_line_ending() {
    for ending in ["\n", "\r\n", "\r"] {
        let lines = [
            "\u{feff}id,a,b,kind",
            "",
            "1,\"2\",3,\"red, \"\"dark\"\"\"",
            "",
        ];
        let dataset = read(lines.join(ending).as_bytes()).unwrap();
        assert_eq!(dataset.len(), 1);
        assert_eq!(dataset.features(0), [2.0, 3.0]);
        assert_eq!(dataset.label(0), Some("red, \"dark\""));
        assert_eq!(dataset.cell(0, "id"), Some("1"));
    }
}

#[test]
fn a_row_without_a_label_is_streamed_and_not_trained_on() {
    let dataset = read(b"id,a,b,kind\n1,1,1,x\n2,2,2,\n3,3,3,  \n4,4,4, y\n").unwrap();
    assert_eq!(dataset.labelled_rows(), [0, 3]);
    assert_eq!((dataset.label(1), dataset.label(2)), (None, None));
    assert_eq!(dataset.label(3), Some(" y"));
    assert_eq!(dataset.training_set(&[0, 1, 2, 3]).len(), 2);
    assert!(json(&dataset, 2).ends_with(r#""kind":"  "}"#));
    let Split { train, test } = dataset.split(0.5, 42).unwrap();
    let mut rows = [train, test].concat();
    rows.sort_unstable();
    assert_eq!(rows, dataset.labelled_rows());
}

#[test]
fn another_delimiter_is_used_if_it_is_given() {
    let csv = b"id;a;b;kind\n1;2;3;x, y\n";
    let dataset = Dataset::parse_delimited(csv, &schema(), b';', &|| false).unwrap();
    assert_eq!(dataset.label(0), Some("x, y"));
}

#[test]
fn the_time_to_read_a_file_is_linear_in_its_rows() {
    let time = |rows: usize| {
        let rows: String = (0..rows).map(|id| format!("{id},1,2.5,x\n")).collect();
        let csv = format!("id,a,b,kind\n{rows}");
        let once = || {
            let started = std::time::Instant::now();
            read(csv.as_bytes()).unwrap();
            started.elapsed()
        };
        // The shortest of several times: other processes may have interrupted some.
        (0..5).map(|_| once()).min().unwrap()
    };
    // Quadratic time would be 256 times as long. Several attempts, because the load of the machine may change in between.
    let times: Vec<_> = std::iter::repeat_with(|| (time(5_000), time(80_000)))
        .take(20)
        .scan(false, |is_linear, (few, many)| {
            (!std::mem::replace(is_linear, many < few * 16 * 6)).then_some((few, many))
        })
        .collect();
    let is_linear = times.last().is_some_and(|&(few, many)| many < few * 16 * 6);
    assert!(is_linear, "{times:?}");
}

#[test]
fn reading_stops_on_request() {
    let stopped = Dataset::parse_delimited(b"id,a,b,kind\n1,2,3,x\n", &schema(), b',', &|| true);
    assert_eq!(stopped.unwrap_err(), DatasetError::Stopped);
}

#[test]
fn each_error_names_the_line_the_column_and_the_fix() {
    let cases: [&[u8]; 25] = [
        b"",
        b"id,a,b,kind\n",
        b"id,a,c,kind\n1,2,3,x\n",
        b"id;a;b;kind\n1;2;3;x\n",
        b"id\ta\tb\tkind\n1\t2\t3\tx\n",
        b"id,A,b,kind\n1,2,3,x\n",
        b"sep=;\nid;a;b;kind\n",
        b"id,a,b,kind,a\n",
        b"id,a,b,kind,\n1,2,3,x,\n",
        b",id,a,b,kind\n0,1,2,3,x\n",
        b"id,a,b,kind\n1,2,3,x\n\n2,3,4\n",
        b"id,a,b,kind\n1,2,3,x,\n",
        b"id,a,b,kind\r1,2,3,x\r2,tall,3,x\r",
        b"id,a,b,kind\n1,2,NaN,x\n",
        b"id,a,b,kind\n1,2,1e999,x\n",
        b"id,a,b,kind\n1,2,,x\n",
        b"id,a,b,kind\n1,\"5,1\",2,x\n",
        b"id,a,b,kind\n1,4.\x007,2,x\n",
        b"id,a,b,kind\n1,2,3,\xff\n",
        b"\xff\xfei\0d\0",
        b"id,a,b,kind\n1,2,3,x\n2,2,3,\"y\n3,2,3,z\n",
        b"id,a,b,kind\n1,2,3,\"tall\" plant\n",
        b"id,a,b,kind,note\n1,2,3,x,\"y\n2,2,3,z,\n3,2,3,z,y\"\n",
        b"id,a,b,kind,note\r\n\r\n1,2,3,\"x,\r\n\r\n2,2,3,z\",\r\n4,2,3,z,\r\n",
        b"id,a,b,kind,\"note\n1,2,3,x,y\"\n2,2,3,x,y\n",
    ];
    insta::assert_snapshot!(cases.map(error).join("\n"), @r#"
    the file is empty: expected a header line with the columns `id`, `a`, `b`, `kind`
    line 1: a header but no rows below it
    line 1: the header has no column `b`: it has `id`, `a`, `c`, `kind`
    line 1: the header has no column `id`: it has `id;a;b;kind`; the file looks separated by `;`: set dataset.delimiter to it
    line 1: the header has no column `id`: it has `id\ta\tb\tkind`; the file looks separated by `\t`: set dataset.delimiter to it
    line 1: the header has no column `a`: it has `id`, `A`, `b`, `kind`; `A` differs in the case of its letters
    line 1: `sep=;` is not a header: remove the line, and set dataset.delimiter to `;` if that is not it already
    line 1: the header names the column `a` twice
    line 1: column 5 has no name: name it, or remove the separator at the end of the line
    line 1: column 1 has no name: name it, or remove the separator at the end of the line
    line 4: 3 fields, but the header has 4
    line 2: 5 fields, but the header has 4: is there a separator at the end of the line?
    line 3, column `a`: `tall` is not a finite number
    line 2, column `b`: `NaN` is not a finite number
    line 2, column `b`: `1e999` is not a finite number
    line 2, column `b`: `` is not a finite number
    line 2, column `a`: `5,1` is not a finite number: write a decimal point instead of the comma
    line 2, column `a`: `4.\07` is not a finite number
    line 2, column `kind`: not valid UTF-8: save the file as UTF-8
    the file is UTF-16: save it as UTF-8 (in Excel: "CSV UTF-8")
    line 3, column `kind`: the quote that opens here is not closed
    line 2, column `kind`: text after a closing quote: write a quote within a quoted field as two quotes
    line 2, column `note`: the quote that opens here closes on line 4, and the lines between are rows: remove both quotes
    line 3, column `kind`: the quote that opens here closes on line 5, and the lines between are rows: remove both quotes
    line 1, column `note\n1,2,3,x,y`: the quote that opens here closes on line 2, and the lines between are rows: remove both quotes
    "#);
}

/// A cell as a CSV file has it, quoted.
fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

/// Returns any text, or text that looks like a number or has the characters of CSV files. Each expression is parsed once: as a
/// plain `&str`, it would be parsed for every case.
fn cell() -> impl Strategy<Value = String> {
    let texts = ["\\PC*", "[0-9.eE+ -]{0,6}|[\\x00-\\x20\"',;a]{0,6}"];
    let [any, special] = texts.map(|text| string_regex(text).unwrap());
    prop_oneof![any, special]
}

proptest! {
    #![proptest_config(property::config(10))]

    #[test]
    fn every_cell_keeps_its_text(cells in proptest::collection::vec(cell(), 3)) {
        let mut csv = "id,a,b,kind,note\n".to_owned();
        for cell in &cells {
            csv += &format!("{0},1,2,{0},{0}\n", quoted(cell));
        }
        let dataset = read(csv.as_bytes()).unwrap();
        for (row, cell) in cells.iter().enumerate() {
            let json: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(&dataset.to_json(row)).unwrap();
            prop_assert_eq!(&json["kind"], &serde_json::Value::from(cell.as_str()));
            for column in ["id", "note"] {
                let text = match &json[column] {
                    serde_json::Value::String(text) => text.clone(),
                    number => number.to_string(),
                };
                prop_assert_eq!(&text, cell);
            }
        }
    }

    #[test]
    fn stray_quotes_do_not_merge_rows(
        rows in proptest::collection::vec(string_regex("[a-z]{0,2}").unwrap(), 3..8),
        quotes in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let mut csv = "id,a,b,kind,note\n".to_owned();
        for (id, text) in rows.iter().enumerate() {
            csv += &format!("{id},1,2.5,{0},{0}\n", text);
        }
        for quote in quotes {
            let ends = |at: &usize| csv[..*at].ends_with([',', '\n']) || csv[*at..].starts_with([',', '\n']);
            let ends: Vec<usize> = (1..csv.len()).filter(ends).collect();
            csv.insert(*quote.get(&ends), '"');
        }
        if let Ok(dataset) = read(csv.as_bytes()) {
            prop_assert_eq!(dataset.len(), rows.len(), "{}", csv);
        }
    }
}
