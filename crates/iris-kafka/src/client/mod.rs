//! What every client has in common: how it reaches the cluster, and what keeps it from its work.

pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod simulated;
