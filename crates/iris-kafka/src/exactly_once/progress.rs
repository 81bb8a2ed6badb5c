//! The offsets that a transaction commits.

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{Offset, TopicPartitionList};

use crate::change::identity::TopicId;
use crate::exactly_once::fault::Fault;
use crate::offsets::Positions;

/// The input that a transaction commits: the positions at which reading continues.
pub(crate) struct Progress<'a> {
    pub(crate) topic: &'a str,
    pub(crate) positions: &'a Positions,
    /// The topic's id, which becomes the metadata of the offsets.
    pub(crate) topic_id: Option<&'a TopicId>,
    /// Proof that the partitions still belong to this consumer.
    pub(crate) group: ConsumerGroupMetadata,
}

impl Progress<'_> {
    /// Returns the positions in the client's form.
    pub(crate) fn to_list(&self) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::with_capacity(self.positions.len());
        for (partition, position) in self.positions.iter() {
            let mut element = list.add_partition(self.topic, partition);
            element
                .set_offset(Offset::Offset(position))
                .map_err(|error| Fault::of("collecting offsets", &error))?;
            if let Some(id) = self.topic_id {
                element.set_metadata(id.to_metadata());
            }
        }
        Ok(list)
    }
}
