//! Reads a CSV file under a schema; the whole file is checked before any row is used.
//!
//! Accepts a byte-order mark, CRLF, quoted fields, blank lines and spaces around numbers. Rejects everything else that could
//! change the meaning of a row, with line and column. The caller reads the file.

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use crate::cell::{self, CellType, finite};
use crate::model::TrainingSet;
use crate::schema::Schema;

/// An error in a CSV file. Lines count from 1 and include the header.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file has no header.
    #[error("the file is empty: expected a header line with the columns {0}")]
    Empty(String),
    /// The file has a header but no rows.
    #[error("line 1: a header but no rows below it")]
    NoRows,
    /// The header lacks a column of the schema.
    #[error("line 1: the header has no column `{column}`: it has {found}")]
    MissingColumn {
        /// The missing column.
        column: String,
        /// The columns of the header.
        found: String,
    },
    /// The header names a column twice.
    #[error("line 1: the header names the column `{0}` twice")]
    DuplicateColumn(String),
    /// A row has more or fewer fields than the header.
    #[error("line {line}: {found} fields, but the header has {expected}")]
    Ragged {
        /// Where the row starts.
        line: u64,
        /// Fields in the header.
        expected: u64,
        /// Fields in the row.
        found: u64,
    },
    /// A feature's cell is not a finite number.
    #[error("line {line}, column `{column}`: `{cell}` is not a finite number")]
    NotANumber {
        /// Where the row starts.
        line: u64,
        /// The feature's column.
        column: String,
        /// The cell's text.
        cell: String,
    },
    /// A row has no label.
    #[error("line {line}, column `{column}`: the label is empty")]
    EmptyLabel {
        /// Where the row starts.
        line: u64,
        /// The label's column.
        column: String,
    },
    /// A cell is not UTF-8.
    #[error("line {line}, field {field}: not valid UTF-8")]
    NotUtf8 {
        /// Where the row starts.
        line: u64,
        /// The field's position in the row, from 1.
        field: usize,
    },
    /// The CSV parser failed.
    #[error("reading failed")]
    Read(#[source] csv::Error),
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The rows of a CSV file, all checked against the schema.
#[derive(Clone, Debug)]
pub struct Dataset {
    schema: Schema,
    columns: Vec<String>,
    types: Vec<CellType>,
    rows: Vec<StringRecord>,
    features: Vec<f64>,
    label_column: usize,
}

impl Dataset {
    /// Parses and checks the text of a CSV file.
    ///
    /// # Errors
    /// The first [`DatasetError`] in the file's order.
    pub fn parse(csv: &[u8], schema: &Schema) -> Result<Self, DatasetError> {
        let csv = csv.strip_prefix(BYTE_ORDER_MARK).unwrap_or(csv);
        let mut reader = ReaderBuilder::new().from_reader(csv);
        let columns = Columns::find(header(&mut reader, schema)?, schema)?;
        let (mut rows, mut features) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let row = record.map_err(|error| DatasetError::from_csv(error, csv))?;
            columns.check(&row, line(csv, row.position()), &mut features)?;
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(DatasetError::NoRows);
        }
        Ok(Self {
            schema: schema.clone(),
            types: columns.types(&rows),
            columns: columns.names,
            rows,
            features,
            label_column: columns.label,
        })
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows; false for every parsed dataset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the features of a row, in the schema's order.
    #[must_use]
    pub fn features(&self, row: usize) -> &[f64] {
        let width = self.schema.features.len();
        &self.features[row * width..][..width]
    }

    /// Returns the label of a row.
    #[must_use]
    pub fn label(&self, row: usize) -> &str {
        &self.rows[row][self.label_column]
    }

    /// Returns the text of a cell; `None` if there is no such column.
    #[must_use]
    pub fn cell(&self, row: usize, column: &str) -> Option<&str> {
        let position = self.columns.iter().position(|name| name == column)?;
        self.rows[row].get(position)
    }

    /// Returns the names of all columns, in the file's order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns a row as one compact JSON object, its keys in column order.
    ///
    /// Features are floating-point numbers, the label is a string. Any other column has one type, as in a data frame:
    /// integers if every cell is an integer, else numbers if every cell is a number, else strings.
    #[must_use]
    pub fn to_json(&self, row: usize) -> Vec<u8> {
        let cells = self
            .types
            .iter()
            .zip(&self.rows[row])
            .map(|(cell_type, cell)| cell_type.value(cell));
        cell::object(self.columns.iter().zip(cells))
    }

    /// Returns the given rows, in the given order, as a training set.
    #[must_use]
    pub fn training_set(&self, rows: &[usize]) -> TrainingSet {
        TrainingSet::new(
            self.schema.clone(),
            rows.iter()
                .map(|&row| (self.features(row), self.label(row))),
        )
    }
}

/// The columns of the file, and the positions of those that the schema names.
struct Columns {
    names: Vec<String>,
    features: Vec<usize>,
    label: usize,
}

impl Columns {
    /// Finds the schema's columns in the header.
    fn find(names: Vec<String>, schema: &Schema) -> Result<Self, DatasetError> {
        let position = |name: &String| {
            names
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| DatasetError::MissingColumn {
                    column: name.clone(),
                    found: quoted(&names),
                })
        };
        let features = schema
            .features
            .iter()
            .map(position)
            .collect::<Result<_, _>>()?;
        position(&schema.id)?;
        let label = position(&schema.label)?;
        Ok(Self {
            names,
            features,
            label,
        })
    }

    /// Checks a row and appends its features.
    fn check(
        &self,
        row: &StringRecord,
        line: u64,
        features: &mut Vec<f64>,
    ) -> Result<(), DatasetError> {
        for &column in &self.features {
            let number = finite(&row[column]).ok_or_else(|| DatasetError::NotANumber {
                line,
                column: self.names[column].clone(),
                cell: row[column].to_owned(),
            })?;
            features.push(number);
        }
        if row[self.label].is_empty() {
            let column = self.names[self.label].clone();
            return Err(DatasetError::EmptyLabel { line, column });
        }
        Ok(())
    }

    /// Returns the type of each column.
    fn types(&self, rows: &[StringRecord]) -> Vec<CellType> {
        let type_of = |column| {
            if self.features.contains(&column) {
                CellType::Float
            } else if column == self.label {
                CellType::Text
            } else {
                CellType::infer(rows.iter().map(|row| &row[column]))
            }
        };
        (0..self.names.len()).map(type_of).collect()
    }
}

