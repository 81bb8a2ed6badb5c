//! A broker that checks rights: each user has exactly those that a test grants.

mod acls;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::certificates::Authority;
use crate::local::{Local, Server, free_port};
pub use acls::Acl;

/// The heap of the broker, enough for a test's records.
const HEAP: &str = "512m";

/// How a user proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// A name and a password over TLS (`sasl_ssl`).
    Password,
    /// A certificate (`ssl`), whose subject is the name of the user.
    Certificate,
}

impl Login {
    /// Returns the name by which the broker knows a user.
    #[must_use]
    pub fn principal(self, user: &str) -> String {
        match self {
            Self::Password => user.to_owned(),
            Self::Certificate => format!("CN={user}"),
        }
    }
}

/// A broker with three listeners. Clients of the first one may do everything; users of the others [log in](Login) and may do what
/// is granted to them. It is stopped when this value is dropped.
pub struct GuardedBroker {
    open: Local,
    password_port: u16,
    certificate_port: u16,
    authority: Authority,
    directory: PathBuf,
}

impl GuardedBroker {
    /// Starts a broker with its data below `directory`, and these users. Each user's password is the name.
    ///
    /// # Errors
    /// If the broker does not start.
    pub fn start(directory: &Path, users: &[String]) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let [open, controller, password, certificate] =
            [free_port()?, free_port()?, free_port()?, free_port()?];
        let properties = directory.join("guarded.properties");
        let environment = vec![
            ("KAFKA_CONTROLLER_PORT", controller.to_string()),
            ("KAFKA_PROPERTIES", properties.display().to_string()),
            ("KAFKA_HEAP", HEAP.to_owned()),
        ];
        let mut broker = Self {
            open: Local::new(Server::Kafka, directory, open, environment),
            password_port: password,
            certificate_port: certificate,
            authority: Authority::new("guarded")?,
            directory: directory.to_owned(),
        };
        Authority::write(&[&broker.authority], &broker.path("authority.pem"))?;
        let server = broker.authority.issue("localhost")?;
        server.write_store(&broker.path("server.store"))?;
        let listeners = format!(
            "listeners=PLAINTEXT://127.0.0.1:{open},SECURE://127.0.0.1:{password},MUTUAL://127.0.0.1:{certificate},\
             CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://localhost:{open},SECURE://localhost:{password},MUTUAL://localhost:{certificate}\n"
        );
        fs::write(&properties, listeners + &broker.tls() + &guarded(users))?;
        broker.open.resume()?;
        Ok(broker)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Returns the properties of the certificates of both listeners with TLS.
    fn tls(&self) -> String {
        let stores = |listener: &str| {
            format!(
                "listener.name.{listener}.ssl.keystore.type=PEM\n\
                 listener.name.{listener}.ssl.keystore.location={}\n\
                 listener.name.{listener}.ssl.truststore.type=PEM\n\
                 listener.name.{listener}.ssl.truststore.location={}\n",
                self.path("server.store").display(),
                self.path("authority.pem").display()
            )
        };
        let required = "listener.name.mutual.ssl.client.auth=required\n";
        stores("secure") + &stores("mutual") + required
    }

    /// Returns the address at which clients may do everything.
    #[must_use]
    pub fn open_address(&self) -> String {
        format!("localhost:{}", self.open.port())
    }

    /// Returns the file with the certificate of a user.
    #[must_use]
    pub fn certificate(&self, user: &str) -> PathBuf {
        self.path(&format!("{user}.pem"))
    }

    /// Makes a command log in as a user, with a password.
    pub fn log_in(&self, command: &mut Command, user: &str) {
        self.connect(command, "sasl_ssl", self.password_port);
        command
            .env("IRIS__KAFKA__SECURITY__SASL_MECHANISM", "PLAIN")
            .env("IRIS__KAFKA__SECURITY__USERNAME", user)
            .env("IRIS__KAFKA__SECURITY__PASSWORD", user);
    }

    /// Makes a command log in as a user, with a certificate.
    ///
    /// # Errors
    /// If the certificate cannot be written.
    pub fn present(&self, command: &mut Command, user: &str) -> anyhow::Result<()> {
        let certificate = self.certificate(user);
        if !certificate.exists() {
            self.authority.issue(user)?.write(&self.directory, user)?;
        }
        self.connect(command, "ssl", self.certificate_port);
        command
            .env("IRIS__KAFKA__SECURITY__CERTIFICATE", &certificate)
            .env(
                "IRIS__KAFKA__SECURITY__KEY",
                certificate.with_extension("key"),
            );
        Ok(())
    }

    fn connect(&self, command: &mut Command, protocol: &str, port: u16) {
        command
            .env(
                "IRIS__KAFKA__BOOTSTRAP_SERVERS",
                format!("localhost:{port}"),
            )
            .env("IRIS__KAFKA__SECURITY__PROTOCOL", protocol)
            .env("IRIS__KAFKA__SECURITY__CA", self.path("authority.pem"));
    }

    /// Grants rights.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn grant(&self, acls: &[Acl]) -> anyhow::Result<()> {
        acls::create(self.open.port(), acls).context("granting rights")
    }

    /// Takes rights away.
    ///
    /// # Errors
    /// If the broker refuses, or a right was not granted.
    pub fn revoke(&self, acls: &[Acl]) -> anyhow::Result<()> {
        acls::delete(self.open.port(), acls).context("taking rights away")
    }
}

/// Returns the properties of a broker with listeners that ask for a login, and that checks rights.
fn guarded(users: &[String]) -> String {
    let mut text = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL\n\
                    authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                    super.users=User:ANONYMOUS\n\
                    listener.name.secure.sasl.enabled.mechanisms=PLAIN\n\
                    listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                    required"
        .to_owned();
    for user in users {
        // Writing to a string cannot fail.
        let _ = write!(text, " user_{user}=\"{user}\"");
    }
    text + ";\n"
}
