//! Administers the pipeline's topics, models and dead letters.
//!
//! [`topic_specs`] says how each topic is to be; [`topics`] carries the commands about them out, [`models`] those about
//! models, and [`redrive`] sends dead letters back. Each prints what was done, for people or as JSON.

mod answered;
pub mod args;
pub mod models;
pub mod redrive;
pub mod settings;
mod specs;
pub mod topics;

pub use specs::topic_specs;

/// The service's name.
pub const NAME: &str = "iris-admin";
