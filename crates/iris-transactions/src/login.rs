//! Logins with SASL.

use iris_kafka::{KafkaSettings, SaslMechanism};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use openssl::hash::MessageDigest;
use secrecy::{ExposeSecret as _, SecretString};

use crate::connection::Connection;
use crate::error::{Code, TransactionsError};
use crate::scram::Scram;

/// A user with a password.
pub(crate) struct Login {
    mechanism: SaslMechanism,
    user: String,
    password: SecretString,
}

impl Login {
    /// Returns the login of the settings; `None` if the protocol has none.
    pub(crate) fn of(settings: &KafkaSettings, password: Option<SecretString>) -> Option<Self> {
        Some(Self {
            mechanism: settings.security.sasl_mechanism,
            user: settings.security.username.clone(),
            password: password?,
        })
    }

    /// Logs in on a new connection.
    pub(crate) fn carry_out(&self, connection: &mut Connection) -> Result<(), TransactionsError> {
        let (name, digest) = match self.mechanism {
            SaslMechanism::Plain => ("PLAIN", None),
            SaslMechanism::ScramSha256 => ("SCRAM-SHA-256", Some(MessageDigest::sha256())),
            SaslMechanism::ScramSha512 => ("SCRAM-SHA-512", Some(MessageDigest::sha512())),
        };
        let handshake =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let answer = connection.send(&handshake)?;
        if Code(answer.error_code).error().is_some() {
            let offered: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            let problem = format!("it does not offer {name}, but {}", offered.join(", "));
            return Err(connection.refused_login(problem));
        }
        match digest {
            None => self.plain(connection),
            Some(digest) => self.scram(connection, digest),
        }
    }

    fn plain(&self, connection: &mut Connection) -> Result<(), TransactionsError> {
        let message = format!("\0{}\0{}", self.user, self.password.expose_secret());
        authenticate(connection, message).map(|_| ())
    }

    fn scram(
        &self,
        connection: &mut Connection,
        digest: MessageDigest,
    ) -> Result<(), TransactionsError> {
        let scram = Scram::start(digest, &self.user)
            .map_err(|error| connection.refused_login(error.to_string()))?;
        let first = authenticate(connection, scram.first_message())?;
        let proof = scram
            .prove(&first, self.password.expose_secret())
            .map_err(|problem| connection.refused_login(problem))?;
        let last = authenticate(connection, proof.message.clone())?;
        proof
            .verify(&last)
            .map_err(|problem| connection.refused_login(problem))
    }
}

/// Sends a message of the login, and returns the answer.
fn authenticate(connection: &mut Connection, message: String) -> Result<String, TransactionsError> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
    let answer = connection.send(&request)?;
    if let Some(error) = Code(answer.error_code).error() {
        let reason = answer.error_message.as_deref().map(str::to_owned);
        return Err(connection.refused_login(reason.unwrap_or_else(|| error.to_string())));
    }
    Ok(String::from_utf8_lossy(&answer.auth_bytes).into_owned())
}
