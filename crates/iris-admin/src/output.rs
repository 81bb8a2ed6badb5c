//! Prints reports, as text or as JSON.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

/// Prints a report to standard output: as indented JSON, or else as text.
///
/// # Errors
/// If standard output cannot be written, or the report is not JSON.
pub(crate) fn print(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    let text = render(report, json)?;
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn render(report: &(impl Serialize + Display), json: bool) -> serde_json::Result<String> {
    Ok(if json {
        format!("{}\n", serde_json::to_string_pretty(report)?)
    } else {
        report.to_string()
    })
}

/// Returns a time in milliseconds since the epoch in RFC 3339.
pub(crate) fn time(milliseconds: Option<i64>) -> Option<String> {
    let time = Timestamp::from_millisecond(milliseconds?).ok()?;
    Some(time.to_string())
}

/// Returns a number with at most four decimal places and no trailing zeros.
pub(crate) fn figure(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Serialize)]
    struct Count {
        records: u32,
    }

    impl Display for Count {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "{} records", self.records)
        }
    }

    #[test]
    fn a_report_is_rendered_as_text_or_as_json() {
        let report = Count { records: 3 };
        assert_eq!(render(&report, false).unwrap(), "3 records\n");
        assert_eq!(render(&report, true).unwrap(), "{\n  \"records\": 3\n}\n");
    }

    #[test]
    fn figures_have_at_most_four_decimal_places() {
        let figures = [1.0, 0.0, 0.5, 29.0 / 30.0, 100.0, 0.99999, -0.25].map(figure);
        assert_eq!(figures, ["1", "0", "0.5", "0.9667", "100", "1", "-0.25"]);
    }

    #[test]
    fn times_are_in_rfc_3339() {
        assert_eq!(time(Some(1_000)).unwrap(), "1970-01-01T00:00:01Z");
        assert_eq!(time(None), None);
    }
}
