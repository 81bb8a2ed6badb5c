//! Reads the newest record with a key from time to time.

use std::convert::Infallible;
use std::ops::ControlFlow;

use tokio_util::sync::CancellationToken;

use crate::client::settings::KafkaSettings;
use crate::read::error::ReadError;
use crate::read::reader::TopicReader;
use crate::read::stored::StoredRecord;
use crate::read::tail::Tail;

/// The number of offsets at the end of a partition that are read at a time. Some are transaction markers.
const MAX_OFFSETS: i64 = 8;

/// The newest record with a key, of a topic in which it is written again and again, as the last record of each transaction.
#[derive(Debug)]
pub struct NewestRecord {
    settings: KafkaSettings,
    topic: String,
    key: Vec<u8>,
    tail: Tail,
    is_known: bool,
}

impl NewestRecord {
    /// Creates the client.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the topic does not exist.
    pub fn open(settings: &KafkaSettings, topic: &str, key: &str) -> Result<Self, ReadError> {
        Ok(Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            key: key.as_bytes().to_vec(),
            tail: Tail::open(settings, topic, MAX_OFFSETS)?,
            is_known: false,
        })
    }

    /// Returns the newest record if it was written since the previous call. The first call reads the whole topic if the record
    /// is not at its end.
    ///
    /// # Errors
    /// [`ReadError`] if the cluster does not answer in time.
    pub fn look(&mut self) -> Result<Option<StoredRecord>, ReadError> {
        let mut records = self.tail.look()?.into_iter();
        let mut found = records.rfind(|record| record.key.as_deref() == Some(&self.key));
        if found.is_none() && !self.is_known {
            found = self.search()?;
        }
        self.is_known = true;
        Ok(found)
    }

    /// Reads the whole topic.
    fn search(&self) -> Result<Option<StoredRecord>, ReadError> {
        let mut found = None;
        let never = CancellationToken::new();
        let mut reader = TopicReader::open(&self.settings, &self.topic)?;
        reader.read_to_end(&never, &mut |_| (), |record| {
            if record.key() == Some(&self.key) {
                found = Some(StoredRecord::from(&record));
            }
            Ok::<_, ReadError>(ControlFlow::<Infallible>::Continue(()))
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    const TOPIC: &str = "topic";

    fn append(cluster: &SimulatedCluster, key: &str, value: &str) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &cluster.settings.bootstrap_servers)
            .create()
            .unwrap();
        let record = BaseRecord::to(TOPIC).partition(0).key(key).payload(value);
        producer.send(record).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    #[test]
    fn the_newest_record_is_found_wherever_it_is_and_then_only_when_it_changes() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let open = || NewestRecord::open(&cluster.settings, TOPIC, "k").unwrap();
        let look = |newest: &mut NewestRecord| {
            let record = newest.look().unwrap()?;
            String::from_utf8(record.value?).ok()
        };
        assert_eq!(look(&mut open()), None, "the topic is empty");
        for value in ["first", "second"] {
            append(&cluster, "k", value);
        }
        append(&cluster, "other", "third");
        let mut newest = open();
        assert_eq!(look(&mut newest).as_deref(), Some("second"));
        assert_eq!(look(&mut newest), None, "nothing is new");
        cluster.append(TOPIC, 20);
        assert_eq!(look(&mut newest), None);
        assert_eq!(look(&mut open()).as_deref(), Some("second"), "far back");
        append(&cluster, "k", "fourth");
        assert_eq!(look(&mut newest).as_deref(), Some("fourth"));
    }
}
