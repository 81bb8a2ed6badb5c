//! Tables for people.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use crate::printable::printable;

/// A table without borders. Control characters in its cells are escaped, so that each row is one line.
#[derive(Clone, Debug)]
pub struct TextTable(Table);

impl TextTable {
    /// Returns a table with a header and no rows.
    #[must_use]
    pub fn new<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header);
        Self(table)
    }

    /// Adds a row; cells that are missing at its end are empty.
    pub fn add_row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let cells = cells.into_iter();
        self.0
            .add_row(cells.map(|cell| printable(cell.as_ref()).into_owned()));
    }

    /// Aligns a column, counted from 0, to the right, as numbers are.
    pub fn align_right(&mut self, column: usize) {
        if let Some(column) = self.0.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_row_is_one_line(cells in proptest::collection::vec(any::<String>(), 1..3)) {
            let mut table = TextTable::new(["a", "b", "c"]);
            table.add_row(&cells);
            table.add_row(["x"]);
            let shown = table.to_string();
            prop_assert_eq!(shown.lines().count(), 3, "{}", shown);
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown);
        }
    }
}
