//! Administers the pipeline's topics.
//!
//! [`topic_specs`] says how each topic is to be; [`topics`] carries the commands out and prints what was done, as a
//! table or as JSON.

pub mod args;
pub mod settings;
mod specs;
pub mod topics;

pub use specs::topic_specs;

/// The service's name.
pub const NAME: &str = "iris-admin";
