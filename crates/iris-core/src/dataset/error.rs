//! The errors of a CSV file.

/// An error in a CSV file. Lines count from 1 and include the header; `\n`, `\r\n` and `\r` end a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// The file has no header.
    #[error("the file is empty: expected a header line with the columns {0}")]
    Empty(String),
    /// The file has a header but no rows.
    #[error("line 1: a header but no rows below it")]
    NoRows,
    /// The header lacks a column of the schema.
    #[error("line 1: the header has no column `{column}`: it has {found}{hint}")]
    MissingColumn {
        /// The missing column.
        column: String,
        /// The columns of the header.
        found: String,
        /// The likely cause, or nothing.
        hint: String,
    },
    /// The first line is the separator hint that Excel writes.
    #[error(
        "line 1: `sep={0}` is not a header: remove the line, and set dataset.delimiter to `{0}` if that is not it already"
    )]
    SeparatorHint(char),
    /// The header has a column without a name.
    #[error(
        "line 1: column {position} has no name: name it, or remove the separator at the end of the line"
    )]
    UnnamedColumn {
        /// The column's position, from 1.
        position: usize,
    },
    /// The header names a column twice.
    #[error("line 1: the header names the column `{0}` twice")]
    DuplicateColumn(String),
    /// A row has more or fewer fields than the header.
    #[error("line {line}: {found} fields, but the header has {expected}{hint}")]
    Ragged {
        /// The line on which the row starts.
        line: u64,
        /// Fields in the header.
        expected: u64,
        /// Fields in the row.
        found: u64,
        /// The likely cause, or nothing.
        hint: &'static str,
    },
    /// A quote is opened and not closed.
    #[error("line {line}, {column}: the quote that opens here is not closed")]
    UnclosedQuote {
        /// The line of the opening quote.
        line: u64,
        /// The column, by its name if it has one.
        column: String,
    },
    /// The lines of a quoted cell are rows: its two quotes are stray quotes of different rows.
    #[error(
        "line {line}, {column}: the quote that opens here closes on line {closes}, and the lines between are rows: remove both \
         quotes"
    )]
    MergedRows {
        /// The line of the opening quote.
        line: u64,
        /// The column, by its name if it has one.
        column: String,
        /// The line of the closing quote.
        closes: u64,
    },
    /// There is text between a closing quote and the end of the field.
    #[error(
        "line {line}, {column}: text after a closing quote: write a quote within a quoted field as two quotes"
    )]
    TextAfterQuote {
        /// The line of the closing quote.
        line: u64,
        /// The column, by its name if it has one.
        column: String,
    },
    /// A feature's cell is not a finite number.
    #[error("line {line}, column `{column}`: `{cell}` is not a finite number{hint}")]
    NotANumber {
        /// The line on which the row starts.
        line: u64,
        /// The feature's column.
        column: String,
        /// The cell's text, escaped.
        cell: String,
        /// The likely cause, or nothing.
        hint: &'static str,
    },
    /// The file has UTF-16 text.
    #[error("the file is UTF-16: save it as UTF-8 (in Excel: \"CSV UTF-8\")")]
    Utf16,
    /// A cell is not UTF-8.
    #[error("line {line}, {column}: not valid UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// The line of the first invalid byte.
        line: u64,
        /// The column, by its name if it has one.
        column: String,
    },
    /// The file is larger than [`Dataset::MAX_BYTES`](super::Dataset::MAX_BYTES).
    #[error("the file is larger than 4 GiB: split it")]
    TooLarge,
    /// The CSV parser failed.
    #[error("reading failed: {0}")]
    Read(String),
    /// Reading was stopped.
    #[error("stopped")]
    Stopped,
}
