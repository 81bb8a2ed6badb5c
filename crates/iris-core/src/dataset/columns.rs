//! The columns of a CSV file, and the meaning that the schema gives them.

use super::error::DatasetError;
use super::layout;
use crate::cell::finite;
use crate::schema::Schema;

/// The columns of the file, and the positions of those that the schema names.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    /// The positions of the features, in the schema's order.
    pub(super) features: Vec<usize>,
    pub(super) label: usize,
}

/// A feature's cell that is not a finite number.
pub(super) struct NotANumber {
    pub(super) column: usize,
}

impl Columns {
    /// Finds the schema's columns in a header.
    pub(super) fn find<'a>(
        header: impl Iterator<Item = &'a str>,
        schema: &Schema,
        delimiter: u8,
    ) -> Result<Self, DatasetError> {
        let names: Vec<String> = header.map(|name| name.trim().to_owned()).collect();
        let wanted = || {
            [&schema.id]
                .into_iter()
                .chain(&schema.features)
                .chain([&schema.label])
        };
        if names.iter().all(String::is_empty) {
            return Err(DatasetError::Empty(quoted(wanted())));
        }
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) && !name.is_empty() {
                return Err(DatasetError::DuplicateColumn(name.clone()));
            }
        }
        for name in wanted() {
            if !names.contains(name) {
                return Err(DatasetError::MissingColumn {
                    column: name.clone(),
                    found: quoted(names.iter()),
                    hint: hint(name, &names, delimiter),
                });
            }
        }
        if let Some(position) = names.iter().position(String::is_empty) {
            return Err(DatasetError::UnnamedColumn {
                position: position + 1,
            });
        }
        let position = |name: &String| names.iter().position(|found| found == name).unwrap_or(0);
        let features = schema.features.iter().map(position).collect();
        let label = position(&schema.label);
        Ok(Self {
            names,
            features,
            label,
        })
    }

    /// Reads the features of a row and appends them.
    pub(super) fn features<'a>(
        &self,
        cell: impl Fn(usize) -> &'a str,
        features: &mut Vec<f64>,
    ) -> Result<(), NotANumber> {
        for &column in &self.features {
            features.push(finite(cell(column)).ok_or(NotANumber { column })?);
        }
        Ok(())
    }

    /// Returns whether a line is a row by itself, regardless of quotes: it has as many fields as the header, and its features are
    /// numbers.
    pub(super) fn is_row(&self, line: &[u8], delimiter: u8) -> bool {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == delimiter).collect();
        let is_number = |&column: &usize| {
            let field = std::str::from_utf8(fields[column]).unwrap_or_default();
            finite(field.trim_matches('"')).is_some()
        };
        fields.len() == self.names.len() && self.features.iter().all(is_number)
    }

    /// Returns a column as an error names it, by the position of its field from 1.
    pub(super) fn named(&self, field: usize) -> String {
        match self.names.get(field - 1) {
            Some(name) => format!("column `{}`", name.escape_debug()),
            None => format!("field {field}"),
        }
    }
}

/// Returns the likely reason why the header lacks a column.
fn hint(missing: &str, names: &[String], delimiter: u8) -> String {
    let header = names.join(&char::from(delimiter).to_string());
    if let Some(delimiter) = layout::likely_delimiter(&header, delimiter) {
        let delimiter = char::from(delimiter).escape_default();
        return format!("; the file looks separated by `{delimiter}`: set dataset.delimiter to it");
    }
    let same = names.iter().find(|name| name.eq_ignore_ascii_case(missing));
    same.map_or_else(String::new, |name| {
        format!("; `{name}` differs in the case of its letters")
    })
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = names
        .map(|name| format!("`{}`", name.escape_debug()))
        .collect();
    names.join(", ")
}
