//! Writes the tables of a session into docs/CAPACITY.md, between marks.

use super::results::ScaleSummary;
use super::tables;

/// The document, in the workspace.
pub const PATH: &str = "docs/CAPACITY.md";

/// The results that its tables were written from, in the workspace.
pub const RESULTS: &str = "bench/results/scale.json";

/// The end of every table in the document.
const END: &str = "<!-- end of the table -->";

/// Returns the tables with their names.
fn named(summary: &ScaleSummary) -> [(&'static str, String); 9] {
    [
        ("session", tables::session(summary)),
        ("parts", tables::parts(summary)),
        ("deployments", tables::deployments(summary)),
        ("transactions", tables::transactions(summary)),
        ("processors", tables::processors(summary)),
        ("memory", tables::memory(summary)),
        ("workers", tables::workers(summary)),
        ("cluster", tables::cluster(summary)),
        ("trainer", tables::trainer(summary)),
    ]
}

/// Returns all tables that have rows, each below its name.
#[must_use]
pub fn tables(summary: &ScaleSummary) -> String {
    named(summary)
        .into_iter()
        .filter(|(_, table)| !table.is_empty())
        .map(|(name, table)| format!("{name}:\n\n{table}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the document with the tables of a session; `None` if it lacks the marks of one.
#[must_use]
pub fn with_tables(text: &str, summary: &ScaleSummary) -> Option<String> {
    let mut text = text.to_owned();
    for (name, table) in named(summary) {
        let mark = format!("<!-- table: {name} -->\n");
        let (before, after) = text.split_once(&mark)?;
        let (_, rest) = after.split_once(END)?;
        text = format!("{before}{mark}\n{table}\n{END}{rest}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use iris_testkit::workspace;

    use super::*;

    #[test]
    fn the_document_has_the_tables_of_the_stored_results() {
        let read = |path| std::fs::read_to_string(workspace().join(path)).unwrap();
        let summary: ScaleSummary = serde_json::from_str(&read(RESULTS)).unwrap();
        let document = read(PATH);
        let written = with_tables(&document, &summary).unwrap();
        assert!(
            written == document,
            "{PATH} differs from {RESULTS}: run `target/release/bench-scale document`"
        );
    }

    #[test]
    fn a_document_without_marks_is_refused() {
        assert_eq!(with_tables("# Capacity\n", &ScaleSummary::default()), None);
    }

    #[test]
    fn tables_are_written_between_their_marks() {
        let empty: String = named(&ScaleSummary::default())
            .iter()
            .map(|(name, _)| format!("<!-- table: {name} -->\nold\n{END}\n"))
            .collect();
        let written = with_tables(&empty, &ScaleSummary::default()).unwrap();
        assert!(
            !written.contains("old") && written.contains("Not measured yet"),
            "{written}"
        );
        assert_eq!(
            with_tables(&written, &ScaleSummary::default()),
            Some(written)
        );
    }
}
