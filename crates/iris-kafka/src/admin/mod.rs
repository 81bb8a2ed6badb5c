//! The cluster and its topics: what exists, what a service needs, and how to create, describe and delete topics.

mod configs;
mod describe;
pub(crate) mod error;
pub(crate) mod needs;
mod resize;
pub mod startup;
pub(crate) mod topic;
pub(crate) mod topics;
