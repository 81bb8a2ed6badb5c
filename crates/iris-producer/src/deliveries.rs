//! Counts the records that the brokers have acknowledged.

use std::sync::Arc;

use iris_kafka::{Delivery, DeliveryListener, PartitionOffset};
use iris_service::{RECORD_TARGET, Service};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tracing::{Level, enabled, error, info};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The numbers of delivered and failed records.
#[derive(Debug)]
pub(crate) struct Deliveries {
    delivered: Counter,
    failed: Counter,
    first_failure: Mutex<Option<String>>,
}

/// The error of a run in which not all records were delivered.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {sent} records were not delivered; the first: {first}")]
pub(crate) struct Undelivered {
    failed: u64,
    sent: u64,
    first: String,
}

/// The counts as shared with the client's thread.
pub(crate) struct Shared(pub(crate) Arc<Deliveries>);

impl Deliveries {
    /// Registers the counts as a metric.
    pub(crate) fn new(service: &Service) -> Arc<Self> {
        let family = Family::<Outcome, Counter>::default();
        let counter = |outcome| family.get_or_create_owned(&Outcome { outcome });
        let (delivered, failed) = (counter("delivered"), counter("failed"));
        let mut metrics = service.metrics();
        metrics.register("records_sent", "Records sent, by outcome", family);
        metrics.register_collector(Box::new(iris_kafka::CertificateExpiry));
        drop(metrics);
        Arc::new(Self {
            delivered,
            failed,
            first_failure: Mutex::new(None),
        })
    }

    /// Returns the number of delivered records.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// Checks that none of the `sent` records has failed.
    ///
    /// # Errors
    /// If one has, with the cause of the first failure.
    pub(crate) fn require_all(&self, sent: u64) -> Result<(), Undelivered> {
        let failed = self.failed.get();
        let first = self.first_failure.lock().clone().unwrap_or_default();
        if failed == 0 {
            return Ok(());
        }
        Err(Undelivered {
            failed,
            sent,
            first,
        })
    }
}

impl DeliveryListener for Shared {
    fn delivered(&self, delivery: Delivery<'_>) {
        let value = || String::from_utf8_lossy(delivery.value);
        match delivery.outcome {
            Ok(PartitionOffset { partition, offset }) => {
                if enabled!(target: RECORD_TARGET, Level::INFO) {
                    let value = value();
                    info!(target: RECORD_TARGET, partition, offset, value = %value, "Sent: {value}");
                }
                self.0.delivered.inc();
            }
            Err(cause) => {
                let value = value();
                error!(target: RECORD_TARGET, cause = %cause, value = %value, "Failed to send: {value}: {cause}");
                self.0.failed.inc();
                let mut first = self.0.first_failure.lock();
                first.get_or_insert(cause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(deliveries: &Arc<Deliveries>, outcome: Result<PartitionOffset, String>) {
        let delivery = Delivery {
            key: None,
            value: b"{}",
            outcome,
        };
        Shared(Arc::clone(deliveries)).delivered(delivery);
    }

    #[test]
    fn acknowledged_records_are_counted_and_the_first_failure_is_reported() {
        let deliveries = Deliveries::new(&Service::detached("test"));
        for offset in 0..3 {
            deliver(&deliveries, Ok(PartitionOffset::new(0, offset)));
        }
        assert_eq!(deliveries.delivered(), 3);
        assert!(deliveries.require_all(3).is_ok());
        for cause in ["too large", "timed out"] {
            deliver(&deliveries, Err(cause.to_owned()));
        }
        assert_eq!(deliveries.delivered(), 3);
        assert_eq!(
            deliveries.require_all(5).unwrap_err().to_string(),
            "2 of 5 records were not delivered; the first: too large"
        );
    }
}
