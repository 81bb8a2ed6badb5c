//! The licences of the third-party software in the binaries.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId, TargetKind};

use crate::commands;

/// How the name of a file begins that says under which terms a work may be used.
const NAMES: [&str; 7] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
    "patents",
];

/// How the name of a file ends that is source code.
const SOURCES: [&str; 5] = [".rs", ".c", ".h", ".py", ".pm"];

/// Third-party software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Its name and version.
    name: String,
    /// What its licence is in short: an SPDX expression, if it states one.
    expression: String,
    /// Its licence files, by name.
    files: Vec<(String, String)>,
}

/// The third-party crates that are linked into the binaries, by name and version, but for those named in `without`.
/// Features count as the whole workspace enables them, so that there may be a crate too many but none is missing.
///
/// # Errors
/// If `cargo metadata` fails or a licence file cannot be read.
pub(crate) fn of_crates(target: &str, without: &[String]) -> anyhow::Result<Vec<Work>> {
    let metadata = MetadataCommand::new()
        .other_options(["--locked", "--filter-platform", target].map(str::to_owned))
        .exec()?;
    let mut works = linked(&metadata)
        .into_iter()
        .map(|id| &metadata[id])
        .filter(|package| package.source.is_some() && !without.contains(&package.name))
        .map(|package| {
            let folder = package
                .manifest_path
                .parent()
                .context("a manifest lies in a folder")?;
            Ok(Work {
                name: format!("{} {}", package.name, package.version),
                expression: package.license.clone().unwrap_or_default(),
                files: files(folder.as_std_path())?,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    works.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(works)
}

/// The crates that the binaries depend on. Dependencies of tests and build scripts and procedural macros are left out,
/// since they are no part of a binary, but for the `-src` crates, which bring C code that a build script compiles.
fn linked(metadata: &Metadata) -> BTreeSet<&PackageId> {
    let nodes: BTreeMap<&PackageId, _> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&node.id, node))
        .collect();
    let binaries = commands::all();
    let mut due: Vec<&PackageId> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| {
            binaries
                .iter()
                .any(|binary| binary.get_name() == package.name.as_str())
        })
        .map(|package| &package.id)
        .collect();
    let mut found = BTreeSet::new();
    while let Some(id) = due.pop() {
        if metadata[id]
            .targets
            .iter()
            .any(|target| target.is_kind(TargetKind::ProcMacro))
            || !found.insert(id)
        {
            continue;
        }
        for dependency in nodes.get(id).iter().flat_map(|node| &node.deps) {
            let is_source = metadata[&dependency.pkg].name.ends_with("-src");
            let is_linked = dependency.dep_kinds.iter().any(|kind| {
                kind.kind == DependencyKind::Normal
                    || (kind.kind == DependencyKind::Build && is_source)
            });
            if is_linked {
                due.push(&dependency.pkg);
            }
        }
    }
    found
}

/// Software that is linked without being a crate, given as `NAME=FILE`.
///
/// # Errors
/// If it is not given so, or the file cannot be read.
pub(crate) fn of_library(entry: &str) -> anyhow::Result<Work> {
    let (name, path) = entry
        .split_once('=')
        .with_context(|| format!("{entry} is not NAME=FILE"))?;
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(Work {
        name: name.to_owned(),
        expression: String::new(),
        files: vec![(path.to_owned(), text)],
    })
}

/// The licence files in a crate's folder, those of the C libraries that it brings included.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut due = vec![folder.to_owned()];
    while let Some(directory) = due.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                due.push(path);
            } else if kind.is_file() && is_licence(&path) {
                let bytes = fs::read(&path)?;
                found.push((
                    path.strip_prefix(folder)?.display().to_string(),
                    String::from_utf8_lossy(&bytes).into_owned(),
                ));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_licence(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let starts = NAMES.iter().any(|known| {
        name.strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.', 's']))
    });
    // Source code is named after licences, too.
    starts && !SOURCES.iter().any(|extension| name.ends_with(extension))
}

/// One text of all works and all licences, each licence once.
pub(crate) fn text(works: &[Work]) -> String {
    let mut licences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut text = "Third-party software in the binaries of Iris on Kafka, each with the licence that it states.\n\
                    The licence files follow, each text once, below the names of those that carry it.\n\n"
        .to_owned();
    for work in works {
        for (file, content) in &work.files {
            let whose = format!("{} ({file})", work.name);
            licences.entry(content.trim()).or_default().push(whose);
        }
        let expression = match (work.expression.is_empty(), work.files.is_empty()) {
            (false, false) => work.expression.clone(),
            (false, true) => format!("{} (the crate carries no licence file)", work.expression),
            (true, _) => "see below".to_owned(),
        };
        let _ = writeln!(text, "{}: {expression}", work.name);
    }
    let mut licences: Vec<(Vec<String>, &str)> = licences
        .into_iter()
        .map(|(content, whose)| (whose, content))
        .collect();
    licences.sort();
    for (whose, content) in licences {
        let _ = write!(
            text,
            "\n{}\n{}\n\n{content}\n",
            "=".repeat(80),
            whose.join("\n")
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn work(name: &str, expression: &str, files: &[(&str, &str)]) -> Work {
        Work {
            name: name.to_owned(),
            expression: expression.to_owned(),
            files: files
                .iter()
                .map(|(file, content)| ((*file).to_owned(), (*content).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn licence_files_are_told_from_source_code_by_their_names() {
        for name in [
            "LICENSE",
            "LICENSE-MIT",
            "license_apache.txt",
            "LICENSES.txt",
            "LICENSE.lz4",
            "COPYING",
            "UNLICENSE",
            "NOTICE",
        ] {
            assert!(is_licence(Path::new(name)), "{name}");
        }
        for name in [
            "license.rs",
            "copyright.pm",
            "licensee.txt",
            "README.md",
            "noticeboard",
        ] {
            assert!(!is_licence(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_text_that_several_works_carry_appears_once_and_a_work_without_one_by_its_expression() {
        let text = text(&[
            work("a 1.0.0", "MIT", &[("LICENSE", "free as air\n")]),
            work(
                "b 2.0.0",
                "MIT OR Apache-2.0",
                &[("COPYING", "\nfree as air")],
            ),
            work("c 3.0.0", "ISC", &[]),
            work("libd 4", "", &[("/usr/share/doc/d", "free as a bird")]),
        ]);
        assert_eq!(text.matches("free as air").count(), 1, "{text}");
        for line in [
            "a 1.0.0: MIT",
            "a 1.0.0 (LICENSE)",
            "b 2.0.0 (COPYING)",
            "c 3.0.0: ISC (the crate carries no licence file)",
            "libd 4: see below",
            "free as a bird",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn every_crate_in_the_binaries_states_its_licence() {
        let works = of_crates("x86_64-unknown-linux-gnu", &[]).unwrap();
        let silent: Vec<&Work> = works
            .iter()
            .filter(|work| work.expression.is_empty() && work.files.is_empty())
            .collect();
        assert!(silent.is_empty(), "{silent:?}");
        let has = |name: &str| {
            works
                .iter()
                .any(|work| work.name.starts_with(&format!("{name} ")))
        };
        assert!(has("rdkafka-sys") && has("tokio"));
        // They run at build time or in tests.
        assert!(!has("serde_derive") && !has("proptest") && !has("clap_mangen"));
    }
}
