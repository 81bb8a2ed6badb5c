//! The Kafka that a storm runs on.

use std::path::Path;

use iris_kafka::KafkaSettings;

use crate::broker::Broker;
use crate::cluster::Cluster;

/// The Kafka that a storm runs on.
#[derive(Debug)]
pub enum Target {
    /// A cluster whose brokers and network can be disturbed.
    Cluster(Cluster),
    /// A broker that is left alone: faults affect the pipeline's processes only.
    Broker(Broker),
}

impl Target {
    /// Starts a cluster of local processes. If `KAFKA_BOOTSTRAP` names a broker, or local processes are not possible, uses
    /// [`Broker::obtain`] instead.
    ///
    /// # Errors
    /// If no broker can be obtained.
    pub fn obtain(directory: &Path) -> anyhow::Result<Self> {
        if Broker::can_be_local() && !Broker::is_named() {
            Ok(Self::Cluster(Cluster::start(directory)?))
        } else {
            Ok(Self::Broker(Broker::obtain(directory)?))
        }
    }

    /// Returns a description for people.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::Cluster(_) => {
                "three Apache Kafka brokers as local processes, replication 3, behind proxies"
                    .to_owned()
            }
            Self::Broker(broker) => {
                format!("{}; brokers and network are left alone", broker.description)
            }
        }
    }

    /// Returns the settings of the pipeline's connections, which go through the proxies.
    pub(super) fn outside(&self) -> KafkaSettings {
        match self {
            Self::Cluster(cluster) => cluster.outside(),
            Self::Broker(broker) => broker.settings(),
        }
    }

    /// Returns the settings of the ledger's connections, which bypass the proxies.
    pub(super) fn inside(&self) -> KafkaSettings {
        match self {
            Self::Cluster(cluster) => cluster.inside(),
            Self::Broker(broker) => broker.settings(),
        }
    }

    /// Returns the cluster, if its brokers can be disturbed.
    pub(super) fn cluster(&mut self) -> Option<&mut Cluster> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            Self::Broker(_) => None,
        }
    }

    /// Returns the number of commits delayed and cut off so far.
    pub(super) fn commit_faults(&self) -> (u64, u64) {
        match self {
            Self::Cluster(cluster) => cluster.commit_faults().counts(),
            Self::Broker(_) => (0, 0),
        }
    }
}
