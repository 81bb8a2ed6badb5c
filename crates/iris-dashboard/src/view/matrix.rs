//! The confusion matrix.

use std::collections::BTreeSet;

use askama::Template;
use iris_core::Confusion;

#[derive(Template)]
#[template(path = "matrix.html")]
struct MatrixView {
    classes: Vec<String>,
    rows: Vec<MatrixRow>,
}

struct MatrixRow {
    actual: String,
    cells: Vec<MatrixCell>,
}

#[derive(Debug, PartialEq, Eq)]
struct MatrixCell {
    predicted: String,
    count: u64,
    /// The share of the row, in tenths.
    tenths: u64,
    is_right: bool,
}

/// Renders a confusion matrix.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn matrix(confusion: &Confusion) -> askama::Result<String> {
    view(confusion).render()
}

fn view(confusion: &Confusion) -> MatrixView {
    let classes: BTreeSet<&str> = confusion
        .cells()
        .flat_map(|(actual, predicted, _)| [actual, predicted])
        .collect();
    MatrixView {
        rows: classes
            .iter()
            .map(|actual| row(confusion, &classes, actual))
            .collect(),
        classes: classes.into_iter().map(str::to_owned).collect(),
    }
}

fn row(confusion: &Confusion, classes: &BTreeSet<&str>, actual: &str) -> MatrixRow {
    let count = |predicted: &str| confusion.count(actual, predicted);
    let total: u64 = classes.iter().map(|predicted| count(predicted)).sum();
    let cell = |&predicted: &&str| MatrixCell {
        predicted: predicted.to_owned(),
        count: count(predicted),
        tenths: (count(predicted) * 10).checked_div(total).unwrap_or(0),
        is_right: predicted == actual,
    };
    MatrixRow {
        actual: actual.to_owned(),
        cells: classes.iter().map(cell).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_has_a_row_and_a_column_for_each_class_that_occurs() {
        let mut confusion = Confusion::default();
        confusion.add_many("a", "a", 9);
        confusion.add("a", "b");
        let matrix = view(&confusion);
        assert_eq!(matrix.classes, ["a", "b"]);
        let cells = |row: usize| -> Vec<(u64, u64, bool)> {
            let cells = matrix.rows[row].cells.iter();
            cells
                .map(|cell| (cell.count, cell.tenths, cell.is_right))
                .collect()
        };
        assert_eq!(cells(0), [(9, 9, true), (1, 1, false)]);
        assert_eq!(cells(1), [(0, 0, false), (0, 0, true)]);
    }
}
