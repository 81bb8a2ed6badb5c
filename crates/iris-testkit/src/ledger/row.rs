//! The rows of the iris dataset, read without the code under test.

use std::fs;

use anyhow::{Context, bail};

use crate::workspace::dataset;

/// A row of the iris dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The row's id.
    pub id: String,
    /// The record's value: a JSON object with the numbers as in the file.
    pub value: Vec<u8>,
    /// The measurements.
    pub features: [f64; 4],
    /// The class, if the record has one.
    pub label: Option<String>,
}

impl Row {
    /// Returns all rows, in the file's order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn iris() -> anyhow::Result<Vec<Self>> {
        let path = dataset("iris.csv");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().context("no header")?.split(',').collect();
        lines.map(|line| Self::parse(&names, line)).collect()
    }

    fn parse(names: &[&str], line: &str) -> anyhow::Result<Self> {
        let cells: Vec<&str> = line.split(',').collect();
        let &[id, first, second, third, fourth, label] = cells.as_slice() else {
            bail!("not a row of the iris dataset: {line}");
        };
        let mut features = [0.0; 4];
        for (feature, cell) in features.iter_mut().zip([first, second, third, fourth]) {
            *feature = cell.parse()?;
        }
        let members: Vec<String> = names
            .iter()
            .zip(&cells)
            .map(|(name, cell)| {
                if *cell == label {
                    format!("\"{name}\":\"{cell}\"")
                } else {
                    format!("\"{name}\":{cell}")
                }
            })
            .collect();
        Ok(Self {
            id: id.to_owned(),
            value: format!("{{{}}}", members.join(",")).into_bytes(),
            features,
            label: Some(label.to_owned()),
        })
    }

    /// Returns the row as a record without a label.
    #[must_use]
    pub fn without_label(mut self) -> Self {
        let label = self.value.iter().rposition(|&byte| byte == b',');
        self.value.truncate(label.unwrap_or_default());
        self.value.push(b'}');
        self.label = None;
        self
    }
}
