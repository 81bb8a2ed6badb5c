//! Sends records for tests, the demo and benchmarks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use iris_kafka::{
    Delivery, DeliveryListener, KafkaSettings, OutgoingRecord, ProduceError, Producer,
};
use parking_lot::Mutex;

/// Sends records and notices those that are not delivered. The client retries failed deliveries, but not to a topic or partition
/// that the brokers do not have.
#[derive(Debug)]
pub struct Sender {
    producer: Producer<Refused>,
    refused: Refused,
}

/// The number of records that will never be delivered, and why the first one is not.
#[derive(Clone, Debug, Default)]
struct Refused(Arc<Mutex<Option<(usize, String)>>>);

impl DeliveryListener for Refused {
    fn delivered(&self, delivery: Delivery<'_>) {
        if let Err(error) = delivery.outcome {
            let mut refused = self.0.lock();
            refused.get_or_insert((0, error)).0 += 1;
        }
    }
}

impl Sender {
    /// Starts a client with this name.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn start(kafka: &KafkaSettings, name: &str) -> Result<Self, ProduceError> {
        let refused = Refused::default();
        let producer = Producer::start(kafka, name, refused.clone())?;
        Ok(Self { producer, refused })
    }

    /// Queues a record, and waits for room in the client's queue if it is full. `record` returns the same record each time.
    ///
    /// # Errors
    /// If the client refuses the record.
    pub fn send<'a>(&self, record: impl Fn() -> OutgoingRecord<'a>) -> Result<(), ProduceError> {
        while !self.producer.try_send(record())? {
            self.producer.wait_for_room();
        }
        Ok(())
    }

    /// Waits until all records are delivered.
    ///
    /// # Errors
    /// If one is refused, or not delivered within `timeout`.
    pub fn finish(self, timeout: Duration) -> anyhow::Result<()> {
        let waiting = self.producer.wait(timeout);
        if let Some((count, error)) = self.refused.0.lock().as_ref() {
            bail!("{count} records were refused: {error}");
        }
        if waiting > 0 {
            bail!("{waiting} records were not delivered");
        }
        Ok(())
    }
}
