//! The consumer groups of the classifiers.

use iris_contract::Topic;
use iris_kafka::{GroupOffsets, KafkaSettings, Positions};

use super::action::Mode;
use super::partitions::Partitions;
use crate::fixture::Fixture;

/// The consumer groups of the classifiers, over connections that no fault affects.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    kafka: KafkaSettings,
    input: String,
    mode: Mode,
    /// The group that shares the partitions.
    group: String,
    partitions: Partitions,
}

impl Groups {
    /// Returns the groups of a storm. `kafka` bypasses the proxies.
    pub(super) fn of(
        fixture: &Fixture,
        kafka: &KafkaSettings,
        mode: Mode,
        partitions: &Partitions,
    ) -> Self {
        Self {
            kafka: kafka.clone(),
            input: fixture.topics.input.clone(),
            mode,
            group: fixture.classifier_group(),
            partitions: partitions.clone(),
        }
    }

    /// Returns the committed offsets.
    pub(super) fn committed(&self) -> anyhow::Result<Positions> {
        let committed =
            |group: &str| Ok(GroupOffsets::open(&self.kafka, group, &self.input)?.committed()?);
        match self.mode {
            Mode::Group => committed(&self.group),
            Mode::Listed => {
                let mut all = Positions::new();
                for partition in 0..self.partitions.get(Topic::Input) {
                    let group = format!("unique_group_for_demo2_partition_{partition}");
                    all.extend(committed(&group)?);
                }
                Ok(all)
            }
        }
    }
}
