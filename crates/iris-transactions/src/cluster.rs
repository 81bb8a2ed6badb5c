//! The brokers of a cluster.

use std::collections::BTreeMap;

use iris_kafka::{KafkaSettings, MissingRights};
use kafka_protocol::messages::MetadataRequest;

use crate::access::Access;
use crate::address::Address;
use crate::connection::Connection;
use crate::error::TransactionsError;

/// The brokers of a cluster, each with a connection once it is needed.
pub struct Cluster {
    settings: KafkaSettings,
    role: String,
    access: Access,
    brokers: BTreeMap<i32, Address>,
    connections: BTreeMap<i32, Connection>,
}

impl Cluster {
    /// Checks that the connection supports the settings.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(settings: &KafkaSettings) -> Result<(), TransactionsError> {
        Access::new(settings, "").map(|_| ())
    }

    /// Connects as the settings say. `role` names the rights that the user needs, as `iris-admin acls` lists them.
    ///
    /// # Errors
    /// If a setting is not supported, or no broker answers.
    pub fn connect(settings: &KafkaSettings, role: &str) -> Result<Self, TransactionsError> {
        let access = Access::new(settings, role)?;
        let mut failure = None;
        for address in Address::list(&settings.bootstrap_servers) {
            match brokers_at(&address, &access) {
                Ok(brokers) => {
                    return Ok(Self {
                        settings: settings.clone(),
                        role: role.to_owned(),
                        access,
                        brokers,
                        connections: BTreeMap::new(),
                    });
                }
                Err(error) => failure = Some(error),
            }
        }
        let nothing = || TransactionsError::Unsupported("no broker is named".to_owned());
        Err(failure.unwrap_or_else(nothing))
    }

    /// Returns the ids of the brokers.
    #[must_use]
    pub fn brokers(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// Returns the connection to a broker.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub fn broker(&mut self, id: i32) -> Result<&mut Connection, TransactionsError> {
        let address = self.brokers.get(&id);
        let address = address.ok_or_else(|| TransactionsError::Unreachable {
            address: id.to_string(),
            problem: "the cluster does not list it".to_owned(),
        })?;
        match self.connections.entry(id) {
            std::collections::btree_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::btree_map::Entry::Vacant(none) => {
                Ok(none.insert(self.access.open(address)?))
            }
        }
    }

    /// Returns the connection to one of the brokers.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub fn any(&mut self) -> Result<&mut Connection, TransactionsError> {
        let first = self.brokers.keys().next().copied();
        self.broker(first.unwrap_or_default())
    }

    /// Returns the error about a right that the user lacks, such as "Read on topic `t`".
    pub(crate) fn lacks(&self, right: String) -> TransactionsError {
        TransactionsError::MissingRights(MissingRights::named(&self.settings, &self.role, right))
    }
}

/// Asks a broker for all brokers.
fn brokers_at(
    address: &Address,
    access: &Access,
) -> Result<BTreeMap<i32, Address>, TransactionsError> {
    let mut connection = access.open(address)?;
    let no_topic = MetadataRequest::default().with_topics(Some(Vec::new()));
    let answer = connection.send(&no_topic)?;
    let brokers = answer.brokers.iter().map(|broker| {
        let address = Address {
            host: broker.host.to_string(),
            port: u16::try_from(broker.port).unwrap_or_default(),
        };
        (broker.node_id.0, address)
    });
    Ok(brokers.collect())
}
