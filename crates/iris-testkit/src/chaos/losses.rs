//! The losses that the processes of a storm report, and those that they could not report.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::storm::Storm;
use crate::http::get;
use crate::ledger::{Findings, LossReport, UnreportedLosses, audit_metric};
use crate::wait::{TIMEOUT, eventually};

/// Reads the reports of lost input records in the logs of all processes of a storm, zombies included.
pub(super) fn logged(directory: &Path, topic: &str) -> anyhow::Result<Vec<LossReport>> {
    let mut reports = Vec::new();
    for (process, log) in logs(directory)? {
        let report = |line| LossReport::parse(&process, topic, line);
        reports.extend(log.lines().filter_map(report));
    }
    Ok(reports)
}

/// Returns the offsets of input records whose loss a process could not report: it was killed in the transaction that skipped
/// them, or never learned the result.
pub(super) fn unreported(directory: &Path, topic: &str) -> anyhow::Result<BTreeSet<(i32, i64)>> {
    let mut unreported = BTreeSet::new();
    for (_, log) in logs(directory)? {
        unreported.extend(UnreportedLosses::read(topic, &log));
    }
    Ok(unreported)
}

/// Returns the name and the log of each process of a storm, zombies included.
fn logs(directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let process = path.file_stem().unwrap_or_default().to_string_lossy();
        let log = fs::read(&path)?;
        logs.push((
            process.into_owned(),
            String::from_utf8_lossy(&log).into_owned(),
        ));
    }
    Ok(logs)
}

/// Compares the metrics of the classifiers that run with their logs. To be called while no records are processed.
pub(super) fn audit_metrics(
    storm: &Storm<'_>,
    directory: &Path,
    topic: &str,
) -> anyhow::Result<Findings> {
    let reports = logged(directory, topic)?;
    let mut findings = Findings::default();
    for (process, port) in storm.classifiers() {
        let answer = || get(port, "/metrics");
        let (_, metrics) = eventually(&format!("the metrics of {process}"), TIMEOUT, answer)?;
        findings.extend(audit_metric(&process, topic, &metrics, &reports));
    }
    Ok(findings)
}
