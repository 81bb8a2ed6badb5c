//! A model of the registry, as it is shown.

use std::collections::BTreeMap;
use std::fmt;

use iris_core::{Description, Lineage, ModelKind, ModelVersion};
use iris_registry::{Registered, Registry};
use iris_service::printable;
use serde::Serialize;

use crate::output::{figure, time};

/// A model of the registry.
#[derive(Serialize)]
pub(super) struct ModelDetails<'a> {
    pub(super) version: ModelVersion,
    pub(super) is_champion: bool,
    pub(super) made: Option<String>,
    /// Whether its rows are in the registry, so that it can be promoted.
    pub(super) has_rows: bool,
    /// The reason why it cannot be used.
    pub(super) refused: Option<String>,
    /// Its description, if it can be used.
    #[serde(flatten)]
    pub(super) description: Option<DescriptionDetails<'a>>,
}

/// A model's description.
#[derive(Serialize)]
pub(super) struct DescriptionDetails<'a> {
    #[serde(flatten)]
    pub(super) kind: ModelKind,
    id: &'a str,
    features: &'a [String],
    label: &'a str,
    classes: &'a [String],
    pub(super) lineage: &'a Lineage,
}

impl<'a> ModelDetails<'a> {
    pub(super) fn of(registry: &Registry, version: ModelVersion, model: &'a Registered) -> Self {
        let details = |description: &'a Description| DescriptionDetails {
            kind: description.content.kind(),
            id: &description.schema.id,
            features: &description.schema.features,
            label: &description.schema.label,
            classes: &description.classes,
            lineage: &description.lineage,
        };
        Self {
            version,
            is_champion: registry.champion() == Some(version),
            made: time(model.timestamp),
            has_rows: registry.has_rows(version),
            refused: model.description.as_ref().err().map(ToString::to_string),
            description: model.description.as_ref().ok().map(details),
        }
    }
}

impl fmt::Display for ModelDetails<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let champion = if self.is_champion {
            ", the champion"
        } else {
            ""
        };
        writeln!(f, "model      {}{champion}", self.version)?;
        if let Some(time) = &self.made {
            writeln!(f, "made       {time}")?;
        }
        if let Some(refused) = &self.refused {
            writeln!(f, "refused    {}", printable(refused))?;
        }
        let Some(description) = &self.description else {
            return Ok(());
        };
        description.fmt(f)?;
        if !self.has_rows {
            writeln!(
                f,
                "kept       only this description; the model cannot be promoted"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for DescriptionDetails<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lineage = self.lineage;
        let (features, classes) = (self.features.join(", "), self.classes.join(", "));
        writeln!(f, "made by    {}", printable(&lineage.made_by))?;
        if let Some(parent) = lineage.parent {
            writeln!(f, "made from  {parent}")?;
        }
        writeln!(f, "rows       {}", printable(&rows(lineage)))?;
        writeln!(f, "kind       {}", self.kind)?;
        writeln!(f, "features   {}", printable(&features))?;
        let (label, classes) = (printable(self.label), printable(&classes));
        writeln!(f, "label      {label}: {classes}")?;
        for (topic, offsets) in &lineage.sources {
            let offsets: Vec<String> = offsets
                .iter()
                .map(|(partition, offset)| format!("{partition}: {offset}"))
                .collect();
            let topic = printable(topic);
            writeln!(f, "learned    {topic} up to {}", offsets.join(", "))?;
        }
        for (name, &value) in &lineage.metrics {
            writeln!(f, "metric     {} {}", printable(name), figure(value))?;
        }
        Ok(())
    }
}

/// Returns the number of training rows, in all and by source: "124: dataset 120, feedback 4"; "none" if there are none.
pub(super) fn rows(lineage: &Lineage) -> String {
    let mut by_source: BTreeMap<&str, u64> = BTreeMap::new();
    for (source, rows) in &lineage.rows {
        *by_source.entry(source).or_default() += rows;
    }
    if by_source.is_empty() {
        return "none".to_owned();
    }
    let total: u64 = by_source.values().sum();
    let parts: Vec<String> = by_source
        .iter()
        .map(|(source, rows)| format!("{source} {rows}"))
        .collect();
    format!("{total}: {}", parts.join(", "))
}
