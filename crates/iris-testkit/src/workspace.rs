//! Paths in the workspace.

use std::path::{Path, PathBuf};

/// Returns the workspace's directory.
#[must_use]
pub fn workspace() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.ancestors().nth(2).unwrap_or(member).to_path_buf()
}

/// Returns the path of a dataset that the workspace ships.
#[must_use]
pub fn dataset(name: &str) -> PathBuf {
    workspace().join("data").join(name)
}

/// Returns the directory for the data and results of the demos: `DEMO_DIR`, by default `target/demo`.
#[must_use]
pub fn demo_directory() -> PathBuf {
    let named = std::env::var_os("DEMO_DIR");
    named.map_or_else(|| workspace().join("target/demo"), PathBuf::from)
}

/// Returns the path of a service's binary, which cargo puts beside the running one.
#[must_use]
pub fn binary(service: &str) -> PathBuf {
    let current = std::env::current_exe().unwrap_or_default();
    let directory = current
        .ancestors()
        .skip(1)
        .find(|directory| directory.join(service).is_file());
    directory.map_or_else(
        || PathBuf::from(service),
        |directory| directory.join(service),
    )
}