/// Reads the header; its column names are trimmed and distinct.
fn header(reader: &mut csv::Reader<&[u8]>, schema: &Schema) -> Result<Vec<String>, DatasetError> {
    let header = reader
        .headers()
        .map_err(|error| DatasetError::from_csv(error, b""))?;
    let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    if columns.is_empty() {
        let expected = [
            std::slice::from_ref(&schema.id),
            &schema.features,
            std::slice::from_ref(&schema.label),
        ];
        return Err(DatasetError::Empty(quoted(&expected.concat())));
    }
    match columns
        .iter()
        .enumerate()
        .find(|(position, name)| columns[..*position].contains(name))
    {
        Some((_, name)) => Err(DatasetError::DuplicateColumn(name.clone())),
        None => Ok(columns),
    }
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the line, from 1, on which a row starts. The parser counts from the blank lines before the row.
fn line(csv: &[u8], position: Option<&csv::Position>) -> u64 {
    let start = position
        .and_then(|position| usize::try_from(position.byte()).ok())
        .unwrap_or(0);
    let blank = csv[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    1 + csv[..start + blank]
        .iter()
        .map(|&byte| u64::from(byte == b'\n'))
        .sum::<u64>()
}

impl DatasetError {
    fn from_csv(error: csv::Error, csv: &[u8]) -> Self {
        match error.kind() {
            ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => Self::Ragged {
                line: line(csv, pos.as_ref()),
                expected: *expected_len,
                found: *len,
            },
            ErrorKind::Utf8 { pos, err } => Self::NotUtf8 {
                line: line(csv, pos.as_ref()),
                field: err.field() + 1,
            },
            _ => Self::Read(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn error(csv: &[u8]) -> String {
        read(csv).unwrap_err().to_string()
    }

    #[test]
    fn a_row_becomes_json_in_column_order_and_each_column_has_one_type() {
        let dataset =
            read(b"note,id,b,a,kind,mixed\nx y,1,2,0.5,7,1\n,2, 3.25 ,1e-3,8,2.5\n").unwrap();
        assert_eq!(dataset.features(0), [0.5, 2.0]);
        assert_eq!(
            String::from_utf8(dataset.to_json(0)).unwrap(),
            r#"{"note":"x y","id":1,"b":2.0,"a":0.5,"kind":"7","mixed":1.0}"#
        );
        assert_eq!(
            String::from_utf8(dataset.to_json(1)).unwrap(),
            r#"{"note":"","id":2,"b":3.25,"a":0.001,"kind":"8","mixed":2.5}"#
        );
    }

    #[test]
    fn a_byte_order_mark_crlf_quotes_and_blank_lines_are_accepted() {
        let dataset =
            read(b"\xef\xbb\xbfid,a,b,kind\r\n\r\n1,\"2\",3,\"red, \"\"dark\"\"\"\r\n").unwrap();
        assert_eq!(dataset.len(), 1);
        assert_eq!(dataset.features(0), [2.0, 3.0]);
        assert_eq!(dataset.label(0), "red, \"dark\"");
        assert_eq!(dataset.cell(0, "id"), Some("1"));
    }

    #[test]
    fn each_error_names_the_line_and_the_column() {
        assert_eq!(
            error(b""),
            "the file is empty: expected a header line with the columns `id`, `a`, `b`, `kind`"
        );
        assert_eq!(
            error(b"id,a,b,kind\n"),
            "line 1: a header but no rows below it"
        );
        assert_eq!(
            error(b"id,a,c,kind\n1,2,3,x\n"),
            "line 1: the header has no column `b`: it has `id`, `a`, `c`, `kind`"
        );
        assert_eq!(
            error(b"id,a,b,kind,a\n"),
            "line 1: the header names the column `a` twice"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,3,x\n\n2,3,4\n"),
            "line 4: 3 fields, but the header has 4"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,3,x\n2,tall,3,x\n"),
            "line 3, column `a`: `tall` is not a finite number"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,NaN,x\n"),
            "line 2, column `b`: `NaN` is not a finite number"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,1e999,x\n"),
            "line 2, column `b`: `1e999` is not a finite number"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,,x\n"),
            "line 2, column `b`: `` is not a finite number"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,3,\n"),
            "line 2, column `kind`: the label is empty"
        );
        assert_eq!(
            error(b"id,a,b,kind\n1,2,3,\xff\n"),
            "line 2, field 4: not valid UTF-8"
        );
    }
}
