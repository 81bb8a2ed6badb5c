//! Finds the models that classified records at a time.

use std::fmt;

use iris_core::ModelVersion;
use iris_kafka::{PartitionOffset, offsets_at};
use iris_registry::{Recorded, Registry, RegistryTopic};
use iris_service::TextTable;
use jiff::Timestamp;
use serde::Serialize;

use super::lookup::{Lookup, provenance};
use crate::output;

/// The first predictions at or after a time; the text also shows the champion at that time.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PredictionsSince {
    #[serde(skip)]
    time: Timestamp,
    #[serde(skip)]
    champion: Option<ModelVersion>,
    first: Vec<FirstPrediction>,
}

/// The first prediction of a partition.
#[derive(Debug, Serialize)]
struct FirstPrediction {
    partition: i32,
    prediction_offset: i64,
    record_time: Option<String>,
    model_version: ModelVersion,
}

/// Returns the first prediction of each partition for a record of this time or later.
///
/// # Errors
/// If the registry or the predictions cannot be read.
pub(super) fn predictions(
    lookup: &Lookup<'_>,
    registry: &RegistryTopic,
    time: Timestamp,
) -> anyhow::Result<PredictionsSince> {
    let champion = champion_at(&registry.read()?, time);
    let topic = &lookup.settings.topics.predictions;
    let starts = offsets_at(&lookup.settings.kafka, topic, time.as_millisecond())?;
    let mut first = Vec::new();
    for (partition, offset) in starts {
        let start = PartitionOffset { partition, offset };
        let found = lookup.first(topic, start, |record| provenance(record).is_some())?;
        if let Some((record, provenance)) =
            found.and_then(|record| provenance(&record).map(|provenance| (record, provenance)))
        {
            first.push(FirstPrediction {
                partition,
                prediction_offset: record.offset,
                record_time: output::time(record.timestamp),
                model_version: provenance.model_version,
            });
        }
    }
    Ok(PredictionsSince {
        time,
        champion,
        first,
    })
}

/// Returns the champion according to the decisions up to a time. `None` if there was none, or if decisions of that time have been
/// deleted.
fn champion_at(registry: &Registry, time: Timestamp) -> Option<ModelVersion> {
    let mut champions = registry
        .decisions()
        .filter(|recorded| recorded.decision.action.makes_champion())
        .peekable();
    let is_earlier = |recorded: &&Recorded| {
        let timestamp = recorded.timestamp;
        timestamp.is_none_or(|timestamp| timestamp <= time.as_millisecond())
    };
    let mut champion = None;
    while let Some(made) = champions.next_if(is_earlier) {
        champion = Some(made.decision.version);
    }
    let replaced = champions.peek().map(|next| next.decision.replaces);
    champion.filter(|_| replaced.is_none_or(|replaced| replaced == champion))
}

impl PredictionsSince {
    fn table(&self) -> TextTable {
        let mut table =
            TextTable::new(["partition", "record of", "prediction's offset", "version"]);
        for prediction in &self.first {
            table.add_row([
                prediction.partition.to_string(),
                prediction.record_time.clone().unwrap_or_default(),
                prediction.prediction_offset.to_string(),
                prediction.model_version.to_string(),
            ]);
        }
        table
    }
}

impl fmt::Display for PredictionsSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let champion = self
            .champion
            .map_or_else(|| "not known".to_owned(), |version| version.to_string());
        let (time, table) = (self.time, self.table());
        writeln!(f, "champion at {time}: {champion}\n{table}")
    }
}

#[cfg(test)]
mod tests {
    use iris_contract::registry::Entry;
    use iris_core::Lineage;

    use super::super::super::samples::{artefact, enter};
    use super::*;

    #[test]
    fn the_champion_at_a_time_is_that_of_the_latest_decision_that_made_one() {
        let mut registry = Registry::default();
        let models = [10.0, 20.0, 30.0].map(|x| artefact(x, Lineage::default()));
        let versions = models.each_ref().map(|artefact| artefact.model.version());
        for (artefact, (is_promoted, time)) in
            models.iter().zip([(true, 10), (false, 20), (true, 30)])
        {
            enter(&mut registry, artefact, is_promoted, time);
        }
        for (time, champion) in [
            (9, None),
            (10, Some(versions[0])),
            (29, Some(versions[0])),
            (30, Some(versions[2])),
            (99, Some(versions[2])),
        ] {
            let time = Timestamp::from_millisecond(time).unwrap();
            assert_eq!(champion_at(&registry, time), champion, "{time}");
        }
        let without_a_decision = registry.with(&[Entry::without_decision(3)]);
        let mut later = without_a_decision;
        let last = artefact(40.0, Lineage::default());
        enter(&mut later, &models[2], true, 40);
        enter(&mut later, &last, true, 50);
        let later = later.with(&[Entry::without_decision(3)]);
        let at = |time| champion_at(&later, Timestamp::from_millisecond(time).unwrap());
        assert_eq!(at(45), None, "the decision is deleted");
        assert_eq!(at(50), Some(last.model.version()));
    }

    #[test]
    fn predictions_are_listed_below_the_champion_and_alone_in_json() {
        let since = PredictionsSince {
            time: Timestamp::UNIX_EPOCH,
            champion: None,
            first: vec![FirstPrediction {
                partition: 3,
                prediction_offset: 70,
                record_time: None,
                model_version: "0123456789abcdef".parse().unwrap(),
            }],
        };
        let text = since.to_string();
        assert!(
            text.starts_with("champion at 1970-01-01T00:00:00Z: not known\n"),
            "{text}"
        );
        assert!(text.contains("0123456789abcdef"), "{text}");
        let json = serde_json::to_value(since).unwrap();
        assert_eq!(json[0]["prediction_offset"], 70);
    }
}
