//! The SQL statements on the table of feedback.

use crate::connection::Database;
use crate::row::FeedbackRow;

/// The order of creation. Rows created in the same millisecond are ordered by topic, partition and offset.
pub(crate) const OLDEST_FIRST: &str =
    "ORDER BY created_ms, source_topic, source_partition, source_offset";

/// The reverse order.
pub(crate) const NEWEST_FIRST: &str =
    "ORDER BY created_ms DESC, source_topic DESC, source_partition DESC, source_offset DESC";

/// Selects the row of the record at `$3` in partition `$2` of topic `$1`.
pub(crate) const AT_SOURCE: &str =
    "WHERE source_topic = $1 AND source_partition = $2 AND source_offset = $3";

/// Selects rows with a text column that matches the LIKE pattern `$1`, in any case; `!` escapes a character.
pub(crate) const MATCHES: &str = "WHERE LOWER(COALESCE(record_id, '') || ' ' || COALESCE(label, '') || ' ' || \
     COALESCE(predicted, '') || ' ' || COALESCE(model_version, '') || ' ' || COALESCE(value, '') || ' ' || COALESCE(problem, '')) LIKE $1 ESCAPE '!'";

/// Counts the rows.
pub(crate) const COUNT: &str = "SELECT COUNT(*) FROM feedback";

/// Reads the offsets of topic `$1`.
pub(crate) const OFFSETS: &str =
    "SELECT source_partition, next_offset FROM feedback_offsets WHERE source_topic = $1";

/// Adds the offset `$3` of partition `$2` of topic `$1`, unless the partition has one.
pub(crate) const INSERT_OFFSET: &str = "INSERT INTO feedback_offsets (source_topic, source_partition, next_offset) \
     VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

/// Changes the offset of partition `$2` of topic `$1` from `$4` to `$3`.
pub(crate) const MOVE_OFFSET: &str = "UPDATE feedback_offsets SET next_offset = $3 \
     WHERE source_topic = $1 AND source_partition = $2 AND next_offset = $4";

/// Returns a SELECT of all columns with the given clauses.
pub(crate) fn select(clauses: &str) -> String {
    let columns = FeedbackRow::COLUMNS.join(", ");
    format!("SELECT {columns} FROM feedback {clauses}")
}

/// Returns an INSERT of `rows` rows.
///
/// PostgreSQL requires numbered parameters. In SQLite a number makes a parameter a named one, and the driver compares each
/// name with all names before it, which takes longer than the rest of the statement; so parameters have no number there.
pub(crate) fn insert(rows: usize, database: Database) -> String {
    let width = FeedbackRow::COLUMNS.len();
    let row = |row: usize| {
        let first = row * width + 1;
        let parameter = |number: usize| match database {
            Database::Sqlite => "?".to_owned(),
            Database::Postgres => format!("${number}"),
        };
        let values: Vec<String> = (first..first + width).map(parameter).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    let columns = FeedbackRow::COLUMNS.join(", ");
    format!(
        "INSERT INTO feedback ({columns}) VALUES {}",
        rows.join(", ")
    )
}

/// Returns the pattern of [`MATCHES`] for texts that contain `text`.
pub(crate) fn contains(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_has_a_parameter_for_each_value_in_the_syntax_of_the_database() {
        let postgres = insert(2, Database::Postgres);
        assert!(
            postgres.starts_with("INSERT INTO feedback (source_topic, source_partition, "),
            "{postgres}"
        );
        assert!(
            postgres.ends_with(
                "$12, $13), ($14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)"
            ),
            "{postgres}"
        );
        let sqlite = insert(2, Database::Sqlite);
        assert_eq!(sqlite.matches('?').count(), 26);
        assert!(!sqlite.contains('$'), "{sqlite}");
    }

    #[test]
    fn a_search_escapes_wildcards_and_ignores_case() {
        assert_eq!(contains("50%_Off!"), "%50!%!_off!!%");
        assert_eq!(contains(""), "%%");
    }
}
