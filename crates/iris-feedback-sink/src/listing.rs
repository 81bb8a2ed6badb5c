//! Showing what is stored.

use std::io::{self, BufWriter, Write, stdout};
use std::pin::pin;

use comfy_table::{Table, presets};
use futures_util::TryStreamExt;

use crate::args::{Command, Format};
use crate::feedback::Feedback;
use crate::store::Store;

/// Carries out a command.
///
/// # Errors
/// If the store fails or standard output cannot be written.
pub async fn run(command: &Command, store: &Store) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match *command {
        Command::List { limit, json } => {
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
        Command::Export {
            format: Format::Csv,
        } => {
            let mut csv = csv::Writer::from_writer(&mut out);
            let mut rows = pin!(store.all());
            while let Some(row) = rows.try_next().await? {
                csv.serialize(row).map_err(io::Error::from)?;
            }
            csv.flush()?;
        }
        Command::Export {
            format: Format::Json,
        } => {
            let mut rows = pin!(store.all());
            let mut separator = "[\n";
            while let Some(row) = rows.try_next().await? {
                write!(out, "{separator}{}", serde_json::to_string(&row)?)?;
                separator = ",\n";
            }
            writeln!(out, "{}", if separator == "[\n" { "[]" } else { "\n]" })?;
        }
    }
    out.flush()?;
    Ok(())
}

fn table(rows: &[Feedback]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
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
