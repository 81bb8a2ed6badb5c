//! Compares the pipeline's output with its input: finds lost, duplicated, reordered, torn and wrong outcomes.
//!
//! An audit is a function of the topics' committed records and of [expected outcomes](ExpectedOutcomes). It uses nothing of
//! the code under test: the expected outcomes are recorded byte by byte and by other means, so it also detects a wrong
//! classifier.
//!
//! [`Ledger::audit`] compares outcomes with input records. [`audit_summaries`] compares the transactions' summaries with both.
//! [`audit_rows`] compares the store's rows with the feedback.

mod audit;
mod brute_force;
mod findings;
mod outcomes;
mod records;
mod reference;
mod row;
mod rows;
mod source;
mod summaries;

pub use audit::Ledger;
pub use brute_force::BruteForce;
pub use findings::{FindingCounts, FindingKind, Findings};
pub use outcomes::{ExpectedOutcome, ExpectedOutcomes, ExpectedPrediction, PAPER_MODEL};
pub use records::CommittedRecords;
pub use row::Row;
pub use rows::audit_rows;
pub use summaries::audit_summaries;
