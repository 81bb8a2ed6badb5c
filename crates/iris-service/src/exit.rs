//! How a binary ends: 0 finished or drained, 1 failed while running, 2 wrong usage or settings.

use std::io::{self, Write};
use std::process::ExitCode;

/// An error of whoever started the binary: wrong usage, settings or input files. It ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct UsageError(#[from] anyhow::Error);

impl UsageError {
    /// Marks an error as one of usage.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(error.into())
    }
}

/// Reports how a run ended, on standard error, and gives the exit code for it.
#[must_use]
pub fn exit(ended: anyhow::Result<()>) -> ExitCode {
    let Err(error) = ended else {
        return ExitCode::SUCCESS;
    };
    // Whoever closed the pipe that we write to does not want to read of it. Only an error of our own output comes
    // bare; those of connections are wrapped in what was attempted.
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        return ExitCode::SUCCESS;
    }
    let code = if error.is::<UsageError>() { 2 } else { 1 };
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut message = String::new();
    for cause in causes {
        // An error that only wraps another says the same again.
        if !message.ends_with(&cause) {
            message = if message.is_empty() {
                cause
            } else {
                format!("{message}: {cause}")
            };
        }
    }
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::from(code)
}
