//! Compares the pipeline's output with its input: finds lost, duplicated, reordered, torn and wrong outcomes.
//!
//! An audit is a function of the topics' committed records and of [expected outcomes](ExpectedOutcomes). It uses nothing of
//! the code under test: the expected outcomes are recorded byte by byte and by other means, so it also detects a wrong
//! classifier.
//!
//! [`Ledger::audit`] compares outcomes with input records. [`audit_summaries`] compares the transactions' summaries with both.
//! [`audit_rows`] compares the store's rows with the feedback.
//!
//! If input records are deleted while services run, [`Ledger::audit_truncated`] distinguishes records that were deleted before
//! they were read from those that a service lost. [`audit_reports`] compares the former with the services' logs.

mod audit;
mod brute_force;
mod deleted;
mod findings;
mod outcomes;
mod records;
mod reference;
mod reports;
mod row;
mod rows;
mod source;
mod summaries;

pub use audit::Ledger;
pub use brute_force::BruteForce;
pub use deleted::{Losses, Truncations};
pub use findings::{FindingCounts, FindingKind, Findings};
pub use outcomes::{ExpectedOutcome, ExpectedOutcomes, ExpectedPrediction, PAPER_MODEL};
pub use records::CommittedRecords;
pub use reports::{LossReport, UnreportedLosses, audit_metric, audit_reports};
pub use row::Row;
pub use rows::audit_rows;
pub use summaries::{audit_summaries, split_at_recreation};
