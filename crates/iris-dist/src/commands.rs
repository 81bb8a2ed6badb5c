//! Generates completions and man pages from the command lines of the binaries.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// Returns the command line of each binary.
pub(crate) fn all() -> [Command; 6] {
    [
        iris_admin::args::Args::command(),
        iris_classifier::args::Args::command(),
        iris_dashboard::args::Args::command(),
        iris_feedback_sink::args::Args::command(),
        iris_producer::args::Args::command(),
        iris_trainer::args::Args::command(),
    ]
}

/// Writes completions for all binaries, in one folder per shell.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn completions(directory: &Path) -> anyhow::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let folder = directory.join(shell.to_string());
        fs::create_dir_all(&folder)?;
        for mut command in all() {
            let name = command.get_name().to_owned();
            clap_complete::generate_to(shell, &mut command, name, &folder)?;
        }
    }
    Ok(())
}

/// Writes a man page for each binary and each of its sub-commands.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn man_pages(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    for command in all() {
        // A page for `help` would list the sub-commands again.
        clap_mangen::generate_to(command.disable_help_subcommand(true), directory)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_binary_has_completions_for_every_shell() {
        let directory = tempfile::tempdir().unwrap();
        completions(directory.path()).unwrap();
        for (shell, prefix, suffix) in [
            ("bash", "", ".bash"),
            ("zsh", "_", ""),
            ("fish", "", ".fish"),
        ] {
            let expected = all().map(|command| format!("{prefix}{}{suffix}", command.get_name()));
            assert_eq!(names(&directory.path().join(shell)), expected);
        }
    }

    #[test]
    fn each_sub_command_has_a_man_page() {
        let directory = tempfile::tempdir().unwrap();
        man_pages(directory.path()).unwrap();
        let names = names(directory.path());
        for page in [
            "iris-admin.1",
            "iris-admin-topics-create.1",
            "iris-admin-models-answered.1",
            "iris-feedback-sink-export.1",
            "iris-trainer.1",
        ] {
            assert!(names.iter().any(|name| name == page), "{page} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    }
}
