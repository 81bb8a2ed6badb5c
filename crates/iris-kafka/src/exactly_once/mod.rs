//! Consume, process and produce in one transaction: every input offset has exactly one outcome, whatever fails.
//!
//! A [`Worker`] runs one consumer and one transactional producer on one thread. The outcomes that its [`Processor`] sends
//! and the offsets of the records that it processed are one transaction. After any fault, work resumes at the committed
//! offsets.
//!
//! | file | responsibility |
//! |---|---|
//! | `worker.rs` | the loop: read, process, commit, report |
//! | `open_transaction.rs` | the open transaction, and how it commits or fails |
//! | `rebalance.rs` | commit or abort when partitions are revoked |
//! | `recovery.rs` | a usable producer and the committed offsets after a fault |
//! | `policy.rs` | when a transaction is committed |
//! | `consumers.rs` | the consumer, also after the input topic was recreated |
//! | `deleted.rs` | records that were deleted before they were read |
//! | `ends.rs` | positions behind transaction markers and aborted records |
//! | `topics.rs` | topics that are recreated, grown or deleted while the worker runs |
//! | `idle.rs` | when a worker without progress ends |
//! | `producer.rs` | the transactional producer's states |
//! | `producer/sending.rs` | the records that it sends, and those that are refused |
//! | `producer/settling.rs` | what its predecessors have left open in a cluster of one broker |
//! | `producer/topics.rs` | its requests about topics |
//! | `progress.rs` | the offsets that a transaction commits |
//! | `fault.rs` | why a transaction fails |
//! | `refused.rs`, `refusals.rs` | which records their topics refuse, and why |
//! | `attempt.rs` | how a refused record is sent next |
//! | `caller.rs` | calls of librdkafka with an enforced time limit |

mod attempt;
mod caller;
mod consumers;
mod deleted;
mod ends;
mod error;
pub(crate) mod fault;
mod idle;
mod open_transaction;
mod policy;
mod processor;
pub(crate) mod producer;
mod progress;
mod rebalance;
mod recovery;
mod refusals;
mod refused;
mod topics;
mod worker;

pub use attempt::{Omitted, Part};
pub use error::WorkerError;
pub use idle::IdleGroup;
pub use policy::CommitPolicy;
pub use processor::{Outcomes, Processor, Refusal};
pub use recovery::Report;
pub use refused::{Cause, Refused};
pub use worker::Worker;
