//! Brokers as local processes behind proxies: three with replication factor 3, or one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iris_kafka::KafkaSettings;
use iris_kafka::startup::connect;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::local::{Local, Server, free_port};
use crate::proxy::{CommitFaults, GroupRequests, Network, Proxy};
use crate::wait::eventually;

/// The number of brokers in a cluster; one may fail at a time.
pub const BROKERS: usize = 3;

/// How long brokers that listen may take to form a cluster.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The heap of each broker, enough for a test's records.
const HEAP: &str = "512m";

/// A cluster whose brokers can be killed, frozen and cut off. It is stopped when this value is dropped.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Local>,
    proxies: Vec<Proxy>,
    internal: Vec<u16>,
    commit_faults: Arc<CommitFaults>,
    groups: Arc<GroupRequests>,
    _runtime: Runtime,
}

impl Cluster {
    /// Starts three brokers with their data below `directory`.
    ///
    /// # Errors
    /// If a broker does not start.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_some(directory, BROKERS)
    }

    /// Starts a single broker, for tests that only need the proxy.
    ///
    /// # Errors
    /// If the broker does not start.
    pub fn start_one(directory: &Path) -> anyhow::Result<Self> {
        Self::start_some(directory, 1)
    }

    fn start_some(directory: &Path, count: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()?;
        let commit_faults = Arc::<CommitFaults>::default();
        let groups = Arc::<GroupRequests>::default();
        let ports = || -> anyhow::Result<Vec<u16>> { (0..count).map(|_| free_port()).collect() };
        let (outer, internal, controllers) = (ports()?, ports()?, ports()?);
        let voters: Vec<String> = (1..)
            .zip(&controllers)
            .map(|(id, port)| format!("{id}@localhost:{port}"))
            .collect();
        let (mut brokers, mut proxies) = (Vec::new(), Vec::new());
        for broker in 0..count {
            let id = broker + 1;
            let (commits, joins) = (Arc::clone(&commit_faults), Arc::clone(&groups));
            let proxy = Proxy::start(runtime.handle(), outer[broker], commits, joins)?;
            let environment = vec![
                ("KAFKA_NODE_ID", id.to_string()),
                ("KAFKA_VOTERS", voters.join(",")),
                ("KAFKA_CONTROLLER_PORT", controllers[broker].to_string()),
                ("KAFKA_INTERNAL_PORT", internal[broker].to_string()),
                ("KAFKA_ADVERTISED_PORT", proxy.port().to_string()),
                ("KAFKA_REPLICATION", count.to_string()),
                ("KAFKA_HEAP", HEAP.to_owned()),
            ];
            let directory = directory.join(format!("broker-{id}"));
            let mut local = Local::new(Server::Kafka, &directory, outer[broker], environment);
            local.spawn()?;
            brokers.push(local);
            proxies.push(proxy);
        }
        for broker in &mut brokers {
            broker.await_listening()?;
        }
        let cluster = Self {
            brokers,
            proxies,
            internal,
            commit_faults,
            groups,
            _runtime: runtime,
        };
        for port in &cluster.internal {
            await_all(&settings([*port].into_iter()), count)?;
        }
        Ok(cluster)
    }

    /// Returns the settings of connections through the proxies.
    #[must_use]
    pub fn outside(&self) -> KafkaSettings {
        settings(self.proxies.iter().map(Proxy::port))
    }

    /// Returns the settings of connections that bypass the proxies.
    #[must_use]
    pub fn inside(&self) -> KafkaSettings {
        settings(self.internal.iter().copied())
    }

    /// Returns the faults that commits meet.
    #[must_use]
    pub fn commit_faults(&self) -> &CommitFaults {
        &self.commit_faults
    }

    /// Returns the group membership requests.
    #[must_use]
    pub fn group_requests(&self) -> &GroupRequests {
        &self.groups
    }

    /// Changes the network between clients and a broker.
    pub fn set_network(&self, broker: usize, network: Network) {
        self.proxies[broker].set(network);
    }

    /// Stops a broker's process: with SIGKILL, or with a controlled shutdown.
    pub fn stop(&mut self, broker: usize, by_kill: bool) {
        if by_kill {
            self.brokers[broker].kill();
        } else {
            self.brokers[broker].stop();
        }
    }

    /// Starts a broker again without waiting for it.
    ///
    /// # Errors
    /// If its process cannot be started.
    pub fn resume(&mut self, broker: usize) -> anyhow::Result<()> {
        self.brokers[broker].spawn()
    }

    /// Waits until a broker listens.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub fn await_broker(&mut self, broker: usize) -> anyhow::Result<()> {
        self.brokers[broker].await_listening()
    }

    /// Freezes a broker's process, or lets it continue.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn freeze(&self, broker: usize, is_frozen: bool) -> anyhow::Result<()> {
        self.brokers[broker].signal(if is_frozen {
            Signal::STOP
        } else {
            Signal::CONT
        })
    }
}

impl Drop for Cluster {
    /// Kills the brokers: a controlled shutdown waits for a quorum, which the last brokers do not have.
    fn drop(&mut self) {
        self.brokers.iter_mut().for_each(Local::kill);
    }
}

/// Waits until a broker knows this number of brokers: it listens before the others have joined.
fn await_all(broker: &KafkaSettings, brokers: usize) -> anyhow::Result<()> {
    let none = CancellationToken::new();
    eventually("the brokers to join", START_TIMEOUT, || {
        let found = connect(broker, "iris-testkit", true, &none, &mut |_| (), &[]);
        match found {
            Ok(Some(cluster)) if cluster.brokers() < brokers => None,
            found => Some(found.map(drop)),
        }
    })??;
    Ok(())
}

fn settings(ports: impl Iterator<Item = u16>) -> KafkaSettings {
    let servers: Vec<String> = ports.map(|port| format!("localhost:{port}")).collect();
    KafkaSettings {
        bootstrap_servers: servers.join(","),
        ..KafkaSettings::default()
    }
}
