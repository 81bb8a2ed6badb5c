//! How brokers are reached: encryption and login.

use iris_core::InvalidSetting;
use iris_kafka::{Credentials, KafkaSettings, SecurityProtocol, trusted_authorities};

use crate::address::Address;
use crate::connection::Connection;
use crate::error::TransactionsError;
use crate::login::Login;
use crate::stream::Encryption;

/// The beginnings of librdkafka's settings about security.
const SECURITY: [&str; 6] = [
    "enable.ssl",
    "enable.sasl",
    "https.",
    "sasl.",
    "security.",
    "ssl.",
];

/// How brokers are reached.
pub(crate) struct Access {
    client_id: String,
    encryption: Option<Encryption>,
    login: Option<Login>,
}

impl Access {
    /// Returns the access of the settings.
    ///
    /// # Errors
    /// If a setting is not supported, or a file of a password or a certificate cannot be used.
    pub(crate) fn new(settings: &KafkaSettings, role: &str) -> Result<Self, TransactionsError> {
        let is_security = |name: &&String| SECURITY.iter().any(|start| name.starts_with(start));
        if let Some(name) = settings.librdkafka.keys().find(is_security) {
            return Err(TransactionsError::Unsupported(format!(
                "`kafka.librdkafka.\"{name}\"` is set, but this command does not connect with librdkafka: allowed are the \
                 settings of `kafka.security`"
            )));
        }
        let unsupported = TransactionsError::Unsupported;
        let refused = |error: InvalidSetting| unsupported(format!("the setting kafka.{error}"));
        let encrypts = matches!(
            settings.security.protocol,
            SecurityProtocol::Ssl | SecurityProtocol::SaslSsl
        );
        let credentials = Credentials::read(settings).map_err(refused)?;
        let trusted = trusted_authorities(settings).map_err(refused)?;
        let encryption = encrypts
            .then(|| Encryption::new(trusted.as_deref(), credentials.identity.as_ref()))
            .transpose();
        Ok(Self {
            client_id: match settings.client_id.as_str() {
                "" => role.to_owned(),
                id => id.to_owned(),
            },
            encryption: encryption.map_err(|error| unsupported(error.to_string()))?,
            login: Login::of(settings, credentials.password),
        })
    }

    /// Connects to a broker and logs in.
    pub(crate) fn open(&self, address: &Address) -> Result<Connection, TransactionsError> {
        let mut connection = Connection::open(address, &self.client_id, self.encryption.as_ref())?;
        if let Some(login) = &self.login {
            login.carry_out(&mut connection)?;
        }
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_security_that_are_passed_to_librdkafka_are_refused_by_name() {
        let mut settings = KafkaSettings::default();
        let mut option = |name: &str, value: &str| {
            settings
                .librdkafka
                .insert(name.to_owned(), value.to_owned());
            Access::new(&settings, "test")
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(option("linger.ms", "5"), None);
        assert_eq!(
            option("sasl.mechanism", "OAUTHBEARER").unwrap(),
            "`kafka.librdkafka.\"sasl.mechanism\"` is set, but this command does not connect with librdkafka: allowed are the \
             settings of `kafka.security`"
        );
    }
}
