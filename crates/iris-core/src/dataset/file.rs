//! The checks of a file's rows before their cells have a meaning, and the errors with their places.

use csv::{ErrorKind, StringRecord};

use super::columns::{Columns, NotANumber};
use super::error::DatasetError;
use super::layout::{self, LayoutError};
use crate::cell;
use crate::schema::Schema;

/// The bytes of a file without a byte-order mark, and their delimiter.
pub(super) struct File<'a> {
    pub(super) csv: &'a [u8],
    pub(super) delimiter: u8,
}

impl File<'_> {
    /// Reads the header.
    pub(super) fn columns(
        &self,
        reader: &mut csv::Reader<&[u8]>,
        schema: &Schema,
    ) -> Result<Columns, DatasetError> {
        let header = reader
            .byte_headers()
            .map_err(|error| self.parser_error(&error))?;
        let names: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        Columns::find(names.iter().map(String::as_str), schema, self.delimiter)
    }

    /// Checks that the file is UTF-8 and that its quotes are in order.
    pub(super) fn check_text(
        &self,
        columns: &Columns,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), DatasetError> {
        if let Err(error) = std::str::from_utf8(self.csv) {
            let place = layout::place_of(self.csv, self.delimiter, error.valid_up_to());
            return Err(DatasetError::NotUtf8 {
                line: place.line,
                column: columns.named(place.field),
            });
        }
        let checked = layout::check_quotes(self.csv, self.delimiter, is_stopped);
        checked.map_err(|error| match error {
            LayoutError::Stopped => DatasetError::Stopped,
            LayoutError::UnclosedQuote(place) => DatasetError::UnclosedQuote {
                line: place.line,
                column: columns.named(place.field),
            },
            LayoutError::TextAfterQuote(place) => DatasetError::TextAfterQuote {
                line: place.line,
                column: columns.named(place.field),
            },
        })
    }

    /// Rejects a row that ends before the byte `end` and that has a quoted cell of several lines, each of which is a row by
    /// itself: its two quotes are stray quotes of different rows.
    pub(super) fn check_lines(
        &self,
        columns: &Columns,
        row: &StringRecord,
        end: u64,
    ) -> Result<(), DatasetError> {
        let has_break = |text: &str| text.bytes().any(|byte| matches!(byte, b'\r' | b'\n'));
        if !has_break(row.as_slice()) {
            return Ok(());
        }
        let start = row.position().map_or(0, csv::Position::byte);
        let lines = layout::lines(self.between(start, end));
        let field = row.iter().position(has_break).unwrap_or(0) + 1;
        self.check_rows(columns, lines, start, end, field)
    }

    /// Rejects a header that ends before the byte `end` and whose lines after the first are rows by themselves.
    pub(super) fn check_lines_of_header(
        &self,
        columns: &Columns,
        end: u64,
    ) -> Result<(), DatasetError> {
        let lines = layout::lines(self.between(0, end)).skip(1);
        let has_break = |name: &String| name.contains(['\r', '\n']);
        let field = columns.names.iter().position(has_break).unwrap_or(0) + 1;
        self.check_rows(columns, lines, 0, end, field)
    }

    /// Returns an error if there are lines and each of them is a row by itself.
    fn check_rows<'l>(
        &self,
        columns: &Columns,
        lines: impl Iterator<Item = &'l [u8]>,
        start: u64,
        end: u64,
        field: usize,
    ) -> Result<(), DatasetError> {
        let mut lines = lines.peekable();
        if lines.peek().is_none() || !lines.all(|line| columns.is_row(line, self.delimiter)) {
            return Ok(());
        }
        let last = self.position(start) + self.between(start, end).trim_ascii_end().len();
        Err(DatasetError::MergedRows {
            line: self.line_at(start),
            column: columns.named(field),
            closes: layout::place_of(self.csv, self.delimiter, last).line,
        })
    }

    /// Returns the bytes from `start` to `end`.
    fn between(&self, start: u64, end: u64) -> &[u8] {
        &self.csv[self.position(start)..self.position(end)]
    }

    pub(super) fn not_a_number(
        &self,
        columns: &Columns,
        row: &StringRecord,
        error: &NotANumber,
    ) -> DatasetError {
        let cell = &row[error.column];
        let has_decimal_comma =
            cell.contains(',') && cell::finite(&cell.replace(',', ".")).is_some();
        DatasetError::NotANumber {
            line: self.line(row.position()),
            column: columns.names[error.column].escape_debug().to_string(),
            cell: cell.escape_debug().to_string(),
            hint: if has_decimal_comma {
                ": write a decimal point instead of the comma"
            } else {
                ""
            },
        }
    }

    pub(super) fn parser_error(&self, error: &csv::Error) -> DatasetError {
        match error.kind() {
            ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => DatasetError::Ragged {
                line: self.line(pos.as_ref()),
                expected: *expected_len,
                found: *len,
                hint: if *len == expected_len + 1 {
                    ": is there a separator at the end of the line?"
                } else {
                    ""
                },
            },
            _ => DatasetError::Read(error.to_string()),
        }
    }

    fn line(&self, position: Option<&csv::Position>) -> u64 {
        self.line_at(position.map_or(0, csv::Position::byte))
    }

    fn line_at(&self, byte: u64) -> u64 {
        layout::line_of_row(self.csv, self.delimiter, self.position(byte))
    }

    /// Returns a byte as a position in the file, at most its length.
    fn position(&self, byte: u64) -> usize {
        let length = self.csv.len();
        usize::try_from(byte).map_or(length, |byte| byte.min(length))
    }
}
