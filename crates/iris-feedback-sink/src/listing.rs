//! Prints stored rows: as a table, as CSV or as JSON.

use std::io::{self, BufWriter, Write, stdout};
use std::pin::pin;

use futures_util::{Stream, TryStreamExt};
use iris_feedback_store::{FeedbackReader, FeedbackRow, ReadError};
use iris_service::TextTable;

use crate::args::{Format, Listing};

/// Runs a command.
///
/// # Errors
/// If the store cannot be read or standard output cannot be written.
pub async fn run(command: &Listing, store: &FeedbackReader) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match *command {
        Listing::List { limit, json } => {
            let rows = store.newest(limit).await?;
            if json {
                writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
            } else {
                writeln!(
                    out,
                    "{}\n{} of {} feedback records",
                    table(&rows),
                    rows.len(),
                    store.count().await?
                )?;
            }
        }
        Listing::Export {
            format: Format::Csv,
        } => {
            write_csv(store.all(), &mut out).await?;
        }
        Listing::Export {
            format: Format::Json,
        } => {
            write_json(store.all(), &mut out).await?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Writes a header line with the column names, and rows as CSV below it.
async fn write_csv(
    rows: impl Stream<Item = Result<FeedbackRow, ReadError>>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    csv.write_record(FeedbackRow::COLUMNS)
        .map_err(io::Error::from)?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        csv.serialize(row).map_err(io::Error::from)?;
    }
    csv.flush()?;
    Ok(())
}

/// Writes rows as a JSON array, one row per line.
async fn write_json(
    rows: impl Stream<Item = Result<FeedbackRow, ReadError>>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut rows = pin!(rows);
    let mut separator = "[\n";
    while let Some(row) = rows.try_next().await? {
        write!(out, "{separator}{}", serde_json::to_string(&row)?)?;
        separator = ",\n";
    }
    writeln!(out, "{}", if separator == "[\n" { "[]" } else { "\n]" })?;
    Ok(())
}

/// Returns rows as a table; `-` is a value that is missing.
fn table(rows: &[FeedbackRow]) -> TextTable {
    let mut table = TextTable::new([
        "id",
        "label",
        "predicted",
        "votes",
        "model version",
        "partition",
        "offset",
        "problem",
    ]);
    for row in rows {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        table.add_row([
            text(&row.record_id),
            text(&row.label),
            text(&row.predicted),
            text(&row.votes),
            text(&row.model_version),
            row.source_partition.to_string(),
            row.source_offset.to_string(),
            row.problem.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;

    use super::*;

    fn row(offset: i64) -> FeedbackRow {
        FeedbackRow {
            source_topic: "feedback".to_owned(),
            source_offset: offset,
            record_id: Some("7".to_owned()),
            predicted: Some("Iris-setosa, or so".to_owned()),
            value: "{\"a\": \"\u{1f33c}\"}".to_owned(),
            ..FeedbackRow::default()
        }
    }

    fn rows(
        count: i64,
        and_then: Option<ReadError>,
    ) -> impl Stream<Item = Result<FeedbackRow, ReadError>> {
        let rows = (0..count).map(|offset| Ok(row(offset)));
        stream::iter(rows.chain(and_then.map(Err)))
    }

    #[tokio::test]
    async fn an_export_as_json_is_one_array_with_any_number_of_rows() {
        for count in 0..3 {
            let mut out = Vec::new();
            write_json(rows(count, None), &mut out).await.unwrap();
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let expected: Vec<FeedbackRow> = (0..count).map(row).collect();
            assert_eq!(json, serde_json::to_value(expected).unwrap());
        }
    }

    #[tokio::test]
    async fn an_export_of_an_empty_store_as_csv_is_the_header_line() {
        let mut out = Vec::new();
        write_csv(rows(0, None), &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "source_topic,source_partition,source_offset,created_ms,record_id,label,predicted,model_version,\
             input_partition,input_offset,votes,value,problem\n"
        );
    }

    #[tokio::test]
    async fn an_export_as_csv_has_a_header_and_quotes_fields() {
        let mut out = Vec::new();
        write_csv(rows(2, None), &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        let header = csv.headers().unwrap().clone();
        let read: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        assert_eq!(read.len(), 2, "{text}");
        let field = |name: &str| {
            let column = header.iter().position(|column| column == name).unwrap();
            &read[1][column]
        };
        assert_eq!(field("source_offset"), "1");
        assert_eq!(field("predicted"), "Iris-setosa, or so");
        assert_eq!(field("value"), row(1).value);
        assert_eq!(field("label"), "");
    }

    #[tokio::test]
    async fn an_export_fails_if_the_store_fails_midway() {
        let broken = || {
            Some(ReadError::NoAnswer {
                store: "sqlite://x".to_owned(),
                timeout: Duration::from_secs(3),
            })
        };
        let mut out = Vec::new();
        assert!(write_csv(rows(1, broken()), &mut out).await.is_err());
        assert!(write_json(rows(1, broken()), &mut out).await.is_err());
    }

    #[test]
    fn a_table_marks_missing_values() {
        let shown = table(&[row(5)]).to_string();
        let cells: Vec<&str> = shown.lines().nth(1).unwrap().split("  ").collect();
        let cells: Vec<&str> = cells
            .iter()
            .map(|cell| cell.trim())
            .filter(|cell| !cell.is_empty())
            .collect();
        assert_eq!(cells, ["7", "-", "Iris-setosa, or so", "-", "-", "0", "5"]);
    }
}
