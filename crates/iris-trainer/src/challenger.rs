//! Training: a challenger from the champion's rows and what there is to learn.

use std::collections::BTreeMap;

use iris_core::{Artefact, FitError, Lineage, Model, ModelVersion, TrainingSet};
use serde::{Deserialize, Serialize};

use crate::NAME;
use crate::observation::Place;
use crate::settings::Policy;

/// The stretch of a model's rows that the dataset gave.
const DATASET: &str = "dataset";

/// The stretch that was learned from the stream.
const STREAM: &str = "stream";

/// A row to learn, or to unlearn because its label was wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesson {
    /// The prediction that it is about.
    pub place: Place,
    /// The features.
    pub features: Vec<f64>,
    /// The label.
    pub label: String,
    /// Whether the row is to go instead of to come.
    pub is_withdrawn: bool,
}

/// How many rows a model may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What it is trained on.
    pub policy: Policy,
    /// With [`Policy::Append`], the most rows that were learned.
    pub learned_rows: usize,
    /// With [`Policy::Window`], the most rows.
    pub window_rows: usize,
}

/// Trains a challenger. `None` if it would be the champion again.
///
/// # Errors
/// [`FitError`] if too few rows are left.
pub fn train(
    champion: &Artefact,
    lessons: &[Lesson],
    room: Room,
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
    for lesson in lessons {
        let row = (&lesson.features[..], lesson.label.as_str());
        if !lesson.is_withdrawn {
            rows.push(row);
        } else if let Some(latest) = rows[from_dataset..].iter().rposition(|known| *known == row) {
            rows.remove(from_dataset + latest);
        }
    }
    match room.policy {
        Policy::Append => {
            let excess = (rows.len() - from_dataset).saturating_sub(room.learned_rows);
            rows.drain(from_dataset..from_dataset + excess);
        }
        Policy::Window => {
            let excess = rows.len().saturating_sub(room.window_rows);
            rows.drain(..excess);
            from_dataset = from_dataset.saturating_sub(excess);
        }
    }
    let stretches = [(DATASET, from_dataset), (STREAM, rows.len() - from_dataset)];
    let set = TrainingSet::new(schema.clone(), rows.into_iter());
    let model = Model::fit(set, champion.model.neighbors())?;
    let parent: ModelVersion = champion.model.version();
    if model.version() == parent {
        return Ok(None);
    }
    let lineage = Lineage {
        parent: Some(parent),
        made_by: NAME.to_owned(),
        rows: stretches
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count as u64))
            .collect(),
        sources: sources.clone(),
        metrics: BTreeMap::new(),
    };
    Ok(Some(Artefact { model, lineage }))
}

/// The rows that came from the dataset: those that a model begins with.
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

    fn lesson(x: f64, label: &str, is_withdrawn: bool) -> Lesson {
        Lesson {
            place: Place {
                partition: 0,
                offset: 0,
            },
            features: vec![x],
            label: label.to_owned(),
            is_withdrawn,
        }
    }

    const ROOM: Room = Room {
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

    fn trained(from: &Artefact, lessons: &[Lesson], room: Room) -> Artefact {
        train(from, lessons, room, &BTreeMap::new())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn rows_are_appended_and_the_oldest_learned_go() {
        let first = trained(&champion(), &[lesson(3.0, "c", false)], ROOM);
        assert_eq!(rows(&first), "1a 2b 3c");
        assert_eq!(first.lineage.parent, Some(champion().model.version()));
        let more = [lesson(4.0, "a", false), lesson(5.0, "a", false)];
        let second = trained(&first, &more, ROOM);
        assert_eq!(rows(&second), "1a 2b 4a 5a");
        let stretches = [("dataset".to_owned(), 2), ("stream".to_owned(), 2)];
        assert_eq!(second.lineage.rows, stretches);
    }

    #[test]
    fn a_window_lets_the_datasets_rows_go_too() {
        let room = Room {
            policy: Policy::Window,
            ..ROOM
        };
        let lessons = [lesson(3.0, "c", false), lesson(4.0, "a", false)];
        let trained = trained(&champion(), &lessons, room);
        assert_eq!(rows(&trained), "2b 3c 4a");
        let stretches = [("dataset".to_owned(), 1), ("stream".to_owned(), 2)];
        assert_eq!(trained.lineage.rows, stretches);
    }

    #[test]
    fn what_was_learned_under_a_wrong_label_is_unlearned() {
        let first = trained(&champion(), &[lesson(2.0, "b", false)], ROOM);
        let correction = [lesson(2.0, "b", true), lesson(2.0, "a", false)];
        assert_eq!(rows(&trained(&first, &correction, ROOM)), "1a 2b 2a");
    }

    #[test]
    fn the_same_rows_are_the_same_model() {
        // Never the dataset's own row, though it looks the same.
        let lessons = [lesson(2.0, "b", true)];
        let same = train(&champion(), &lessons, ROOM, &BTreeMap::new()).unwrap();
        assert!(same.is_none());
    }
}
