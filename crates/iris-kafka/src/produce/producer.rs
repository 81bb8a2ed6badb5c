//! Sends records without a transaction: idempotently, with a delivery report for each.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use iris_core::InvalidSetting;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;

use crate::client::config;
use crate::client::connected::Connected;
use crate::client::health::{ClientHealth, Events};
use crate::client::settings::KafkaSettings;
use crate::offsets::PartitionOffset;
use crate::produce::unsent::Unsent;
use crate::record::OutgoingRecord;

/// How long one wait for room in the queue lasts.
const ROOM_STEP: Duration = Duration::from_millis(1);

/// The delivery report of a record.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value.
    pub value: &'a [u8],
    /// Where the record was appended, or why it was not.
    pub outcome: Result<PartitionOffset, String>,
}

/// Receives one delivery report per record, on the client's own thread.
pub trait DeliveryListener: Send + Sync + 'static {
    /// Called once for each record that was sent.
    fn delivered(&self, delivery: Delivery<'_>);
}

/// Why a record cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Settings(#[from] InvalidSetting),
    /// The client cannot be created.
    #[error("cannot create the producer")]
    Start(#[source] KafkaError),
    /// The client refuses the record.
    #[error("cannot send to topic `{topic}`")]
    Refused {
        /// The topic.
        topic: String,
        /// The client's error.
        #[source]
        source: KafkaError,
    },
}

/// The listener, as a client context's own type.
struct Deliveries<L> {
    listener: L,
    unsent: Unsent,
}

impl<L: DeliveryListener> ProducerContext for Events<Deliveries<L>> {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (message, outcome) = match result {
            Ok(message) => {
                let appended = PartitionOffset::new(message.partition(), message.offset());
                (message, Ok(appended))
            }
            Err((error, message)) if self.listener.unsent.take(error, message) => return,
            Err((error, message)) => (message, Err(error.to_string())),
        };
        self.listener.listener.delivered(Delivery {
            key: message.key(),
            value: message.payload().unwrap_or_default(),
            outcome,
        });
    }
}

/// An idempotent producer. Retries without a time limit, and still appends each record once and each partition's records in
/// the order in which they were sent. An exception to the order: a record that fails because a broker does not authenticate the
/// client again is sent again behind others.
pub struct Producer<L: DeliveryListener> {
    client: Connected<ThreadedProducer<Events<Deliveries<L>>>>,
    client_health: Arc<ClientHealth>,
}

impl<L: DeliveryListener> std::fmt::Debug for Producer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl<L: DeliveryListener> Producer<L> {
    /// Starts a producer that reports each delivery to `listener`.
    ///
    /// # Errors
    /// [`ProduceError`] if a setting cannot be used.
    pub fn start(
        settings: &KafkaSettings,
        service: &str,
        listener: L,
    ) -> Result<Self, ProduceError> {
        let client_health = ClientHealth::new(settings);
        let config = config::producer(settings, service)?;
        let context = Events {
            client_health: Arc::clone(&client_health),
            listener: Deliveries {
                listener,
                unsent: Unsent::default(),
            },
        };
        let client = Connected::new(&config, settings, context).map_err(ProduceError::Start)?;
        Ok(Self {
            client,
            client_health,
        })
    }

    /// Queues a record. Returns `false` if the queue is full; then [wait for room](Self::wait_for_room) and try again.
    ///
    /// # Errors
    /// [`ProduceError::Refused`] if the client will never accept the record.
    pub fn try_send(&self, record: OutgoingRecord<'_>) -> Result<bool, ProduceError> {
        self.send_again()?;
        match self.client.send(record.into_base_record(())) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((source, refused)) => Err(ProduceError::Refused {
                topic: refused.topic.to_owned(),
                source,
            }),
        }
    }

    /// Sends records again that were not sent.
    fn send_again(&self) -> Result<(), ProduceError> {
        let unsent = &self.client.context().listener.unsent;
        let send = |record: BaseRecord<'_, [u8], [u8]>| {
            self.client.send(record).map_err(|(error, _)| error)
        };
        unsent
            .send(send)
            .map_err(|(topic, source)| ProduceError::Refused { topic, source })
    }

    /// Waits for a moment while the client sends. Unlike [`wait`](Self::wait), it does not flush batches that are still
    /// filling.
    pub fn wait_for_room(&self) {
        thread::sleep(ROOM_STEP);
    }

    /// Waits for the delivery reports of all records, at most for `timeout`. Returns the number of records without one.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The counts show whether time ran out.
            let _ = self.client.flush(Timeout::After(left));
            let is_sent = self.send_again().is_ok();
            let in_flight = usize::try_from(self.client.in_flight_count()).unwrap_or(0);
            let waiting = in_flight + self.client.context().listener.unsent.len();
            if waiting == 0 || left.is_zero() || !is_sent {
                return waiting;
            }
        }
    }

    /// Returns the client's health: whether the cluster is reachable.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client_health
    }
}
