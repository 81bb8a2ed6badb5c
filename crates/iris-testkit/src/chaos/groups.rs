//! The consumer groups of the classifiers.

use iris_contract::Topic;
use iris_kafka::{GroupOffsets, KafkaSettings, Positions};

use super::action::Mode;
use super::changes::Partitions;

/// The consumer groups of the classifiers, over connections that no fault affects.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub(super) kafka: KafkaSettings,
    pub(super) input: String,
    pub(super) mode: Mode,
    /// The group that shares the partitions.
    pub(super) group: String,
    pub(super) partitions: Partitions,
}

impl Groups {
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
