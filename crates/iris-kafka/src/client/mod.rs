//! The part that all clients share: settings, health and statistics.

pub(crate) mod closing;
pub(crate) mod config;
pub(crate) mod connected;
pub(crate) mod credentials;
mod diagnosis;
pub(crate) mod expiry;
mod failure;
pub(crate) mod health;
mod held_back;
mod lasting;
mod rotation;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod simulated;
mod statistics;
mod unserved;
mod validation;
