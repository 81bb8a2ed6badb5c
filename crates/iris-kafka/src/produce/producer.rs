//! Sending without a transaction: idempotent, and every delivery accounted for.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use iris_core::ImpossibleSetting;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;

use crate::client::config;
use crate::client::health::{ClientHealth, Events};
use crate::client::settings::KafkaSettings;
use crate::record::OutgoingRecord;

/// How long to wait for room in the queue at a time.
const ROOM_STEP: Duration = Duration::from_millis(1);

/// What became of a record that was sent.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The record's value.
    pub value: &'a [u8],
    /// Where it was appended, as partition and offset, or why it was not.
    pub outcome: Result<(i32, i64), String>,
}

/// Told of each record, once, whether it was appended; on the client's own thread.
pub trait DeliveryListener: Send + Sync + 'static {
    /// One record's delivery.
    fn delivered(&self, delivery: Delivery<'_>);
}

/// Why a record cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The settings are not usable.
    #[error("kafka.{0}")]
    Settings(#[from] ImpossibleSetting),
    /// The client cannot be made.
    #[error("cannot create the producer")]
    Start(#[source] KafkaError),
    /// The client refuses the record.
    #[error("cannot send to topic `{topic}`")]
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
}

/// Who is told of deliveries.
struct Deliveries<L>(L);

impl<L: DeliveryListener> ProducerContext for Events<Deliveries<L>> {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (message, outcome) = match result {
            Ok(message) => (message, Ok((message.partition(), message.offset()))),
            Err((error, message)) => (message, Err(error.to_string())),
        };
        self.listener.0.delivered(Delivery {
            value: message.payload().unwrap_or_default(),
            outcome,
        });
    }
}

/// An idempotent producer: a record is appended once and, per partition, in the order of sending, however often the
/// client has to try. It tries for as long as it takes.
pub struct Producer<L: DeliveryListener> {
    client: ThreadedProducer<Events<Deliveries<L>>>,
    client_health: Arc<ClientHealth>,
}

impl<L: DeliveryListener> std::fmt::Debug for Producer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl<L: DeliveryListener> Producer<L> {
    /// Starts a producer; each delivery is told to `listener`.
    ///
    /// # Errors
    /// [`ProduceError`] if the settings are not usable.
    pub fn start(
        settings: &KafkaSettings,
        service: &str,
        listener: L,
    ) -> Result<Self, ProduceError> {
        let client_health = ClientHealth::new(&settings.bootstrap_servers);
        let config = config::producer(settings, service)?;
        let context = Events {
            client_health: Arc::clone(&client_health),
            listener: Deliveries(listener),
        };
        let client = config
            .create_with_context(context)
            .map_err(ProduceError::Start)?;
        Ok(Self {
            client,
            client_health,
        })
    }

    /// Hands a record to the client. Returns `false` if its queue is full:
    /// [`wait_for_room`](Self::wait_for_room) and try again.
    ///
    /// # Errors
    /// [`ProduceError::Refused`] if the client will never take the record.
    pub fn try_send(&self, record: OutgoingRecord<'_>) -> Result<bool, ProduceError> {
        match self.client.send(record.into_base_record(())) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((source, refused)) => Err(ProduceError::Refused {
                topic: refused.topic.to_owned(),
                source,
            }),
        }
    }

    /// Waits for a moment, in which the client goes on sending; unlike [`wait`](Self::wait), it does not hurry batches that
    /// are still filling.
    pub fn wait_for_room(&self) {
        thread::sleep(ROOM_STEP);
    }

    /// Waits until every record is accounted for, at most for `timeout`. Returns how many are not.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> usize {
        // Whether time ran out shows in the count.
        let _ = self.client.flush(Timeout::After(timeout));
        usize::try_from(self.client.in_flight_count()).unwrap_or(0)
    }

    /// Whether the cluster is reachable.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client_health
    }
}
