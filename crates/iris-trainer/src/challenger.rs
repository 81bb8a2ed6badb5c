//! Training: makes a challenger from the champion's rows and the training examples.

use std::collections::BTreeMap;

use iris_core::{Artefact, FitError, Lineage, Model, ModelVersion, TrainingSet};
use iris_kafka::PartitionOffset;
use serde::{Deserialize, Serialize};

use crate::NAME;
use crate::settings::{Policy, TrainerSettings};

/// The name of the rows that come from the dataset, in a model's lineage.
const DATASET: &str = "dataset";

/// The name of the rows that were learned from the stream.
const STREAM: &str = "stream";

/// A row to add to a model's training set, or to remove from it because its label was wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingExample {
    /// The place of its prediction.
    #[serde(with = "crate::place")]
    pub place: PartitionOffset,
    /// The features.
    pub features: Vec<f64>,
    /// The label.
    pub label: String,
    /// Whether the row is removed.
    pub is_withdrawn: bool,
}

/// The limits of a model's training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingLimits {
    /// The rows that it is made of.
    pub policy: Policy,
    /// With [`Policy::Append`], the maximum number of learned rows.
    pub learned_rows: usize,
    /// With [`Policy::Window`], the number of rows.
    pub window_rows: usize,
}

impl From<&TrainerSettings> for TrainingLimits {
    fn from(settings: &TrainerSettings) -> Self {
        Self {
            policy: settings.policy,
            learned_rows: settings.max_learned_rows,
            window_rows: settings.window_rows,
        }
    }
}

/// Trains a challenger. `None` if it is the champion again.
///
/// # Errors
/// [`FitError`] if too few rows are left.
pub fn train(
    champion: &Artefact,
    examples: &[TrainingExample],
    limits: TrainingLimits,
    sources: &BTreeMap<String, BTreeMap<i32, i64>>,
) -> Result<Option<Artefact>, FitError> {
    let rows = champion.model.training_set();
    let schema = rows.schema();
    let own = rows
        .features()
        .chunks_exact(schema.features.len())
        .zip(rows.class_of_row())
        .map(|(features, &class)| (features, rows.classes()[class].as_str()));
    let mut rows: Vec<(&[f64], &str)> = own.collect();
    let mut from_dataset = from_dataset(&champion.lineage).min(rows.len());
    for example in examples {
        let row = (&example.features[..], example.label.as_str());
        if !example.is_withdrawn {
            rows.push(row);
        } else if let Some(latest) = rows[from_dataset..].iter().rposition(|known| *known == row) {
            rows.remove(from_dataset + latest);
        }
    }
    match limits.policy {
        Policy::Append => {
            let excess = (rows.len() - from_dataset).saturating_sub(limits.learned_rows);
            rows.drain(from_dataset..from_dataset + excess);
        }
        Policy::Window => {
            let excess = rows.len().saturating_sub(limits.window_rows);
            rows.drain(..excess);
            from_dataset = from_dataset.saturating_sub(excess);
        }
    }
    let sources_of_rows = [(DATASET, from_dataset), (STREAM, rows.len() - from_dataset)];
    let set = TrainingSet::new(schema.clone(), rows.into_iter());
    let model = Model::fit(set, champion.model.neighbors())?;
    let parent: ModelVersion = champion.model.version();
    if model.version() == parent {
        return Ok(None);
    }
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
    Ok(Some(Artefact { model, lineage }))
}

/// Returns the number of rows that came from the dataset. They come first in a model.
fn from_dataset(lineage: &Lineage) -> usize {
    match lineage.rows.first() {
        Some((name, count)) if name == DATASET => usize::try_from(*count).unwrap_or(usize::MAX),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use iris_core::Schema;

    use super::*;

    fn champion() -> Artefact {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        let rows = [(&[1.0][..], "a"), (&[2.0][..], "b")];
        Artefact {
            model: Model::fit(TrainingSet::new(schema, rows.into_iter()), 1).unwrap(),
            lineage: Lineage {
                rows: vec![(DATASET.to_owned(), 2)],
                ..Lineage::default()
            },
        }
    }

    fn example(x: f64, label: &str, is_withdrawn: bool) -> TrainingExample {
        TrainingExample {
            place: PartitionOffset {
                partition: 0,
                offset: 0,
            },
            features: vec![x],
            label: label.to_owned(),
            is_withdrawn,
        }
    }

    const LIMITS: TrainingLimits = TrainingLimits {
        policy: Policy::Append,
        learned_rows: 2,
        window_rows: 3,
    };

    fn rows(artefact: &Artefact) -> String {
        let rows = artefact.model.training_set();
        let row = |(x, &class): (&f64, &usize)| format!("{x}{}", rows.classes()[class]);
        rows.features()
            .iter()
            .zip(rows.class_of_row())
            .map(row)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn trained(from: &Artefact, examples: &[TrainingExample], limits: TrainingLimits) -> Artefact {
        train(from, examples, limits, &BTreeMap::new())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn rows_are_appended_and_the_oldest_learned_rows_are_dropped() {
        let first = trained(&champion(), &[example(3.0, "c", false)], LIMITS);
        assert_eq!(rows(&first), "1a 2b 3c");
        assert_eq!(first.lineage.parent, Some(champion().model.version()));
        let more = [example(4.0, "a", false), example(5.0, "a", false)];
        let second = trained(&first, &more, LIMITS);
        assert_eq!(rows(&second), "1a 2b 4a 5a");
        let expected = [("dataset".to_owned(), 2), ("stream".to_owned(), 2)];
        assert_eq!(second.lineage.rows, expected);
    }

    #[test]
    fn a_window_drops_rows_of_the_dataset_too() {
        let limits = TrainingLimits {
            policy: Policy::Window,
            ..LIMITS
        };
        let examples = [example(3.0, "c", false), example(4.0, "a", false)];
        let trained = trained(&champion(), &examples, limits);
        assert_eq!(rows(&trained), "2b 3c 4a");
        let expected = [("dataset".to_owned(), 1), ("stream".to_owned(), 2)];
        assert_eq!(trained.lineage.rows, expected);
    }

    #[test]
    fn a_row_with_a_wrong_label_is_removed() {
        let first = trained(&champion(), &[example(2.0, "b", false)], LIMITS);
        let correction = [example(2.0, "b", true), example(2.0, "a", false)];
        assert_eq!(rows(&trained(&first, &correction, LIMITS)), "1a 2b 2a");
    }

    #[test]
    fn the_same_rows_make_the_same_model() {
        // A row of the dataset is never removed, even if it is equal.
        let examples = [example(2.0, "b", true)];
        let same = train(&champion(), &examples, LIMITS, &BTreeMap::new()).unwrap();
        assert!(same.is_none());
    }
}
