//! The part that all clients share: settings, health and statistics.

pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod simulated;
mod statistics;
mod validation;
