//! A producer's topics, to which records are sent by handle.
//!
//! rust-rdkafka sends each record by the name of its topic. librdkafka then searches for the name while it holds the client's lock,
//! for which the threads that send also wait.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_last_error, rd_kafka_producev, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t, rd_kafka_vtype_t,
};
use rdkafka::error::{IsError as _, KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::util::IntoOpaque;

use crate::record::OutgoingRecord;
use crate::sys::client::Alive;
use crate::sys::headers;
use crate::sys::values::terminated;

/// A topic of one producer, whose delivery reports return a `D`.
#[derive(Debug)]
pub(crate) struct OutboundTopic<D> {
    topic: NonNull<rd_kafka_topic_t>,
    /// Released after the topic.
    client: Alive,
    opaque: PhantomData<fn(D)>,
}

// SAFETY: librdkafka's topics may be used from any thread, and so may the client.
unsafe impl<D> Send for OutboundTopic<D> {}

impl<D: IntoOpaque> OutboundTopic<D> {
    /// Returns a topic of a producer.
    ///
    /// # Errors
    /// The client's error if no topic can have this name.
    pub(crate) fn new<C>(producer: &Arc<BaseProducer<C>>, name: &str) -> Result<Self, KafkaError>
    where
        C: ProducerContext<DeliveryOpaque = D> + 'static,
    {
        let (client, name) = (Alive::new(producer), terminated(name));
        // SAFETY: the client is kept alive, the name is terminated, and without settings the client's own are used.
        let topic = unsafe { rd_kafka_topic_new(client.address(), name.as_ptr(), ptr::null_mut()) };
        match NonNull::new(topic) {
            Some(topic) => Ok(Self {
                topic,
                client,
                opaque: PhantomData,
            }),
            // SAFETY: the error of this thread's last call.
            None => Err(KafkaError::MessageProduction(
                unsafe { rd_kafka_last_error() }.into(),
            )),
        }
    }

    /// Queues a record for this topic; the record's own topic is not read. The delivery report returns `opaque`.
    ///
    /// # Errors
    /// The client's error and the record, if the record was not queued.
    pub(crate) fn send<'a>(
        &self,
        record: OutgoingRecord<'a>,
        opaque: D,
    ) -> Result<(), (RDKafkaErrorCode, OutgoingRecord<'a>)> {
        let (value, value_len) = parts(record.value);
        let (key, key_len) = parts(record.key);
        let list = record.headers.0.as_ref().map(OwnedHeaders::as_borrowed);
        let list = list.map_or(ptr::null_mut(), headers::native);
        let opaque = opaque.into_ptr();
        // SAFETY: client and topic are alive; each value has the type that its tag demands; key and value are copied; the list of
        // headers is this record's own.
        let queued = unsafe {
            rd_kafka_producev(
                self.client.address(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                record.partition.unwrap_or(-1),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                RD_KAFKA_MSG_F_COPY,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp.unwrap_or(0),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                list,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            )
        };
        if queued.is_error() {
            // SAFETY: the pointer was made of a `D`, and no delivery report will return it.
            drop(unsafe { D::from_ptr(opaque) });
            return Err((queued.into(), record));
        }
        // They belong to the queued record.
        mem::forget(record.headers);
        Ok(())
    }
}

impl<D> Drop for OutboundTopic<D> {
    fn drop(&mut self) {
        // SAFETY: it was created for this value only, and its client is still alive.
        unsafe { rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

/// Returns the start and the length of a key or a value.
fn parts(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| {
        (bytes.as_ptr().cast(), bytes.len())
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;
    use rdkafka::ClientConfig;
    use rdkafka::client::ClientContext;
    use rdkafka::message::{DeliveryResult, Message as _};
    use rdkafka::producer::Producer as _;

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};
    use crate::headers::Headers;

    const TOPIC: &str = "output";

    /// Lists the delivered records: their partition, key, value and headers. The simulated broker replaces their time.
    #[derive(Default)]
    struct Delivered(Mutex<Vec<String>>);

    impl ClientContext for Delivered {}

    impl ProducerContext for Delivered {
        type DeliveryOpaque = Box<u64>;

        fn delivery(&self, result: &DeliveryResult<'_>, opaque: Box<u64>) {
            let text = match result {
                Ok(record) => {
                    let text =
                        |bytes: Option<&[u8]>| bytes.map(String::from_utf8_lossy).map(String::from);
                    let headers = record.headers().map(headers::all);
                    format!(
                        "{opaque} partition {} {:?} {:?} {:?}",
                        record.partition(),
                        text(record.key()),
                        text(record.payload()),
                        headers
                    )
                }
                Err((error, _)) => format!("{opaque} {error}"),
            };
            self.0.lock().push(text);
        }
    }

    fn producer(cluster: &SimulatedCluster) -> Arc<BaseProducer<Delivered>> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &cluster.settings.bootstrap_servers);
        config.set("queue.buffering.max.messages", "3");
        Arc::new(config.create_with_context(Delivered::default()).unwrap())
    }

    fn record(partition: Option<i32>) -> OutgoingRecord<'static> {
        OutgoingRecord {
            topic: TOPIC,
            partition,
            timestamp: Some(7),
            key: Some(b"key"),
            value: Some(b"value"),
            headers: Headers::default().set("name", "text"),
        }
    }

    #[test]
    fn all_parts_of_a_record_are_sent() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let producer = producer(&cluster);
        let topic = OutboundTopic::new(&producer, TOPIC).unwrap();
        let empty = OutgoingRecord {
            key: None,
            value: None,
            headers: Headers::default(),
            ..record(Some(0))
        };
        topic.send(record(Some(0)), Box::new(1)).unwrap();
        topic.send(empty, Box::new(2)).unwrap();
        producer.flush(PATIENCE).unwrap();
        assert_eq!(
            *producer.context().0.lock(),
            [
                r#"1 partition 0 Some("key") Some("value") Some([("name", [116, 101, 120, 116])])"#,
                "2 partition 0 None None None",
            ]
        );
    }

    #[test]
    fn a_record_that_is_not_queued_is_returned_with_its_headers() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let producer = producer(&cluster);
        let topic = OutboundTopic::new(&producer, TOPIC).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let (error, refused) = loop {
            assert!(Instant::now() < deadline, "partition 9 does not exist");
            match topic.send(record(Some(9)), Box::new(3)) {
                // The partitions are not known yet.
                Ok(()) => {
                    producer.poll(Duration::from_millis(10));
                }
                Err(refused) => break refused,
            }
        };
        assert!(
            matches!(
                error,
                RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::UnknownPartition
            ),
            "{error}"
        );
        assert_eq!(
            refused.headers.to_pairs(),
            [("name".to_owned(), b"text".to_vec())]
        );
    }

    #[test]
    fn a_topic_may_outlive_its_owner_s_producer() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let producer = producer(&cluster);
        let topic = OutboundTopic::new(&producer, TOPIC).unwrap();
        drop(producer);
        topic.send(record(Some(0)), Box::new(4)).unwrap();
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_refused() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let producer = producer(&cluster);
        assert!(OutboundTopic::new(&producer, &"a".repeat(600)).is_err());
    }
}
