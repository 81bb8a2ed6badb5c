//! The topics' partitions, replicas and watermarks.

use std::fmt;

use iris_kafka::{PartitionDescription, TopicDescription};
use iris_service::TextTable;
use serde::Serialize;

/// The descriptions of topics.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct TopicDescriptions(pub(super) Vec<TopicDescription>);

/// The positions of the columns with numbers.
const NUMBER_COLUMNS: [usize; 4] = [1, 2, 5, 6];

impl TopicDescriptions {
    /// Returns a table with a row for each partition.
    fn table(&self) -> TextTable {
        let mut table = TextTable::new([
            "topic",
            "partition",
            "leader",
            "replicas",
            "in sync",
            "low watermark",
            "high watermark",
        ]);
        for topic in &self.0 {
            if !topic.exists {
                table.add_row([
                    topic.topic.as_str(),
                    "does not exist; `iris-admin topics create` creates it",
                ]);
            }
            let names = std::iter::once(topic.topic.as_str()).chain(std::iter::repeat(""));
            for (name, partition) in names.zip(&topic.partitions) {
                table.add_row(row(name, partition));
            }
        }
        for column in NUMBER_COLUMNS {
            table.align_right(column);
        }
        table
    }
}

fn row(topic: &str, partition: &PartitionDescription) -> [String; 7] {
    [
        topic.to_owned(),
        partition.partition.to_string(),
        partition.leader.to_string(),
        format!("{:?}", partition.replicas),
        format!("{:?}", partition.in_sync),
        partition.low_watermark.to_string(),
        partition.high_watermark.to_string(),
    ]
}

impl fmt::Display for TopicDescriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_a_row_and_missing_topics_are_marked() {
        let partition = |partition, high_watermark| PartitionDescription {
            partition,
            leader: 1,
            replicas: vec![1, 2],
            in_sync: vec![1],
            low_watermark: 3,
            high_watermark,
        };
        let existing = TopicDescription {
            topic: "input".to_owned(),
            exists: true,
            replication_factor: 2,
            partitions: vec![partition(0, 30), partition(1, 400)],
        };
        let missing = TopicDescription {
            topic: "models".to_owned(),
            exists: false,
            replication_factor: 0,
            partitions: Vec::new(),
        };
        let text = TopicDescriptions(vec![existing, missing]).to_string();
        let cells: Vec<Vec<&str>> = text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            cells,
            [
                vec!["input", "0", "1", "[1,", "2]", "[1]", "3", "30"],
                vec!["1", "1", "[1,", "2]", "[1]", "3", "400"],
                "models does not exist; `iris-admin topics create` creates it"
                    .split(' ')
                    .collect(),
            ]
        );
    }
}
