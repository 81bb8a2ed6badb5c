//! The header that names a prediction's origin: the model, the input record and the votes.
//!
//! `00-<model version>-<input partition>-<input offset>-<votes>`: a format version, then fixed positions separated by
//! dashes, as in W3C's `traceparent`. The votes are in class order, joined by dots. Version 01 has the shares of the classes
//! in thousandths in place of votes. It is one header instead of five because each header costs throughput.

use std::fmt;
use std::str::FromStr;

use iris_core::{ModelVersion, Tally};

/// The header's name.
pub const PROVENANCE_HEADER: &str = "iris-provenance";

/// The origin of a prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The model that made the prediction.
    pub model_version: ModelVersion,
    /// The partition of the input topic that the record was read from.
    pub partition: i32,
    /// The record's offset in that partition.
    pub offset: i64,
    /// The unit of the votes.
    pub tally: Tally,
    /// The votes, or the share in thousandths, of each class, in class order.
    pub votes: Vec<u32>,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let writer = ProvenanceWriter::new(self.model_version, self.tally);
        writer.write(self.partition, self.offset, &self.votes, &mut text);
        f.write_str(&text)
    }
}

/// Writes the headers of one model's predictions. One is written per record, so the unchanging part is kept and numbers are
/// written without the formatting machinery, which costs throughput.
#[derive(Clone, Debug)]
pub struct ProvenanceWriter {
    /// The header up to the partition.
    head: String,
}

impl ProvenanceWriter {
    /// Returns a writer for the predictions of a model.
    #[must_use]
    pub fn new(model_version: ModelVersion, tally: Tally) -> Self {
        let format = match tally {
            Tally::Votes => "00",
            Tally::Thousandths => "01",
        };
        Self {
            head: format!("{format}-{model_version}-"),
        }
    }

    /// Writes the header's value for a prediction into `out`, which is cleared first.
    pub fn write(&self, partition: i32, offset: i64, votes: &[u32], out: &mut String) {
        let mut number = itoa::Buffer::new();
        out.clear();
        out.push_str(&self.head);
        out.push_str(number.format(partition));
        out.push('-');
        out.push_str(number.format(offset));
        let mut separator = '-';
        for &vote in votes {
            out.push(separator);
            out.push_str(number.format(vote));
            separator = '.';
        }
    }
}

/// The value of a header that is not a provenance of version 00 or 01.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a provenance of version 00 or 01")]
pub struct ProvenanceError(String);

impl Provenance {
    /// Reads the header's value; `None` if it is not a provenance of version 00 or 01.
    #[must_use]
    pub fn read(header: &[u8]) -> Option<Self> {
        std::str::from_utf8(header).ok()?.parse().ok()
    }

    /// Returns the votes in class order, joined by dots, as they stand in the header.
    #[must_use]
    pub fn votes_text(&self) -> String {
        let votes: Vec<String> = self.votes.iter().map(ToString::to_string).collect();
        votes.join(".")
    }
}

impl FromStr for Provenance {
    type Err = ProvenanceError;

    fn from_str(text: &str) -> Result<Self, ProvenanceError> {
        let parse = || {
            let mut parts = text.split('-');
            let tally = match parts.next()? {
                "00" => Tally::Votes,
                "01" => Tally::Thousandths,
                _ => return None,
            };
            let provenance = Self {
                model_version: parts.next()?.parse().ok()?,
                partition: parts.next()?.parse().ok()?,
                offset: parts.next()?.parse().ok()?,
                tally,
                votes: parts
                    .next()?
                    .split('.')
                    .map(|vote| vote.parse().ok())
                    .collect::<Option<_>>()?,
            };
            parts.next().is_none().then_some(provenance)
        };
        parse().ok_or_else(|| ProvenanceError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_writes() {
        let provenance = Provenance {
            model_version: "00c0ffee00c0ffee".parse().unwrap(),
            partition: 4,
            offset: 1_234_567_890_123,
            tally: Tally::Votes,
            votes: vec![0, 2, 3],
        };
        insta::assert_snapshot!(provenance, @"00-00c0ffee00c0ffee-4-1234567890123-0.2.3");
        assert_eq!(provenance.to_string().parse(), Ok(provenance.clone()));
        let provenance = Provenance {
            tally: Tally::Thousandths,
            votes: vec![0, 333, 667],
            ..provenance
        };
        insta::assert_snapshot!(provenance, @"01-00c0ffee00c0ffee-4-1234567890123-0.333.667");
        assert_eq!(provenance.to_string().parse(), Ok(provenance));
    }

    #[test]
    fn other_versions_and_other_shapes_are_refused() {
        for text in [
            "",
            "00",
            "02-00c0ffee00c0ffee-4-12-0.2.3",
            "00-00c0ffee00c0ffee-4-12",
            "00-zz-4-12-1",
            "00-00c0ffee00c0ffee-4-12-1-9",
        ] {
            assert_eq!(
                text.parse::<Provenance>(),
                Err(ProvenanceError(text.to_owned()))
            );
        }
    }
}
