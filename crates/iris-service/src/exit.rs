//! Exit codes: 0 for finished or drained, 1 for a failure, 2 for wrong usage or settings, 3 for a process that was replaced.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::printable::printable;

/// An error in the usage, the settings or the input files. The binary exits with code 2.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct UsageError(#[from] anyhow::Error);

impl UsageError {
    /// Returns an error as one of usage.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(error.into())
    }
}

/// Another process has taken over. The binary exits with code 3, because a restart would fence that process again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReplacedError(#[from] anyhow::Error);

impl ReplacedError {
    /// Returns an error as one of a process that was replaced.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(error.into())
    }
}

/// Writes the error of a run to standard error, and returns the exit code.
#[must_use]
pub fn exit(ended: anyhow::Result<()>) -> ExitCode {
    let Err(error) = ended else {
        return ExitCode::SUCCESS;
    };
    // The reader of standard output has closed the pipe and expects no message. Only errors of standard output come
    // without a context; those of connections have one.
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        return ExitCode::SUCCESS;
    }
    let code = if error.is::<UsageError>() {
        2
    } else if error.is::<ReplacedError>() {
        3
    } else {
        1
    };
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut message = String::new();
    for cause in causes {
        // An error that only wraps another has the same text.
        if !message.ends_with(&cause) {
            message = if message.is_empty() {
                cause
            } else {
                format!("{message}: {cause}")
            };
        }
    }
    // Without standard error, the message cannot be shown.
    let _ = writeln!(io::stderr(), "error: {}", printable(&message));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_decides_the_exit_code_also_with_a_context() {
        let error = || io::Error::other("no");
        let with_context = |error: anyhow::Error| error.context("the trainer failed");
        for (ended, code) in [
            (Ok(()), 0),
            (Err(with_context(error().into())), 1),
            (Err(with_context(UsageError::new(error()).into())), 2),
            (Err(with_context(ReplacedError::new(error()).into())), 3),
            (Err(io::Error::from(io::ErrorKind::BrokenPipe).into()), 0),
        ] {
            assert_eq!(exit(ended), ExitCode::from(code));
        }
    }
}
