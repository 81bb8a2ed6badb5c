//! Creates clients whose password and certificates are replaced when their files change.

use std::ops::{Deref, DerefMut};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult};

use crate::client::rotation::{self, Registration};
use crate::client::settings::KafkaSettings;
use crate::client::validation::without_value;
use crate::sys::password::Addressed;
use crate::sys::tls;

/// A client that is registered as long as it is alive.
pub(crate) struct Connected<T> {
    /// Dropped before the client.
    _registration: Option<Registration>,
    client: T,
}

impl<T: Addressed> Connected<T> {
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
        let (client, contexts) =
            tls::create(|| config.create_with_context::<C, T>(context)).map_err(hide_value)?;
        let address = client.address();
        Ok(Self {
            _registration: address.and_then(|client| {
                // The registration is dropped before the client.
                rotation::register(settings, client, contexts)
            }),
            client,
        })
    }
}

impl<T> Deref for Connected<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}

impl<T> DerefMut for Connected<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.client
    }
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
