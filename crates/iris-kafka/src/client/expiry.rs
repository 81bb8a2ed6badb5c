//! The metric of the client certificate's expiry.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::client::rotation::first_expiry;

/// The time at which the client certificate for Kafka expires, as a metric. Absent without a certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateExpiry;

impl Collector for CertificateExpiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(expiry) = first_expiry() else {
            return Ok(());
        };
        let encoder = encoder.encode_descriptor(
            "kafka_certificate_expiry_timestamp",
            "Unix time at which the client certificate for Kafka expires",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::new(expiry).encode(encoder)
    }
}
