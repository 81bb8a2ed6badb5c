//! How the outcome of a record is sent after a topic has refused it: alone, then as a dead letter, then as a smaller one.

use std::fmt;

use crate::exactly_once::refused::Cause;

/// How often a record is retried alone while the broker does not say why it refuses it.
const MAX_UNEXPLAINED: u32 = 5;

/// A part of a record that its dead letter may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The value.
    Value,
    /// The record's own headers.
    Headers,
    /// The key. A name of the record's place takes its place, because a compacted topic refuses records without a key.
    Key,
    /// The timestamp. The current time takes its place.
    Timestamp,
}

impl Part {
    const ALL: [Self; 4] = [Self::Value, Self::Headers, Self::Key, Self::Timestamp];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::Headers => "headers",
            Self::Key => "key",
            Self::Timestamp => "timestamp",
        })
    }
}

/// The parts of a record that its dead letter leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omitted(u8);

impl Omitted {
    /// Leaves out one more part.
    #[must_use]
    pub const fn with(self, part: Part) -> Self {
        Self(self.0 | part.bit())
    }

    /// Whether a part is left out.
    #[must_use]
    pub const fn has(self, part: Part) -> bool {
        self.0 & part.bit() != 0
    }

    /// Returns the parts that are left out.
    pub fn parts(self) -> impl Iterator<Item = Part> {
        Part::ALL.into_iter().filter(move |&part| self.has(part))
    }

    /// Leaves out one more part, the one that most likely is the cause; none if all are left out already.
    fn smaller(self, cause: Cause) -> Self {
        use Part::{Headers, Key, Timestamp, Value};
        let order = match cause {
            Cause::Size => [Value, Headers, Key, Timestamp],
            Cause::Timestamp => [Timestamp, Value, Headers, Key],
            Cause::Content => [Key, Value, Headers, Timestamp],
            Cause::Unexplained => return self,
        };
        let next = order.into_iter().find(|&part| !self.has(part));
        next.map_or(self, |part| self.with(part))
    }
}

/// How the outcome of a record that a topic has refused is sent; always in a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// As before, after this number of unexplained refusals.
    Alone(u32),
    /// As a dead letter.
    DeadLetter(Omitted),
}

impl Attempt {
    /// The first attempt after a refusal in a transaction with other records: any of these may have been the cause.
    pub(crate) const FIRST: Self = Self::Alone(0);

    /// Returns the next attempt after one that was refused; `None` stands for a transaction with other records.
    pub(crate) fn after(refused: Option<Self>, cause: Cause) -> Self {
        match (refused, cause) {
            (None, _) => Self::FIRST,
            (Some(Self::Alone(times)), Cause::Unexplained) if times < MAX_UNEXPLAINED => {
                Self::Alone(times + 1)
            }
            (Some(Self::Alone(_)), _) => Self::DeadLetter(Omitted::default()),
            (Some(Self::DeadLetter(omitted)), cause) => Self::DeadLetter(omitted.smaller(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the attempts while a topic refuses each one for the same cause.
    fn attempts(cause: Cause) -> Vec<String> {
        let mut attempts = Vec::new();
        let mut refused = None;
        for _ in 0..8 {
            let next = Attempt::after(refused, cause);
            attempts.push(match next {
                Attempt::Alone(_) => "alone".to_owned(),
                Attempt::DeadLetter(omitted) => {
                    let parts: Vec<String> = omitted.parts().map(|part| part.to_string()).collect();
                    format!("dead letter without [{}]", parts.join(" "))
                }
            });
            refused = Some(next);
        }
        attempts
    }

    #[test]
    fn each_refusal_leads_to_a_smaller_outcome() {
        let cases = [
            (
                Cause::Size,
                [
                    "value",
                    "value headers",
                    "value headers key",
                    "value headers key timestamp",
                ],
            ),
            (
                Cause::Timestamp,
                [
                    "timestamp",
                    "value timestamp",
                    "value headers timestamp",
                    "value headers key timestamp",
                ],
            ),
            (
                Cause::Content,
                [
                    "key",
                    "value key",
                    "value headers key",
                    "value headers key timestamp",
                ],
            ),
        ];
        for (cause, without) in cases {
            let letters = [
                "", without[0], without[1], without[2], without[3], without[3], without[3],
            ]
            .map(|parts| format!("dead letter without [{parts}]"));
            let expected: Vec<String> =
                std::iter::once("alone".to_owned()).chain(letters).collect();
            assert_eq!(attempts(cause), expected, "{cause:?}");
        }
    }

    #[test]
    fn an_unexplained_refusal_is_retried_before_the_record_is_dead_lettered_whole() {
        let alone = std::iter::repeat_n("alone", 6);
        let expected: Vec<&str> = alone.chain(["dead letter without []"; 2]).collect();
        assert_eq!(attempts(Cause::Unexplained), expected);
    }

    #[test]
    fn the_cause_of_each_refusal_decides_the_part() {
        let causes = [
            Cause::Timestamp,
            Cause::Timestamp,
            Cause::Size,
            Cause::Unexplained,
            Cause::Content,
        ];
        let last = causes.into_iter().fold(Attempt::FIRST, |attempt, cause| {
            Attempt::after(Some(attempt), cause)
        });
        let expected = Omitted::default()
            .with(Part::Timestamp)
            .with(Part::Value)
            .with(Part::Key);
        assert_eq!(last, Attempt::DeadLetter(expected));
    }
}
