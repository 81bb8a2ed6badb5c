//! Training: makes a challenger from the champion's rows and the examples that it was not trained on.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::{Artefact, FitError, Lineage, Model, ModelKind, ModelVersion, TrainingSet};
use iris_kafka::PartitionOffset;
use serde::{Deserialize, Serialize};

use crate::NAME;
use crate::settings::{Policy, TrainerSettings};

/// The name of the rows that come from the dataset, in a model's lineage.
pub(crate) const DATASET: &str = "dataset";

/// The name of the rows that were learned from the stream.
const STREAM: &str = "stream";

/// A record whose label is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingExample {
    /// The place of its prediction.
    #[serde(with = "crate::place")]
    pub place: PartitionOffset,
    /// The features.
    pub features: Vec<f64>,
    /// The label.
    pub label: String,
    /// The number of its label in the stream.
    #[serde(default)]
    pub record: u64,
}

/// A model's row that was learned from the stream. Rows are ordered by the number of their label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, i32, i64)", into = "(u64, i32, i64)")]
pub struct KnownRow {
    /// The number of its label in the stream.
    pub record: u64,
    /// The place of its prediction.
    pub place: PartitionOffset,
}

impl From<(u64, i32, i64)> for KnownRow {
    fn from((record, partition, offset): (u64, i32, i64)) -> Self {
        let place = PartitionOffset { partition, offset };
        Self { record, place }
    }
}

impl From<KnownRow> for (u64, i32, i64) {
    fn from(row: KnownRow) -> Self {
        (row.record, row.place.partition, row.place.offset)
    }
}

impl From<&TrainingExample> for KnownRow {
    fn from(example: &TrainingExample) -> Self {
        Self {
            record: example.record,
            place: example.place,
        }
    }
}

/// The rows that a challenger is trained on: those of the champion that are not left out, and the examples.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The champion's newest rows, as far as their predictions are known, oldest first.
    pub known: &'a [KnownRow],
    /// Those of them that are left out.
    pub withdrawn: &'a BTreeSet<KnownRow>,
    /// The number of the champion's oldest rows that are left out, of those whose predictions are not known.
    pub forgotten: usize,
    /// Rows of records before this number are left out.
    pub first_record: u64,
    /// The number of labels so far.
    pub records: u64,
    /// The examples.
    pub examples: &'a [TrainingExample],
}

impl Selection<'_> {
    /// Returns how many of the champion's rows are left out. `rows`: their number.
    #[must_use]
    pub fn left_out(&self, rows: usize) -> usize {
        let unknown = rows.saturating_sub(self.known.len());
        let is_old = |row: &KnownRow| row.record < self.first_record;
        let old = self.known.partition_point(is_old);
        let withdrawn = self.withdrawn.iter().filter(|row| !is_old(row));
        self.forgotten.min(unknown) + old + withdrawn.count()
    }

    /// Whether a known row is not left out.
    pub(crate) fn has(&self, row: &KnownRow) -> bool {
        row.record >= self.first_record && !self.withdrawn.contains(row)
    }
}

/// The limits of a model's training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingLimits {
    /// The rows that it is made of.
    pub policy: Policy,
    /// With [`Policy::Append`], the maximum number of learned rows.
    pub learned_rows: usize,
    /// With [`Policy::Window`], the number of newest records whose rows are used.
    pub window_records: u64,
}

impl From<&TrainerSettings> for TrainingLimits {
    fn from(settings: &TrainerSettings) -> Self {
        Self {
            policy: settings.policy,
            learned_rows: settings.max_learned_rows,
            window_records: settings.window_records,
        }
    }
}

/// A challenger, and its rows that were learned from the stream, in order.
#[derive(Clone, Debug)]
pub struct Challenger {
    /// The model; `None` if it is the champion again.
    pub artefact: Option<Artefact>,
    /// The rows.
    pub known: Vec<KnownRow>,
    /// For each row of the model, the champion's row that it is, if it is one.
    pub origins: Vec<Option<usize>>,
}

