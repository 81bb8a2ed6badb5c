//! Reads the output of a contender's run.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use iris_testkit::Fixture;
use serde::{Deserialize, Serialize};

/// The result that limits and Python programs print when they finish.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reported {
    /// The number of records processed.
    pub records: u64,
    /// The duration.
    pub seconds: f64,
}

/// Returns the output of a contender's run: the first and the last 50,000 bytes of each stream.
///
/// # Errors
/// If a file cannot be read.
pub fn read(fixture: &Fixture) -> anyhow::Result<String> {
    // The lines in between are about single records.
    const MAX_BYTES: u64 = 50_000;
    let mut text = Vec::new();
    for name in ["run.out", "run.err"] {
        let mut file = File::open(fixture.directory().join(name))?;
        (&mut file).take(MAX_BYTES).read_to_end(&mut text)?;
        let length = file.metadata()?.len();
        if length > MAX_BYTES {
            file.seek(SeekFrom::Start(
                length.saturating_sub(MAX_BYTES).max(MAX_BYTES),
            ))?;
            file.read_to_end(&mut text)?;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns the last 20 lines.
#[must_use]
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Returns the duration, in seconds, in a service's last summary line: "… in 1.234 s, …".
#[must_use]
pub fn seconds(text: &str) -> Option<f64> {
    let line = text.lines().rfind(|line| line.contains(" records/s"))?;
    let (_, after) = line.rsplit_once(" in ")?;
    after.split_once(" s,")?.0.parse().ok()
}

/// Returns the result that a limit or a Python program printed.
#[must_use]
pub fn reported(text: &str) -> Option<Reported> {
    text.lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_is_found_in_the_output_of_a_service_or_a_program() {
        let text = "x INFO starting in 3 s, perhaps\n\
                    x INFO 150 records in 10.250 s, 15 records/s: 150 predictions, 4 mispredicted\nx INFO bye\n";
        assert_eq!(seconds(text), Some(10.25));
        assert_eq!(seconds("nothing"), None);
        let text = "a line\n{\"records\": 10, \"seconds\": 0.5}\n";
        assert_eq!(reported(text).map(|reported| reported.records), Some(10));
    }
}
