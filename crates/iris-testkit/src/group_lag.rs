//! The lag of consumer groups, as Kafka's own tool reports it.

use std::time::{Duration, Instant};

use iris_kafka::KafkaSettings;

use crate::local::local_tool;

/// A line of `kafka-consumer-groups --describe`: a group's offset in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The group's committed offset, if it has committed one.
    pub committed: Option<i64>,
    /// The end of the partition, if it has a leader.
    pub end: Option<i64>,
    /// The offsets from the committed one to the end, if both are known.
    pub lag: Option<i64>,
}

impl GroupLag {
    /// Returns the lag of all groups in the topics whose names begin with `prefix`.
    ///
    /// # Errors
    /// If the tool cannot run or fails.
    pub fn in_topics(kafka: &KafkaSettings, prefix: &str) -> anyhow::Result<Vec<Self>> {
        let output = local_tool(&[
            "kafka-consumer-groups",
            "--bootstrap-server",
            &kafka.bootstrap_servers,
            "--describe",
            "--all-groups",
            "--timeout",
            "30000",
        ])?;
        let mut lags = Self::parse(&output);
        lags.retain(|lag| lag.topic.starts_with(prefix));
        Ok(lags)
    }

    /// As [`in_topics`](Self::in_topics), and asks again until no partition has a lag. Returns the last answer, which was
    /// requested after `timeout` if a partition still has a lag.
    ///
    /// # Errors
    /// If the tool cannot run or fails.
    pub fn await_none(
        kafka: &KafkaSettings,
        prefix: &str,
        timeout: Duration,
    ) -> anyhow::Result<Vec<Self>> {
        let began = Instant::now();
        loop {
            let is_last = began.elapsed() >= timeout;
            let lags = Self::in_topics(kafka, prefix)?;
            if is_last || (!lags.is_empty() && lags.iter().all(Self::is_none)) {
                return Ok(lags);
            }
        }
    }

    /// Whether nothing is left to process: the lag is 0, or the partition has never had a record.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.lag == Some(0) || (self.committed.is_none() && self.end == Some(0))
    }

    /// Reads the tool's output: a table for each group, with lines of text in between.
    fn parse(output: &str) -> Vec<Self> {
        let (mut lags, mut columns) = (Vec::new(), Vec::new());
        for line in output.lines() {
            let cells: Vec<&str> = line.split_whitespace().collect();
            if cells.first() == Some(&"GROUP") {
                columns = cells;
            } else {
                lags.extend(Self::of_cells(&columns, &cells));
            }
        }
        lags
    }

    fn of_cells(columns: &[&str], cells: &[&str]) -> Option<Self> {
        let cell = |name| {
            let index = columns.iter().position(|&column| column == name)?;
            cells.get(index).copied()
        };
        let number = |name| cell(name).map(|cell| cell.parse().ok());
        Some(Self {
            group: cell("GROUP")?.to_owned(),
            topic: cell("TOPIC")?.to_owned(),
            partition: cell("PARTITION")?.parse().ok()?,
            committed: number("CURRENT-OFFSET")?,
            end: number("LOG-END-OFFSET")?,
            lag: number("LAG")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_all_groups_are_read() {
        let output = "\nConsumer group 'g' has no active members.\n\n\
            GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID\n\
            g     in    1         20             23             3   -           -    -\n\
            g     in    0         7              7              0   -           -    -\n\n\
            GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID\n\
            h     in    4         -              0              -   rdkafka-1   /127.0.0.1 rdkafka\n\
            h     in    5         -              2              -   rdkafka-1   /127.0.0.1 rdkafka\n";
        let lags = GroupLag::parse(output);
        let lag = |group: &str, partition, committed, end, lag| GroupLag {
            group: group.to_owned(),
            topic: "in".to_owned(),
            partition,
            committed,
            end: Some(end),
            lag,
        };
        assert_eq!(
            lags,
            [
                lag("g", 1, Some(20), 23, Some(3)),
                lag("g", 0, Some(7), 7, Some(0)),
                lag("h", 4, None, 0, None),
                lag("h", 5, None, 2, None),
            ]
        );
        let are_none: Vec<bool> = lags.iter().map(GroupLag::is_none).collect();
        assert_eq!(are_none, [false, true, true, false]);
    }
}