/// A row of a challenger.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    features: &'a [f64],
    label: &'a str,
    /// Its identity, if it was learned from the stream.
    known: Option<KnownRow>,
    /// The champion's row that it is, if it is one.
    origin: Option<usize>,
}

/// Trains a challenger. `kind` returns its kind for the rows that it is trained on.
///
/// # Errors
/// [`FitError`] if too few rows are left.
pub fn train(
    champion: &Artefact,
    selection: Selection<'_>,
    limits: TrainingLimits,
    sources: &BTreeMap<String, BTreeMap<i32, i64>>,
    kind: impl FnOnce(&TrainingSet) -> ModelKind,
) -> Result<Challenger, FitError> {
    let set = champion.model.training_set();
    let schema = set.schema();
    let unknown = set.len().saturating_sub(selection.known.len());
    let first = selection.forgotten.min(unknown);
    let own: Vec<(&[f64], &str)> = set.rows().collect();
    let row = |position: usize, known| Row {
        features: own[position].0,
        label: own[position].1,
        known,
        origin: Some(position),
    };
    let mut rows: Vec<Row> = (first..unknown)
        .map(|position| row(position, None))
        .collect();
    let without_identity = rows.len();
    let known = (unknown..own.len()).zip(selection.known);
    rows.extend(
        known
            .filter(|(_, known)| selection.has(known))
            .map(|(position, &known)| row(position, Some(known))),
    );
    rows.extend(selection.examples.iter().map(|example| Row {
        features: &example.features,
        label: &example.label,
        known: Some(KnownRow::from(example)),
        origin: None,
    }));
    rows[without_identity..].sort_by_key(|row| row.known);
    let from_dataset = from_dataset(&champion.lineage).min(unknown);
    let from_dataset = limit(
        &mut rows,
        from_dataset.saturating_sub(first),
        limits,
        selection.records,
    );
    let known: Vec<KnownRow> = rows.iter().filter_map(|row| row.known).collect();
    let origins = rows.iter().map(|row| row.origin).collect();
    let sources_of_rows = [(DATASET, from_dataset), (STREAM, rows.len() - from_dataset)];
    let rows = rows.iter().map(|row| (row.features, row.label));
    let set = TrainingSet::new(schema.clone(), rows);
    let kind = kind(&set);
    let model = Model::fit(set, kind)?;
    let parent: ModelVersion = champion.model.version();
    let lineage = Lineage {
        parent: Some(parent),
        made_by: NAME.to_owned(),
        rows: sources_of_rows
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count as u64))
            .collect(),
        sources: sources.clone(),
        metrics: BTreeMap::new(),
    };
    let is_other = model.version() != parent;
    Ok(Challenger {
        artefact: is_other.then_some(Artefact { model, lineage }),
        known,
        origins,
    })
}

/// Drops the oldest rows above the limits. Returns the number of rows from the dataset that are left; they come first.
fn limit(
    rows: &mut Vec<Row<'_>>,
    from_dataset: usize,
    limits: TrainingLimits,
    records: u64,
) -> usize {
    match limits.policy {
        Policy::Append => {
            let excess = (rows.len() - from_dataset).saturating_sub(limits.learned_rows);
            rows.drain(from_dataset..from_dataset + excess);
            from_dataset
        }
        Policy::Window => {
            let unknown = rows.iter().take_while(|row| row.known.is_none()).count();
            let before = limits.window_records.saturating_sub(records);
            let before = usize::try_from(before).unwrap_or(usize::MAX);
            let excess = unknown.saturating_sub(before);
            rows.drain(..excess);
            let first = records.saturating_sub(limits.window_records);
            rows.retain(|row| row.known.is_none_or(|known| known.record > first));
            from_dataset.saturating_sub(excess)
        }
    }
}

/// Returns the number of rows that came from the dataset. They come first in a model.
fn from_dataset(lineage: &Lineage) -> usize {
    match lineage.rows.first() {
        Some((name, count)) if name == DATASET => usize::try_from(*count).unwrap_or(usize::MAX),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
