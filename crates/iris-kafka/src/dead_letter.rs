//! What is known about a record that could not be processed, carried by headers so that its bytes stay untouched.

use crate::record::{Headers, Record};

/// The header that counts how often a record was tried.
pub const ATTEMPT_HEADER: &str = "__iris.errors.attempt";

/// Why a record is set aside.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The step that refused it.
    pub stage: &'a str,
    /// What is wrong with it.
    pub message: &'a str,
    /// The service that refused it.
    pub service: &'a str,
    /// That service's version.
    pub version: &'a str,
}

impl DeadLetter<'_> {
    /// The headers of the record on the dead-letter topic: its own, and below `__iris.errors.` where it came from,
    /// what is wrong with it, who says so, and at which attempt.
    #[must_use]
    pub fn headers(&self, record: &Record<'_>) -> Headers {
        let earlier = record
            .header(ATTEMPT_HEADER)
            .and_then(|value| std::str::from_utf8(value).ok()?.parse::<u32>().ok());
        let attempt = earlier.unwrap_or(0).saturating_add(1);
        record
            .headers()
            .set("__iris.errors.topic", record.topic())
            .set("__iris.errors.partition", &record.partition().to_string())
            .set("__iris.errors.offset", &record.offset().to_string())
            .set("__iris.errors.stage", self.stage)
            .set("__iris.errors.message", self.message)
            .set("__iris.errors.service", self.service)
            .set("__iris.errors.version", self.version)
            .set(ATTEMPT_HEADER, &attempt.to_string())
    }
}
