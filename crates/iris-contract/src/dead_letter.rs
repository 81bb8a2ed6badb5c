//! A dead letter: an input record with its key, value and headers, and headers that name its place in the input, the service
//! that rejected it and the reason. The classifier leaves out parts that the dead-letter topic refuses.

use std::borrow::Cow;

const TOPIC: &str = "__iris.errors.topic";
const PARTITION: &str = "__iris.errors.partition";
const OFFSET: &str = "__iris.errors.offset";
const STAGE: &str = "__iris.errors.stage";
const MESSAGE: &str = "__iris.errors.message";
const SERVICE: &str = "__iris.errors.service";
const VERSION: &str = "__iris.errors.version";
const ATTEMPT: &str = "__iris.errors.attempt";

/// The reason of a record whose outcome is larger than the output topic accepts. The other reasons are
/// [`OUTCOME_REJECTED`] and those of [`Rejection`](crate::Rejection).
pub const OUTCOME_TOO_LARGE: &str = "outcome_too_large";

/// The reason of a record whose outcome the output topic refuses for another cause, such as its timestamp.
pub const OUTCOME_REJECTED: &str = "outcome_rejected";

/// Begins the list of the parts that a dead letter leaves out, at the end of its message.
const LEFT_OUT: &str = "; left out, because the dead-letter topic refused it: ";

/// The name of the value in that list.
const VALUE: &str = "value";

/// The headers to remove when a dead letter is sent back to the topic that it was read from.
pub const REMOVED_BY_REDRIVE: [&str; 7] =
    [TOPIC, PARTITION, OFFSET, STAGE, MESSAGE, SERVICE, VERSION];

/// One header of a dead letter.
pub type Header<'a> = (&'static str, Cow<'a, str>);

/// The reason why a record is dead-lettered, and the service that does it.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The step that rejected the record.
    pub stage: &'a str,
    /// The reason and the problem, as [`message`](Self::message) writes them.
    pub message: &'a str,
    /// The service that rejected the record.
    pub service: &'a str,
    /// That service's version.
    pub version: &'a str,
}

impl DeadLetter<'_> {
    /// Returns the text of the message header: the reason, one of a fixed set, then the problem in words.
    #[must_use]
    pub fn message(reason: &str, problem: &str) -> String {
        format!("{reason}: {problem}")
    }

    /// Adds the parts that the dead letter leaves out to the problem in words.
    #[must_use]
    pub fn without(problem: &str, parts: &[String]) -> String {
        if parts.is_empty() {
            return problem.to_owned();
        }
        format!("{problem}{LEFT_OUT}{}", parts.join(", "))
    }

    /// Returns the headers to set besides the record's own, for a record that was read at `topic`, `partition` and
    /// `offset`. `header` looks up one of the record's own headers: a record that was sent back before keeps its attempt.
    pub fn headers<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
        header: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> [Header<'a>; 8] {
        let attempt = attempt(header).unwrap_or(1);
        [
            (TOPIC, topic.into()),
            (PARTITION, partition.to_string().into()),
            (OFFSET, offset.to_string().into()),
            (STAGE, self.stage.into()),
            (MESSAGE, self.message.into()),
            (SERVICE, self.service.into()),
            (VERSION, self.version.into()),
            (ATTEMPT, attempt.to_string().into()),
        ]
    }
}

/// The origin of a dead letter and its reason, as its headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic that the record was read from.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The reason, one of a fixed set.
    pub reason: String,
    /// The problem in words.
    pub message: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
}

impl Origin {
    /// Reads a dead letter's headers by a function that looks them up; `None` if one is missing or unreadable.
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a [u8]> + Copy) -> Option<Self> {
        let text = |name| std::str::from_utf8(header(name)?).ok();
        let message = text(MESSAGE)?;
        let (reason, problem) = message.split_once(": ").unwrap_or((message, ""));
        Some(Self {
            topic: text(TOPIC)?.to_owned(),
            partition: text(PARTITION)?.parse().ok()?,
            offset: text(OFFSET)?.parse().ok()?,
            reason: reason.to_owned(),
            message: problem.to_owned(),
            attempt: attempt(header).unwrap_or(1),
        })
    }

    /// Whether the dead letter leaves out the record's value, so that sending it back would not send that record.
    #[must_use]
    pub fn is_without_value(&self) -> bool {
        let parts = self.message.rsplit_once(LEFT_OUT);
        parts.is_some_and(|(_, parts)| parts.split(", ").any(|part| part == VALUE))
    }

    /// Returns the header that a dead letter gets when it is sent back, after [`REMOVED_BY_REDRIVE`] are removed: the
    /// number of the next attempt.
    #[must_use]
    pub fn next_attempt(&self) -> Header<'static> {
        (ATTEMPT, self.attempt.saturating_add(1).to_string().into())
    }
}

/// Reads the number of the attempt of a record that was sent back.
fn attempt<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Option<u32> {
    std::str::from_utf8(header(ATTEMPT)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [(&str, &str); 5] = [
        (TOPIC, "input"),
        (PARTITION, "3"),
        (OFFSET, "17"),
        (MESSAGE, "missing_feature: the feature `x` is missing"),
        (ATTEMPT, "2"),
    ];

    fn read(headers: &[(&str, &'static str)]) -> Option<Origin> {
        Origin::read(|name| {
            let (_, value) = headers.iter().find(|(found, _)| *found == name)?;
            Some(value.as_bytes())
        })
    }

    #[test]
    fn a_dead_letters_headers_say_where_it_came_from_and_why() {
        let expected = Origin {
            topic: "input".to_owned(),
            partition: 3,
            offset: 17,
            reason: "missing_feature".to_owned(),
            message: "the feature `x` is missing".to_owned(),
            attempt: 2,
        };
        assert_eq!(read(&HEADERS), Some(expected));
        assert_eq!(read(&HEADERS[..4]).unwrap().attempt, 1);
    }

    #[test]
    fn a_dead_letter_says_whether_its_value_is_left_out() {
        for (parts, expected) in [
            (&[][..], false),
            (&["value"], true),
            (&["value", "headers", "timestamp 17"], true),
            (&["headers", "key", "timestamp 17"], false),
        ] {
            let parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            let message = DeadLetter::without("topic `value` refused it", &parts);
            let message = DeadLetter::message(OUTCOME_TOO_LARGE, &message).leak();
            let headers = [HEADERS[0], HEADERS[1], HEADERS[2], (MESSAGE, &*message)];
            let origin = read(&headers).unwrap();
            assert_eq!(origin.is_without_value(), expected, "{parts:?}");
        }
    }

    #[test]
    fn a_record_without_these_headers_is_not_a_dead_letter() {
        assert_eq!(read(&HEADERS[..3]), None);
        assert_eq!(read(&HEADERS[1..]), None);
        let unreadable = [HEADERS[0], (PARTITION, "x"), HEADERS[2], HEADERS[3]];
        assert_eq!(read(&unreadable), None);
    }
}
