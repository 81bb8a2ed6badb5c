//! What is known about a record that could not be processed, carried by headers so that its bytes stay untouched.

use crate::record::{Headers, Record};

const TOPIC: &str = "__iris.errors.topic";
const PARTITION: &str = "__iris.errors.partition";
const OFFSET: &str = "__iris.errors.offset";
const STAGE: &str = "__iris.errors.stage";
const MESSAGE: &str = "__iris.errors.message";
const SERVICE: &str = "__iris.errors.service";
const VERSION: &str = "__iris.errors.version";
const ATTEMPT: &str = "__iris.errors.attempt";

/// Why a record is set aside.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The step that refused it.
    pub stage: &'a str,
    /// What is wrong with it, as [`message`](Self::message) puts it.
    pub message: &'a str,
    /// The service that refused it.
    pub service: &'a str,
    /// That service's version.
    pub version: &'a str,
}

impl DeadLetter<'_> {
    /// The text of the message header: the kind of thing that is wrong, one of a handful, then what exactly it is.
    #[must_use]
    pub fn message(reason: &str, problem: &str) -> String {
        format!("{reason}: {problem}")
    }

    /// The headers of the record on the dead-letter topic: its own, and below `__iris.errors.` where it came from,
    /// what is wrong with it, who says so, and at which attempt.
    #[must_use]
    pub fn headers(&self, record: &Record<'_>) -> Headers {
        let attempt = attempt(|name| record.header(name)).unwrap_or(1);
        record.headers().set_all([
            (TOPIC, record.topic()),
            (PARTITION, &record.partition().to_string()),
            (OFFSET, &record.offset().to_string()),
            (STAGE, self.stage),
            (MESSAGE, self.message),
            (SERVICE, self.service),
            (VERSION, self.version),
            (ATTEMPT, &attempt.to_string()),
        ])
    }
}

/// Where a dead letter came from and why it is one, as its headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic that it was read from.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The kind of thing that was wrong with it.
    pub reason: String,
    /// What exactly was wrong with it.
    pub message: String,
    /// How often it was tried.
    pub attempt: u32,
}

impl Origin {
    /// Reads a dead letter's headers; `None` if it has not got them.
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

    /// The headers with which the dead letter goes back: its own, without what was said about it, and the number of the
    /// attempt that it is about to be.
    #[must_use]
    pub fn redriven_headers(&self, record: &Record<'_>) -> Headers {
        let about_it = [TOPIC, PARTITION, OFFSET, STAGE, MESSAGE, SERVICE, VERSION];
        about_it
            .into_iter()
            .fold(record.headers(), Headers::without)
            .set(ATTEMPT, &self.attempt.saturating_add(1).to_string())
    }
}

/// The number of the attempt, of a record that was sent back.
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
    fn what_lacks_them_is_no_dead_letter() {
        assert_eq!(read(&HEADERS[..3]), None);
        assert_eq!(read(&HEADERS[1..]), None);
        let strange = [HEADERS[0], (PARTITION, "x"), HEADERS[2], HEADERS[3]];
        assert_eq!(read(&strange), None);
    }
}
