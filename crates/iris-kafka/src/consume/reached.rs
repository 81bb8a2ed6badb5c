//! How far a consumer has read its partitions, transaction markers and aborted records included.
//!
//! A partition that is written in transactions ends with a marker. The client takes markers without returning them, so the
//! position after the last record is not the end.

use rdkafka::consumer::Consumer as _;

use crate::consume::consumer::Consumer;
use crate::offsets::Positions;
use crate::sys::position::positions;

impl Consumer {
    /// Returns how far partitions were read since they were assigned or sought: the offset after the last record that was
    /// returned, or after the transaction markers and aborted records that follow it. Partitions in which this is not known
    /// are omitted. Asks no broker.
    ///
    /// These positions may be committed only when all records that were returned have been processed.
    #[must_use]
    pub fn reached(&self, partitions: &[i32]) -> Positions {
        if partitions.is_empty() {
            return Positions::new();
        }
        let topic = &self.reads().topic;
        positions(self.client.client(), topic, partitions)
            .into_iter()
            .filter(|&(partition, position)| !self.misplaced.may_be(partition, position))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

    use crate::client::simulated::{PATIENCE, SimulatedCluster};
    use crate::consume::consumer::{Consumer, Start};
    use crate::offsets::Positions;

    const TOPIC: &str = "input";

    fn consumer(cluster: &SimulatedCluster) -> Consumer {
        let start = Start {
            topic: TOPIC.to_owned(),
            group_id: "group".to_owned(),
            partitions: Some(vec![0]),
            instance: None,
        };
        Consumer::start(&cluster.settings, "test", start, None).unwrap()
    }

    /// Reads until this many records have been returned.
    fn read(consumer: &Consumer, records: usize) {
        let (mut count, deadline) = (0, Instant::now() + PATIENCE);
        while count < records {
            count += consumer.read(Duration::from_millis(20)).unwrap().len();
            assert!(Instant::now() < deadline, "{count} records");
        }
    }

    #[test]
    fn a_position_is_known_once_something_was_read_and_forgotten_by_a_seek() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let consumer = consumer(&cluster);
        assert_eq!(consumer.reached(&[0]), Positions::new());
        cluster.append(TOPIC, 3);
        read(&consumer, 3);
        assert_eq!(consumer.reached(&[0, 7]), [(0, 3)].into());
        consumer.restart_at(&[(0, 3)].into()).unwrap();
        assert_eq!(consumer.reached(&[0]), Positions::new());
        cluster.append(TOPIC, 1);
        read(&consumer, 1);
        assert_eq!(consumer.reached(&[0]), [(0, 4)].into());
    }

    #[test]
    fn an_error_in_place_of_a_record_moves_no_position() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let consumer = consumer(&cluster);
        cluster.append(TOPIC, 3);
        read(&consumer, 3);
        let corrupt = Answer::RD_KAFKA_RESP_ERR_INVALID_MSG;
        cluster.brokers.request_errors(Api::Fetch, &[corrupt; 2]);
        let deadline = Instant::now() + PATIENCE;
        while !consumer.misplaced.may_be(0, 4) {
            read(&consumer, 0);
            consumer.read(Duration::from_millis(20)).unwrap();
            assert!(Instant::now() < deadline, "no error was returned");
        }
        assert_ne!(consumer.reached(&[0]).get(0), Some(4));
        cluster.append(TOPIC, 2);
        read(&consumer, 2);
        assert_eq!(consumer.reached(&[0]), [(0, 5)].into());
    }
}
