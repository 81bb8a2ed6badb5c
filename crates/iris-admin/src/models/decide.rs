//! `models promote` and `models rollback`: decisions about the champion.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use iris_contract::registry::Decision;
use iris_registry::{Grounds, Registry, RegistryTopic};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::version::resolve;
use crate::NAME;

/// A decision that has made a champion.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct DecisionReport<'a>(&'a Decision);

impl fmt::Display for DecisionReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decision {
            number,
            version,
            replaces,
            ..
        } = self.0;
        write!(f, "decision {number}: {version} is the champion")?;
        if let Some(previous) = replaces {
            write!(f, ", replacing {previous}")?;
        }
        writeln!(f)
    }
}

/// Makes a model the champion. Returns the registry with the decision.
pub(super) fn promote(
    topic: &RegistryTopic,
    digits: &str,
    reason: String,
    stop: &CancellationToken,
) -> anyhow::Result<Registry> {
    let registry = topic.read()?;
    let version = resolve(&registry, digits)?;
    // A model that cannot be loaded must not be promoted: classifiers would refuse it.
    topic.load(&registry, version)?;
    let grounds = grounds(reason);
    Ok(topic.update(stop, &mut |registry| {
        registry.promote(version, grounds.clone())
    })?)
}

/// Makes the champion's predecessor the champion again. Returns the registry with the decision.
pub(super) fn roll_back(
    topic: &RegistryTopic,
    reason: String,
    stop: &CancellationToken,
) -> anyhow::Result<Registry> {
    let grounds = grounds(reason);
    Ok(topic.update(stop, &mut |registry| registry.roll_back(grounds.clone()))?)
}

fn grounds(reason: String) -> Grounds {
    Grounds {
        by: NAME.to_owned(),
        reason,
        figures: BTreeMap::new(),
    }
}

/// Returns the latest decision.
pub(super) fn latest(registry: &Registry) -> anyhow::Result<DecisionReport<'_>> {
    let recorded = registry.decisions().next_back();
    let recorded = recorded.context("the decision is not in the registry")?;
    Ok(DecisionReport(&recorded.decision))
}

#[cfg(test)]
mod tests {
    use iris_core::Lineage;

    use super::super::samples::{artefact, succession};
    use super::*;

    #[test]
    fn a_decision_is_reported_with_the_champion_that_it_replaces() {
        let (first, second) = (
            artefact(1.0, Lineage::default()),
            artefact(2.0, Lineage::default()),
        );
        let (old, new) = (first.model.version(), second.model.version());
        let registry = succession(&[&first]);
        assert_eq!(
            latest(&registry).unwrap().to_string(),
            format!("decision 1: {old} is the champion\n")
        );
        let registry = succession(&[&first, &second]);
        let report = latest(&registry).unwrap();
        assert_eq!(
            report.to_string(),
            format!("decision 2: {new} is the champion, replacing {old}\n")
        );
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(
            (&json["number"], &json["version"]),
            (&2.into(), &new.to_string().into())
        );
        assert!(latest(&Registry::default()).is_err());
    }

    #[test]
    fn a_decision_names_this_program_and_the_users_reason() {
        let grounds = grounds("three neighbours are enough".to_owned());
        assert_eq!(grounds.by, "iris-admin");
        assert_eq!(grounds.reason, "three neighbours are enough");
    }
}
