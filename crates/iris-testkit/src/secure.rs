//! A broker with a listener for which clients need a password (SCRAM-SHA-512) and a certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use iris_kafka::KafkaSettings;
use iris_kafka::startup::connect;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::certificates::{Authority, Issued, replace};
use crate::local::{Local, Server, free_port, local_tool};

/// The user of the secure listener.
pub const USER: &str = "iris";

/// A broker with a plaintext listener for the test, and a secure one for the services.
#[derive(Debug)]
pub struct SecureBroker {
    local: Local,
    port: u16,
    directory: PathBuf,
}

/// A broker that tests share, with the authority of its certificate and of those of its clients.
pub struct SharedBroker {
    /// The broker.
    pub broker: SecureBroker,
    /// The authority.
    pub authority: Authority,
    /// The password of the [user](USER).
    pub password: String,
    _directory: TempDir,
}

impl SharedBroker {
    /// Starts a broker, or returns the one that another test of this process uses. It is stopped when the last of them drops it.
    ///
    /// # Errors
    /// If the broker does not start.
    pub fn obtain() -> anyhow::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<SharedBroker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock();
        if let Some(broker) = shared.upgrade() {
            return Ok(broker);
        }
        let directory = tempfile::tempdir()?;
        let authority = Authority::new("ours")?;
        let server = authority.issue("localhost")?;
        let broker = SecureBroker::start(directory.path(), &authority, &server, "")?;
        let password: String = (0..16).map(|_| fastrand::alphanumeric()).collect();
        broker.set_password(&password)?;
        let started = Arc::new(Self {
            broker,
            authority,
            password,
            _directory: directory,
        });
        *shared = Arc::downgrade(&started);
        Ok(started)
    }
}

impl SecureBroker {
    /// Starts a broker below `directory`. It trusts client certificates of `clients` and has the certificate `server`. `more` is
    /// added to its properties.
    ///
    /// # Errors
    /// If the broker does not start.
    pub fn start(
        directory: &Path,
        clients: &Authority,
        server: &Issued,
        more: &str,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let properties = directory.join("secure.properties");
        let environment = vec![
            ("KAFKA_CONTROLLER_PORT", free_port()?.to_string()),
            ("KAFKA_SECURE_PORT", port.to_string()),
            ("KAFKA_PROPERTIES", properties.display().to_string()),
            ("KAFKA_HEAP", "512m".to_owned()),
        ];
        let mut broker = Self {
            local: Local::new(Server::Kafka, directory, free_port()?, environment),
            port,
            directory: directory.to_owned(),
        };
        broker.set_certificates(clients, server)?;
        let path = |name: &str| broker.path(name).display().to_string();
        let text = format!(
            "sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=\\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.client.auth=required
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={}
listener.name.secure.ssl.truststore.type=PEM
listener.name.secure.ssl.truststore.location={}
{more}
",
            path("server.store"),
            path("clients.store"),
        );
        fs::write(&properties, text)?;
        broker.restart()?;
        Ok(broker)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Sets the authority of client certificates and the broker's own certificate, which it uses after a
    /// [restart](Self::restart).
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn set_certificates(&self, clients: &Authority, server: &Issued) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        Authority::write(&[clients], &self.path("clients.store"))?;
        server.write_store(&self.path("server.store"))
    }

    /// Stops the broker, if it runs, and starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.local.stop();
        self.local.resume()?;
        let none = CancellationToken::new();
        connect(
            &self.inside(),
            "iris-testkit",
            true,
            &none,
            &mut |_| (),
            &[],
        )?;
        Ok(())
    }

    /// Returns the settings of connections to the plaintext listener.
    #[must_use]
    pub fn inside(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: format!("localhost:{}", self.local.port()),
            ..KafkaSettings::default()
        }
    }

    /// Returns the address of the secure listener.
    #[must_use]
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Sets the password of the [user](USER) in the cluster.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn set_password(&self, password: &str) -> anyhow::Result<()> {
        // A file, because arguments are visible to other users.
        let credentials = self.path("credentials.properties");
        replace(
            &credentials,
            format!("SCRAM-SHA-512=iterations=4096,password={password}\n").as_bytes(),
        )?;
        local_tool(&[
            "kafka-configs",
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            USER,
            "--bootstrap-server",
            &self.inside().bootstrap_servers,
            "--add-config-file",
            &credentials.display().to_string(),
        ])
        .map(drop)
    }
}
