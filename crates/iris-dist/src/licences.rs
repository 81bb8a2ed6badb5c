//! Collects the licences of the third-party software in the binaries.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::commands;

/// Prefixes of the names of licence files.
const NAMES: [&str; 7] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
    "patents",
];

/// Suffixes of the names of source files.
const SOURCES: [&str; 5] = [".rs", ".c", ".h", ".py", ".pm"];

/// Third-party software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Its name and version.
    name: String,
    /// Its licence as an SPDX expression; empty if the software names none.
    expression: String,
    /// The names and texts of its licence files.
    files: Vec<(String, String)>,
}

/// The parts of `cargo metadata` that are read here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    /// Its registry or repository; none for a member of the workspace.
    source: Option<String>,
    license: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

/// `kind` is none for a normal dependency, else `build` or `dev`.
#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// Returns the third-party crates linked into the binaries, sorted by name and version, except those named in `without`.
/// The features are those of the whole workspace, so the list may contain crates that are not linked, but none is missing.
///
/// # Errors
/// If `cargo metadata` fails or a licence file cannot be read.
pub(crate) fn of_crates(target: &str, without: &[String]) -> anyhow::Result<Vec<Work>> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            target,
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")?;
    let binaries = commands::all();
    let names: Vec<&str> = binaries.iter().map(clap::Command::get_name).collect();
    let mut works = linked(&metadata, &names)
        .into_iter()
        .filter(|package| package.source.is_some() && !without.contains(&package.name))
        .map(|package| {
            let folder = package
                .manifest_path
                .parent()
                .context("a manifest has no folder")?;
            Ok(Work {
                name: format!("{} {}", package.name, package.version),
                expression: package.license.clone().unwrap_or_default(),
                files: files(folder)?,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    works.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(works)
}

/// Returns the packages linked into the given binaries. Dependencies of tests and build scripts, and procedural macros, are
/// left out because they are not part of a binary; `-src` crates are kept because a build script compiles their C code.
fn linked<'a>(metadata: &'a Metadata, binaries: &[&str]) -> Vec<&'a Package> {
    let by_id = |package: &'a Package| (package.id.as_str(), package);
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(by_id).collect();
    let nodes = metadata.resolve.nodes.iter();
    let dependencies: BTreeMap<&str, &[Dependency]> = nodes
        .map(|node| (node.id.as_str(), node.deps.as_slice()))
        .collect();
    let is_binary =
        |package: &&Package| package.source.is_none() && binaries.contains(&package.name.as_str());
    let mut due: Vec<&Package> = metadata.packages.iter().filter(is_binary).collect();
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    while let Some(package) = due.pop() {
        let is_macro = |target: &Target| target.kind.iter().any(|kind| kind == "proc-macro");
        if package.targets.iter().any(is_macro) || !seen.insert(&package.id) {
            continue;
        }
        found.push(package);
        for dependency in dependencies
            .get(package.id.as_str())
            .copied()
            .unwrap_or_default()
        {
            let Some(&other) = packages.get(dependency.pkg.as_str()) else {
                continue;
            };
            let is_linked = |kind: &DependencyKind| match kind.kind.as_deref() {
                None => true,
                Some("build") => other.name.ends_with("-src"),
                Some(_) => false,
            };
            if dependency.dep_kinds.iter().any(is_linked) {
                due.push(other);
            }
        }
    }
    found
}

/// Returns linked software that is not a crate, given as `NAME=FILE`.
///
/// # Errors
/// If `entry` has another form, or the file cannot be read.
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

/// Returns the licence files in a crate's folder, including those of the C libraries in it.
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
    // Source files can have such names, too.
    starts && !SOURCES.iter().any(|extension| name.ends_with(extension))
}

/// Returns one text that lists all works and then all licences, each licence once.
pub(crate) fn text(works: &[Work]) -> String {
    let mut licences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut text = "Third-party software in the binaries of Iris on Kafka, each with the licence that it states.\n\
                    The licence files follow, each text once, below the names of those that carry it.\n\n"
        .to_owned();
    for work in works {
        for (file, content) in &work.files {
            let owner = format!("{} ({file})", work.name);
            licences.entry(content.trim()).or_default().push(owner);
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
        .map(|(content, owners)| (owners, content))
        .collect();
    licences.sort();
    for (owners, content) in licences {
        let _ = write!(
            text,
            "\n{}\n{}\n\n{content}\n",
            "=".repeat(80),
            owners.join("\n")
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

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
    fn licence_files_and_source_files_are_distinguished_by_name() {
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
    fn a_shared_licence_text_appears_once_and_a_work_without_a_text_shows_its_expression() {
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
    fn crates_used_only_for_building_or_testing_are_not_linked() {
        let package = |id: &str, source: Option<&str>, kind: &str| {
            json!({
                "id": id, "name": id, "version": "1.0.0", "source": source, "license": "MIT",
                "manifest_path": "/Cargo.toml", "targets": [{ "kind": [kind] }]
            })
        };
        let dependency =
            |id: &str, kind: Option<&str>| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        let registry = Some("registry");
        let metadata = json!({
            "packages": [
                package("service", None, "bin"), package("other-tool", None, "bin"),
                package("a", registry, "lib"), package("b", registry, "lib"), package("macros", registry, "proc-macro"),
                package("macro-parts", registry, "lib"), package("build-tool", registry, "lib"),
                package("c-src", registry, "lib"), package("test-tool", registry, "lib"), package("d", registry, "lib"),
            ],
            "resolve": { "nodes": [
                { "id": "service", "deps": [
                    dependency("a", None), dependency("macros", None), dependency("test-tool", Some("dev"))
                ] },
                { "id": "a", "deps": [
                    dependency("b", None), dependency("build-tool", Some("build")), dependency("c-src", Some("build"))
                ] },
                { "id": "b", "deps": [dependency("a", None)] },
                { "id": "macros", "deps": [dependency("macro-parts", None)] },
                { "id": "other-tool", "deps": [dependency("d", None)] },
            ] },
        });
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        let mut names: Vec<&str> = linked(&metadata, &["service"])
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c-src", "service"]);
    }

    #[test]
    fn every_crate_in_the_binaries_has_a_licence() {
        let works = of_crates("x86_64-unknown-linux-gnu", &[]).unwrap();
        let unlicensed: Vec<&Work> = works
            .iter()
            .filter(|work| work.expression.is_empty() && work.files.is_empty())
            .collect();
        assert!(unlicensed.is_empty(), "{unlicensed:?}");
        let has = |name: &str| {
            works
                .iter()
                .any(|work| work.name.starts_with(&format!("{name} ")))
        };
        assert!(has("rdkafka-sys") && has("tokio"));
        // These run at build time or in tests only.
        assert!(!has("serde_derive") && !has("proptest") && !has("clap_mangen"));
    }
}
