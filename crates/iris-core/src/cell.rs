//! Cells of a CSV file: which of them are numbers, and how they become JSON values.

use serde_json::Value;

/// The JSON type that all cells of one column share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellType {
    Integer,
    Float,
    Text,
}

impl CellType {
    /// Returns the narrowest type that every cell of a column has.
    pub(crate) fn infer<'a>(mut cells: impl Iterator<Item = &'a str> + Clone) -> Self {
        if cells.clone().all(|cell| cell.trim().parse::<i64>().is_ok()) {
            Self::Integer
        } else if cells.all(|cell| finite(cell).is_some()) {
            Self::Float
        } else {
            Self::Text
        }
    }

    /// Returns a cell as a value of this type; a cell that is not of the type stays text.
    pub(crate) fn value(self, cell: &str) -> Value {
        let number = match self {
            Self::Integer => cell.trim().parse::<i64>().ok().map(Value::from),
            Self::Float => finite(cell).map(Value::from),
            Self::Text => None,
        };
        number.unwrap_or_else(|| Value::from(cell))
    }
}

/// Parses a cell as a finite number, the only kind that a distance can be computed from.
pub(crate) fn finite(cell: &str) -> Option<f64> {
    cell.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// Writes the members, in their order, as a compact JSON object.
pub(crate) fn object<'a>(members: impl Iterator<Item = (&'a String, Value)>) -> Vec<u8> {
    let object: serde_json::Map<String, Value> =
        members.map(|(name, value)| (name.clone(), value)).collect();
    Value::Object(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_the_narrowest_type_of_all_its_cells() {
        let infer = |cells: &[&'static str]| CellType::infer(cells.iter().copied());
        assert_eq!(infer(&["1", " -2 "]), CellType::Integer);
        assert_eq!(infer(&["1", "2.5", "1e3"]), CellType::Float);
        assert_eq!(infer(&["1", "2.5", ""]), CellType::Text);
        assert_eq!(infer(&["1", "NaN"]), CellType::Text);
        assert_eq!(infer(&["1", "inf"]), CellType::Text);
    }

    #[test]
    fn a_cell_that_is_not_of_its_columns_type_stays_text() {
        assert_eq!(CellType::Integer.value(" 7 "), Value::from(7));
        assert_eq!(CellType::Float.value("7"), Value::from(7.0));
        assert_eq!(CellType::Text.value("7"), Value::from("7"));
        assert_eq!(CellType::Integer.value("7.5"), Value::from("7.5"));
        assert_eq!(CellType::Float.value("1e999"), Value::from("1e999"));
    }
}
