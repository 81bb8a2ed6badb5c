//! Reads a CSV file under a schema; the whole file is checked before any row is used.
//!
//! Accepts a byte-order mark, any line ending, quoted fields, blank lines, and blanks around column names and features.
//! Every other cell keeps its text, blanks included. Rejects everything else that could change the meaning of a row, with
//! line and column. The caller reads the file.

mod columns;
mod error;
mod file;
mod layout;

use csv::{ReaderBuilder, StringRecord};

use crate::cell;
use crate::schema::Schema;
use crate::split::{self, Split, SplitError};
use crate::training_set::TrainingSet;
use columns::Columns;
pub use error::DatasetError;
use file::File;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The delimiter of a comma-separated file.
const COMMA: u8 = b',';

/// Rows between two looks at whether reading is to stop.
const STOP_STRIDE: usize = 1_024;

/// The rows of a CSV file, all checked against the schema. A row takes the bytes of its text, 4 more per cell and 8 per
/// feature.
#[derive(Clone, Debug)]
pub struct Dataset {
    schema: Schema,
    columns: Vec<String>,
    /// For each column how its cells become JSON.
    kinds: Vec<ColumnKind>,
    /// The text of all cells, row by row.
    text: String,
    /// For each cell the offset of its end in `text`.
    ends: Vec<u32>,
    features: Vec<f64>,
    label_column: usize,
    rows: usize,
}

/// How the cells of a column become JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnKind {
    /// The feature at this position of the schema: a floating-point number.
    Feature(usize),
    /// Numbers as they are written.
    Number,
    /// Strings.
    Text,
}

impl Dataset {
    /// The size of the largest file that can be read: 4 GiB.
    pub const MAX_BYTES: u64 = u32::MAX as u64;

    /// Parses and checks the text of a comma-separated file.
    ///
    /// # Errors
    /// The first [`DatasetError`].
    pub fn parse(csv: &[u8], schema: &Schema) -> Result<Self, DatasetError> {
        Self::parse_delimited(csv, schema, COMMA, &|| false)
    }

    /// Parses and checks the text of a file with this delimiter, an ASCII character. Asks `is_stopped` now and then whether
    /// to stop.
    ///
    /// # Errors
    /// The first [`DatasetError`].
    pub fn parse_delimited(
        csv: &[u8],
        schema: &Schema,
        delimiter: u8,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Self, DatasetError> {
        if csv.len() as u64 > Self::MAX_BYTES {
            return Err(DatasetError::TooLarge);
        }
        layout::check_encoding(csv)?;
        let csv = csv.strip_prefix(BYTE_ORDER_MARK).unwrap_or(csv);
        if let Some(separator) = layout::separator_hint(csv) {
            return Err(DatasetError::SeparatorHint(separator));
        }
        let file = File { csv, delimiter };
        let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(csv);
        let columns = file.columns(&mut reader, schema)?;
        file.check_text(&columns, is_stopped)?;
        file.check_lines_of_header(&columns, reader.position().byte())?;
        let mut dataset = Self {
            schema: schema.clone(),
            kinds: Vec::new(),
            text: String::with_capacity(csv.len()),
            ends: Vec::new(),
            features: Vec::new(),
            label_column: columns.label,
            columns: Vec::new(),
            rows: 0,
        };
        let mut row = StringRecord::new();
        while reader
            .read_record(&mut row)
            .map_err(|error| file.parser_error(&error))?
        {
            if dataset.rows.is_multiple_of(STOP_STRIDE) && is_stopped() {
                return Err(DatasetError::Stopped);
            }
            file.check_lines(&columns, &row, reader.position().byte())?;
            dataset.push(&row)?;
            columns
                .features(|column| &row[column], &mut dataset.features)
                .map_err(|error| file.not_a_number(&columns, &row, &error))?;
        }
        if dataset.rows == 0 {
            return Err(DatasetError::NoRows);
        }
        dataset.kinds = dataset.kinds(&columns);
        if is_stopped() {
            return Err(DatasetError::Stopped);
        }
        dataset.columns = columns.names;
        Ok(dataset)
    }

    /// Appends the cells of a row.
    fn push(&mut self, row: &StringRecord) -> Result<(), DatasetError> {
        for cell in row {
            self.text.push_str(cell);
            let end = u32::try_from(self.text.len()).map_err(|_| DatasetError::TooLarge)?;
            self.ends.push(end);
        }
        self.rows += 1;
        Ok(())
    }

    /// Returns how the cells of each column become JSON.
    fn kinds(&self, columns: &Columns) -> Vec<ColumnKind> {
        let width = columns.names.len();
        let kind = |column| {
            let is_here = |&feature: &usize| feature == column;
            match columns.features.iter().position(is_here) {
                Some(feature) => ColumnKind::Feature(feature),
                None if column == columns.label => ColumnKind::Text,
                None if (0..self.rows)
                    .all(|row| cell::is_exact_number(self.text_at(row * width + column))) =>
                {
                    ColumnKind::Number
                }
                None => ColumnKind::Text,
            }
        };
        (0..width).map(kind).collect()
    }

    /// Returns the text of a cell by its position among all cells.
    fn text_at(&self, cell: usize) -> &str {
        let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[cell] as usize]
    }

