//! Counting what the brokers acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use iris_kafka::{Delivery, DeliveryListener};
use iris_service::{RECORD_TARGET, Service};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tracing::{error, info};

use crate::progress::Progress;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What became of the records so far.
#[derive(Debug)]
pub(crate) struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    progress: Progress,
    delivered_total: Counter,
    failed_total: Counter,
}

/// The same counts for the client's thread and for ours.
pub(crate) struct Shared(pub(crate) Arc<Deliveries>);

impl Deliveries {
    pub(crate) fn new(service: &Service, progress: Progress) -> Arc<Self> {
        let family = Family::<Outcome, Counter>::default();
        let counter = |outcome| family.get_or_create_owned(&Outcome { outcome });
        let (delivered_total, failed_total) = (counter("delivered"), counter("failed"));
        service.metrics().register(
            "records_sent",
            "Records sent, by what became of them",
            family,
        );
        Arc::new(Self {
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_failure: Mutex::new(None),
            progress,
            delivered_total,
            failed_total,
        })
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn first_failure(&self) -> Option<String> {
        self.first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl DeliveryListener for Shared {
    fn delivered(&self, delivery: Delivery<'_>) {
        let value = String::from_utf8_lossy(delivery.value);
        match delivery.outcome {
            Ok((partition, offset)) => {
                info!(target: RECORD_TARGET, partition, offset, value = %value, "Sent: {value}");
                self.0.delivered.fetch_add(1, Ordering::Relaxed);
                self.0.delivered_total.inc();
                self.0.progress.advance();
            }
            Err(cause) => {
                error!(target: RECORD_TARGET, cause = %cause, value = %value, "Failed to send: {value}: {cause}");
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                self.0.failed_total.inc();
                let mut first = self
                    .0
                    .first_failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(cause);
            }
        }
    }
}
