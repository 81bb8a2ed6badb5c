//! Sends records for tests, the demo and benchmarks.

use iris_kafka::{Delivery, DeliveryListener, OutgoingRecord, ProduceError, Producer};

/// Ignores deliveries. The client retries failed ones; a record that is never delivered is missing in the test.
#[derive(Clone, Copy, Debug)]
pub struct IgnoreDeliveries;

impl DeliveryListener for IgnoreDeliveries {
    fn delivered(&self, _: Delivery<'_>) {}
}

/// Queues a record, and waits for room in the client's queue if it is full. `record` returns the same record each time.
///
/// # Errors
/// If the client refuses the record.
pub fn send<'a>(
    producer: &Producer<IgnoreDeliveries>,
    record: impl Fn() -> OutgoingRecord<'a>,
) -> Result<(), ProduceError> {
    while !producer.try_send(record())? {
        producer.wait_for_room();
    }
    Ok(())
}
