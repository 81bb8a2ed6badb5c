//! `models prune`: deletes the rows of models that are not needed any more.

use std::collections::BTreeMap;
use std::fmt;

use iris_contract::registry::Entry;
use iris_core::ModelVersion;
use iris_registry::{Pruned, Registry, RegistryTopic, Retention};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// The rows that were deleted or, in a dry run, would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct PruneReport {
    dry_run: bool,
    /// The size in bytes of the rows that no other model has, by model.
    models: BTreeMap<ModelVersion, usize>,
    /// The number of records that are deleted or replaced.
    records: usize,
}

/// Deletes the rows of models that are not needed, except for those of the `keep` newest former champions.
///
/// # Errors
/// If the registry cannot be read or written.
pub(super) fn prune(
    topic: &RegistryTopic,
    keep: usize,
    dry_run: bool,
    stop: &CancellationToken,
) -> anyhow::Result<PruneReport> {
    if dry_run {
        return Ok(PruneReport::of(true, &superfluous(&topic.read()?, keep)));
    }
    let mut report = PruneReport::default();
    topic.update(stop, &mut |registry| {
        let pruned = superfluous(registry, keep);
        report = PruneReport::of(false, &pruned);
        Ok::<Vec<Entry>, _>(pruned.entries)
    })?;
    Ok(report)
}

/// Returns the records that are not needed. The newest challenger without a decision may be running in shadow.
fn superfluous(registry: &Registry, keep: usize) -> Pruned {
    registry.prune(Retention {
        retired: keep,
        in_shadow: registry.newest_undecided(),
        ..Retention::default()
    })
}

impl PruneReport {
    fn of(dry_run: bool, pruned: &Pruned) -> Self {
        Self {
            dry_run,
            models: pruned.models.clone(),
            records: pruned.entries.len(),
        }
    }
}

impl fmt::Display for PruneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dry_run,
            models,
            records,
        } = self;
        let deleted = if *dry_run { "would delete" } else { "deleted" };
        for (version, bytes) in models {
            writeln!(f, "{deleted} the rows of model {version}, {bytes} bytes")?;
        }
        let (count, bytes) = (models.len(), models.values().sum::<usize>());
        writeln!(
            f,
            "{deleted} the rows of {count} models, {bytes} bytes, with {records} records"
        )
    }
}

#[cfg(test)]
mod tests {
    use iris_core::{Artefact, Lineage};

    use super::super::samples::{artefact, succession};
    use super::*;

    #[test]
    fn the_rows_of_old_former_champions_are_reported() {
        let first = artefact(1.0, Lineage::default());
        let challenger = |x| {
            let lineage = Lineage {
                parent: Some(first.model.version()),
                ..Lineage::default()
            };
            artefact(x, lineage)
        };
        let others: Vec<Artefact> = [2.0, 3.0, 4.0, 5.0].map(challenger).into();
        let models: Vec<&Artefact> = [&first].into_iter().chain(&others).collect();
        let registry = succession(&models);
        let versions: Vec<ModelVersion> = others.iter().map(|m| m.model.version()).collect();
        for (keep, expected) in [(0, &versions[..2]), (1, &versions[..1]), (2, &[])] {
            let pruned = superfluous(&registry, keep);
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(pruned.models.keys().copied().collect::<Vec<_>>(), expected);
        }
        let pruned = superfluous(&registry, 1);
        let (version, bytes) = (versions[0], registry.row_bytes(versions[0]));
        assert!(bytes > 30);
        assert_eq!(
            PruneReport::of(true, &pruned).to_string(),
            format!(
                "would delete the rows of model {version}, {bytes} bytes\n\
                 would delete the rows of 1 models, {bytes} bytes, with 2 records\n"
            )
        );
        let json = serde_json::to_value(PruneReport::of(false, &pruned)).unwrap();
        assert_eq!(json["models"][version.to_string()], bytes);
        assert_eq!(
            superfluous(&registry, 2),
            Pruned::default(),
            "there is nothing to delete"
        );
    }
}
