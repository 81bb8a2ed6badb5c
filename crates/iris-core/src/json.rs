//! How cells of a CSV file become JSON values.

use serde_json::Value;

use crate::dataset::finite;

/// The JSON type that all cells of one column share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellType {
    Integer,
    Float,
    Text,
}

impl CellType {
    /// The narrowest type that every cell of a column has.
    pub(crate) fn infer<'a>(mut cells: impl Iterator<Item = &'a str> + Clone) -> Self {
        if cells.clone().all(|cell| cell.trim().parse::<i64>().is_ok()) {
            Self::Integer
        } else if cells.all(|cell| finite(cell).is_some()) {
            Self::Float
        } else {
            Self::Text
        }
    }

    /// A cell as a value of this type; a cell that is not of the type stays text.
    pub(crate) fn value(self, cell: &str) -> Value {
        let number = match self {
            Self::Integer => cell.trim().parse::<i64>().ok().map(Value::from),
            Self::Float => finite(cell).map(Value::from),
            Self::Text => None,
        };
        number.unwrap_or_else(|| Value::from(cell))
    }
}

/// A compact JSON object of the given members, in their order.
pub(crate) fn object<'a>(members: impl Iterator<Item = (&'a String, Value)>) -> Vec<u8> {
    let object: serde_json::Map<String, Value> =
        members.map(|(name, value)| (name.clone(), value)).collect();
    Value::Object(object).to_string().into_bytes()
}
