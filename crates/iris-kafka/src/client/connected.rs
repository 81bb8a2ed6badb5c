//! Clients whose password and certificates are replaced when their files change, and that close in limited time.

use std::ops::Deref;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, ProducerContext};

use crate::client::closing::CloseOnDrop;
use crate::client::rotation::{self, Registration};
use crate::client::settings::KafkaSettings;
use crate::client::validation::without_value;
use crate::problem::warn_once;
use crate::sys::client::{Addressed, Alive};
use crate::sys::outbound::OutboundTopic;
use crate::sys::queue::Queue;
use crate::sys::tls;

/// A client that is registered until it is dropped, and then closed in limited time. The fields are dropped in this order; an
/// owner drops whatever else keeps the client alive first.
pub(crate) struct Connected<T> {
    _registration: Option<Registration>,
    client: Arc<T>,
    closing: CloseOnDrop,
}

impl<T: Addressed + 'static> Connected<T> {
    /// Creates a client. `config` was made from `settings`.
    ///
    /// # Errors
    /// The client's error if a setting cannot be used.
    pub(crate) fn new<C>(
        config: &ClientConfig,
        settings: &KafkaSettings,
        context: C,
    ) -> KafkaResult<Self>
    where
        C: ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        if let Some(warning) = unverified(settings) {
            warn_once(warning);
        }
        let (client, contexts) = tls::create::<T, C>(config, context).map_err(hide_value)?;
        let client = Arc::new(client);
        Ok(Self {
            _registration: rotation::register(settings, Alive::new(&client), contexts),
            closing: CloseOnDrop::new(Alive::new(&client)),
            client,
        })
    }

    /// Does not wait for the client's end when it is dropped.
    pub(crate) fn close_without_waiting(&mut self) {
        self.closing.without_waiting();
    }

    /// Returns a value that keeps the client alive.
    pub(crate) fn alive(&self) -> Alive {
        Alive::new(&self.client)
    }
}

impl<C: ConsumerContext + 'static> Connected<BaseConsumer<C>> {
    /// Returns how many events other than records wait. A poll that does not wait serves one, and each waits in memory until then:
    /// statistics of many partitions are large, and a consumer that is polled less often than it reports them needs more and more.
    pub(crate) fn waiting_events(&self) -> usize {
        Queue::of_consumer(self.alive()).map_or(0, |queue| queue.len())
    }
}

impl<C: ProducerContext + 'static> Connected<BaseProducer<C>> {
    /// Returns a topic to send records to.
    ///
    /// # Errors
    /// The client's error if no topic can have this name.
    pub(crate) fn outbound(&self, topic: &str) -> KafkaResult<OutboundTopic<C::DeliveryOpaque>> {
        OutboundTopic::new(&self.client, topic)
    }
}

impl<T> Deref for Connected<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}

/// Returns the warning that the certificates of brokers are not verified; `None` if they are, or if nothing is encrypted.
fn unverified(settings: &KafkaSettings) -> Option<String> {
    const OFF: [(&str, &[&str], &str); 2] = [
        (
            "enable.ssl.certificate.verification",
            &["false", "f", "0"],
            "any server can pose as a broker and read the data and the password",
        ),
        (
            "ssl.endpoint.identification.algorithm",
            &["none"],
            "any server with a certificate of a trusted authority can pose as a broker",
        ),
    ];
    if !settings.security.protocol.encrypts() {
        return None;
    }
    OFF.iter().find_map(|(name, values, consequence)| {
        let value = settings.librdkafka.get(*name)?.to_lowercase();
        values.contains(&value.as_str()).then(|| {
            format!(
                "kafka.librdkafka.\"{name}\" is `{value}`: {consequence}; use it for tests only"
            )
        })
    })
}

/// Removes the value, which may be a secret, from the error about a setting.
fn hide_value(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::ClientConfig(result, description, name, _) => {
            let reason = without_value(&description);
            KafkaError::ClientConfig(result, reason, name, "<hidden>".to_owned())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::settings::SecurityProtocol;

    #[test]
    fn a_verification_that_is_off_is_warned_of() {
        let warning = |protocol, name: &str, value: &str| {
            let mut settings = KafkaSettings::default();
            settings.security.protocol = protocol;
            settings
                .librdkafka
                .insert(name.to_owned(), value.to_owned());
            unverified(&settings)
        };
        let (tls, plain) = (SecurityProtocol::Ssl, SecurityProtocol::SaslPlaintext);
        let (verification, host) = (
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
        );
        let text = warning(tls, host, "none").unwrap();
        assert!(
            text.starts_with(
                "kafka.librdkafka.\"ssl.endpoint.identification.algorithm\" is `none`: any server"
            ),
            "{text}"
        );
        assert!(warning(tls, verification, "False").is_some());
        assert_eq!(warning(tls, verification, "true"), None);
        assert_eq!(warning(plain, host, "none"), None);
    }
}
