//! Administers the pipeline's topics, models and dead letters.
//!
//! [`topic_specs`] specifies the topics; [`topics`] has the commands about them, [`models`] those about models,
//! [`redrive`] sends dead letters back, [`transactions`] lists and aborts open transactions, and [`acls`] prints the rights that
//! each service needs. Each command prints a report as text or as JSON.

pub mod acls;
pub mod args;
pub mod models;
mod output;
pub mod redrive;
pub mod settings;
mod specs;
pub mod topics;
pub mod transactions;

pub use specs::topic_specs;

/// The service's name.
pub const NAME: &str = "iris-admin";
