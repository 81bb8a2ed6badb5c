//! `models adopt`: the model of the dataset becomes the first champion.

use std::fmt;

use anyhow::bail;
use iris_contract::figure;
use iris_core::{ModelVersion, Schema};
use iris_registry::{Grounds, Registry, RegistryTopic};
use iris_service::FirstModel;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::settings::FirstModelSettings;

/// The model of the dataset, and the champion.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct AdoptReport {
    version: ModelVersion,
    champion: ModelVersion,
}

impl fmt::Display for AdoptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, champion } = self;
        if version == champion {
            writeln!(f, "{version} is the champion")
        } else {
            writeln!(
                f,
                "{version} is in the registry; the champion is {champion}, and `iris-admin models promote {version}` replaces it"
            )
        }
    }
}

/// Fits the model of the dataset and adds it to the registry. It becomes the champion if there is none. Returns `None` if
/// `stop` is cancelled.
pub(super) fn adopt(
    topic: &RegistryTopic,
    settings: &FirstModelSettings,
    stop: &CancellationToken,
) -> anyhow::Result<Option<AdoptReport>> {
    let Some(fitted) = FirstModel::fit(&settings.dataset, &settings.model, stop)? else {
        return Ok(None);
    };
    let metrics = figure::of_first_model(fitted.accuracy, fitted.held_out_rows);
    let artefact = fitted.into_artefact(NAME, metrics);
    check_columns(&topic.read()?, &settings.dataset.schema())?;
    let grounds = Grounds {
        by: NAME.to_owned(),
        reason: "there was no champion".to_owned(),
        figures: artefact.lineage.metrics.clone(),
    };
    let registry = topic.update(stop, &mut |registry| {
        Ok(registry.offer(&artefact, grounds.clone()))
    })?;
    let version = artefact.model.version();
    Ok(Some(AdoptReport {
        version,
        champion: registry.champion().unwrap_or(version),
    }))
}

/// Refuses a registry whose champion has other columns than the dataset.
pub(super) fn check_columns(registry: &Registry, ours: &Schema) -> anyhow::Result<()> {
    let champion = registry
        .champion()
        .and_then(|version| registry.model(version));
    if let Some(Ok(champion)) = champion.map(|model| &model.description)
        && (&champion.schema.features, &champion.schema.label) != (&ours.features, &ours.label)
    {
        bail!(
            "the champion has other columns than the dataset: another dataset needs another topics.models"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use iris_core::Lineage;

    use super::super::samples::{artefact, succession};
    use super::*;

    #[test]
    fn the_report_names_the_champion_and_how_to_replace_it() {
        let [first, second] = [1.0, 2.0].map(|x| artefact(x, Lineage::default()).model.version());
        let report = |champion| {
            let version = first;
            AdoptReport { version, champion }.to_string()
        };
        assert_eq!(report(first), format!("{first} is the champion\n"));
        assert!(report(second).contains(&format!("`iris-admin models promote {first}`")));
    }

    #[test]
    fn a_registry_with_other_columns_is_refused() {
        let model = artefact(1.0, Lineage::default());
        let registry = succession(&[&model]);
        let same = model.model.training_set().schema().clone();
        assert!(check_columns(&registry, &same).is_ok());
        let other = Schema {
            label: "other".to_owned(),
            ..same
        };
        assert!(check_columns(&registry, &other).is_err());
        assert!(check_columns(&Registry::default(), &other).is_ok());
    }
}
