//! Cells of a CSV file: which of them are numbers, and how they become JSON values.

use serde_json::Number;

/// The largest integer up to which every integer is a 64-bit float, too: 2^53.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// Parses a cell as a finite number, the only kind that a distance can be computed from.
pub(crate) fn finite(cell: &str) -> Option<f64> {
    cell.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// Whether a cell is a JSON number that any parser returns unchanged: an integer up to 2^53, or the shortest text of a
/// 64-bit float.
pub(crate) fn is_exact_number(cell: &str) -> bool {
    match cell.parse::<i64>() {
        Ok(integer) => integer.unsigned_abs() <= MAX_EXACT_INTEGER && integer.to_string() == cell,
        Err(_) => finite(cell)
            .and_then(Number::from_f64)
            .is_some_and(|number| number.to_string() == cell),
    }
}

/// Appends a JSON string.
pub(crate) fn write_string(text: &str, json: &mut Vec<u8>) {
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(json, text);
}

/// Appends a JSON number; null if it is not finite.
pub(crate) fn write_number(number: f64, json: &mut Vec<u8>) {
    // Writing a number to memory cannot fail.
    let _ = serde_json::to_writer(json, &number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_exact_if_a_parser_returns_its_text() {
        for cell in [
            "0",
            "7",
            "-2",
            "9007199254740992",
            "2.5",
            "-0.1",
            "5.0",
            "1e-7",
        ] {
            assert!(is_exact_number(cell), "{cell}");
        }
        for cell in [
            "",
            " 7",
            "007",
            "+7",
            "-0",
            "1.10",
            "1e10",
            "1E5",
            ".5",
            "5.",
            "NaN",
            "inf",
            "1e999",
            "9007199254740993",
            "11898508762506083280",
            "0x1F",
            "1_000",
            "7 ",
        ] {
            assert!(!is_exact_number(cell), "{cell}");
        }
    }
}
