//! Finds, merges and checks settings. The precedence is: flags, environment, file, built-in defaults.
//!
//! A service reads the sections that it uses, each a serde struct with its defaults. Unknown keys and invalid values are
//! refused with the key, its source and the allowed values. A file may contain the sections of other services: only the
//! service that owns a section checks it.

mod environment;
mod error;
mod flags;
mod list;
mod numbers;
mod origin;
mod renamed;
mod sources;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use error::SettingsError;
pub use flags::{CommonArgs, Flag};
pub use list::list;
pub use sources::Sources;

/// Writes the effective settings as TOML to standard output.
///
/// # Errors
/// If they cannot be written.
pub fn print(settings: &impl Serialize) -> anyhow::Result<()> {
    use std::io::Write;

    std::io::stdout().write_all(toml::to_string(settings)?.as_bytes())?;
    Ok(())
}