    fn at(&self, row: usize, column: usize) -> &str {
        self.text_at(row * self.columns.len() + column)
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns whether there are no rows; false for every parsed dataset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the features of a row, in the schema's order.
    #[must_use]
    pub fn features(&self, row: usize) -> &[f64] {
        let width = self.schema.features.len();
        &self.features[row * width..][..width]
    }

    /// Returns the label of a row; `None` if it is empty or blank.
    #[must_use]
    pub fn label(&self, row: usize) -> Option<&str> {
        let label = self.at(row, self.label_column);
        (!label.trim().is_empty()).then_some(label)
    }

    /// Returns the rows that have a label, in the file's order.
    #[must_use]
    pub fn labelled_rows(&self) -> Vec<usize> {
        (0..self.rows)
            .filter(|&row| self.label(row).is_some())
            .collect()
    }

    /// Returns the text of a cell; `None` if there is no such column.
    #[must_use]
    pub fn cell(&self, row: usize, column: &str) -> Option<&str> {
        let position = self.columns.iter().position(|name| name == column)?;
        Some(self.at(row, position))
    }

    /// Returns the names of all columns, in the file's order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns a row as one compact JSON object, its keys in column order.
    ///
    /// Features are floating-point numbers and the label is a string. Another column is numbers, as they are written, if a
    /// JSON parser returns every one of its cells unchanged; otherwise it is strings. So two cells that differ in the file
    /// differ in the record.
    #[must_use]
    pub fn to_json(&self, row: usize) -> Vec<u8> {
        let mut json = Vec::new();
        self.write_json(row, &mut json);
        json
    }

    /// Appends a row to `json`, as [`to_json`](Self::to_json) returns it.
    pub fn write_json(&self, row: usize, json: &mut Vec<u8>) {
        let mut separator = b'{';
        for (column, (name, kind)) in self.columns.iter().zip(&self.kinds).enumerate() {
            json.push(separator);
            separator = b',';
            cell::write_string(name, json);
            json.push(b':');
            match *kind {
                ColumnKind::Feature(feature) => {
                    cell::write_number(self.features(row)[feature], json);
                }
                ColumnKind::Number => json.extend_from_slice(self.at(row, column).as_bytes()),
                ColumnKind::Text => cell::write_string(self.at(row, column), json),
            }
        }
        json.push(b'}');
    }

    /// Splits the rows that have a label into rows to train on and rows to hold out, as
    /// [`train_test_split`](split::train_test_split) does.
    ///
    /// # Errors
    /// [`SplitError`] if the share is not in (0, 1) or one of the sides would be empty.
    pub fn split(&self, test_size: f64, random_state: u32) -> Result<Split, SplitError> {
        let labelled = self.labelled_rows();
        let mut split = split::train_test_split(labelled.len(), test_size, random_state)?;
        for row in split.train.iter_mut().chain(&mut split.test) {
            *row = labelled[*row];
        }
        Ok(split)
    }

    /// Returns the features and the label of each given row, in the given order. Rows without a label are left out.
    pub fn examples<'a>(
        &'a self,
        rows: &'a [usize],
    ) -> impl Iterator<Item = (&'a [f64], &'a str)> + Clone {
        rows.iter()
            .filter_map(|&row| Some((self.features(row), self.label(row)?)))
    }

    /// Returns the [examples](Self::examples) of the given rows as a training set.
    #[must_use]
    pub fn training_set(&self, rows: &[usize]) -> TrainingSet {
        TrainingSet::new(self.schema.clone(), self.examples(rows))
    }
}

#[cfg(test)]
mod tests;
