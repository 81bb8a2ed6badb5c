//! Takes fetched records in batches.
//!
//! rust-rdkafka returns records one at a time, each wrapped in an event, and reads the clock several times for each: at a
//! million records/s that costs as much as classifying them. Here the records of all partitions go to a queue of their own
//! and are taken from it in batches. Rebalances, errors and statistics still arrive on the consumer's own queue, which has
//! to be polled as well.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_consume_queue, rd_kafka_message_t,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition,
};

use crate::sys::client::Alive;
use crate::sys::message::{Fetched, Message};
use crate::sys::queue::Queue;

/// The maximum number of records in a batch. A larger batch would make taking records hardly cheaper, and its processing would
/// take longer than 1 ms.
const MOST: usize = 512;

/// A queue that receives the records of partitions.
#[derive(Debug)]
pub(crate) struct Inbox(Queue);

impl Inbox {
    /// Creates a queue of a client.
    pub(crate) fn new(client: Alive) -> Option<Self> {
        Queue::new(client).map(Self)
    }

    /// Routes a partition's records to this queue. Call it before the partition is read for the first time, and again whenever
    /// reading has stopped, because stopping removes the route. Records that were fetched in between arrive after the call.
    pub(crate) fn collect_from(&self, topic: &CStr, partition: i32) {
        // SAFETY: the client is kept alive, and the name is terminated.
        let source = unsafe {
            rd_kafka_queue_get_partition(self.0.client().address(), topic.as_ptr(), partition)
        };
        if source.is_null() {
            return;
        }
        // SAFETY: both queues are alive.
        unsafe { rd_kafka_queue_forward(source, self.0.address()) };
        // SAFETY: the reference to the partition's queue is released once, which keeps the forwarding.
        unsafe { rd_kafka_queue_destroy(source) };
    }

    /// Takes the messages that are available, at most one batch; if there are none, waits for one for at most `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Vec<Message<'_>> {
        let mut taken = [ptr::null_mut::<rd_kafka_message_t>(); MOST];
        // SAFETY: the queue is alive, and the array has room for as many messages as are asked for.
        let count =
            unsafe { rd_kafka_consume_batch_queue(self.0.address(), 0, taken.as_mut_ptr(), MOST) };
        let count = usize::try_from(count).unwrap_or(0);
        if count > 0 || timeout.is_zero() {
            let taken = taken.iter().take(count);
            return taken
                .filter_map(|&message| self.borrowed(message))
                .collect();
        }
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive.
        let message = unsafe { rd_kafka_consume_queue(self.0.address(), timeout) };
        self.borrowed(message).into_iter().collect()
    }

    /// Takes ownership of a message that this queue has returned.
    fn borrowed(&self, message: *mut rd_kafka_message_t) -> Option<Message<'_>> {
        // SAFETY: the callers pass each message that librdkafka returns to them once.
        let fetched = unsafe { Fetched::own(message) };
        fetched.map(|fetched| Message::new(fetched, self.0.client()))
    }
}

/// An inbox whose messages are taken in batches and returned one at a time.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Dropped before the inbox that they were taken from.
    taken: VecDeque<Fetched>,
    inbox: Inbox,
}

impl Buffer {
    /// Returns a buffer of an inbox's messages.
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self {
            taken: VecDeque::new(),
            inbox,
        }
    }

    /// Takes messages from the inbox, as [`Inbox::take`] does, if there are none left. Returns whether there are none now.
    pub(crate) fn fill(&mut self, timeout: Duration) -> bool {
        if self.taken.is_empty() {
            let taken = self.inbox.take(timeout).into_iter();
            self.taken = taken.map(Message::into_fetched).collect();
        }
        self.taken.is_empty()
    }

    /// Whether there are messages that were taken and not returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Returns the next message and leaves it in the buffer.
    pub(crate) fn first(&self) -> Option<&Fetched> {
        self.taken.front()
    }

    /// Removes the next message.
    pub(crate) fn next(&mut self) -> Option<Message<'_>> {
        let fetched = self.taken.pop_front()?;
        Some(Message::new(fetched, self.inbox.0.client()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    const TOPIC: &str = "topic";
    const STEP: Duration = Duration::from_millis(20);

    /// Returns an inbox with the records of the topic. Nothing else owns its client.
    fn inbox(cluster: &SimulatedCluster) -> Inbox {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &cluster.settings.bootstrap_servers)
            .set("group.id", "test")
            .create()
            .unwrap();
        let client = Arc::new(client);
        let inbox = Inbox::new(Alive::new(&client)).unwrap();
        inbox.collect_from(c"topic", 0);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Beginning)
            .unwrap();
        client.assign(&list).unwrap();
        inbox
    }

    #[test]
    fn an_inbox_keeps_its_client_alive_and_messages_are_whole() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &cluster.settings.bootstrap_servers)
            .create()
            .unwrap();
        let record = || BaseRecord::<[u8], [u8]>::to(TOPIC).partition(0);
        producer.send(record()).unwrap();
        producer.send(record().key(b"").payload(b"")).unwrap();
        producer
            .send(record().key(b"k").payload(&[7; 5000]))
            .unwrap();
        producer.flush(PATIENCE).unwrap();
        let (inbox, deadline) = (inbox(&cluster), Instant::now() + PATIENCE);
        let mut messages = Vec::new();
        while messages.len() < 3 && Instant::now() < deadline {
            messages.extend(inbox.take(STEP));
        }
        let [null, empty, whole] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!((null.key(), null.value()), (None, None));
        let none = Some(&b""[..]);
        assert_eq!((empty.key(), empty.value()), (none, none));
        assert_eq!(
            (whole.key(), whole.value()),
            (Some(&b"k"[..]), Some(&[7; 5000][..]))
        );
        assert_eq!(
            (whole.topic(), whole.partition(), whole.offset()),
            (TOPIC, 0, 2)
        );
        assert_eq!(whole.error(), None);
        assert!(whole.headers().is_none() && whole.timestamp().is_some());
    }

    #[test]
    fn a_buffer_returns_each_message_once_and_drops_those_that_are_left_with_the_client() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 5);
        let mut buffer = Buffer::new(inbox(&cluster));
        let deadline = Instant::now() + PATIENCE;
        for offset in 0..3 {
            while buffer.fill(STEP) {
                assert!(Instant::now() < deadline);
            }
            assert_eq!(buffer.first().map(Fetched::offset), Some(offset));
            assert_eq!(buffer.next().map(|next| next.offset()), Some(offset));
        }
    }

    /// A mistake on purpose: `make sanitize` fails unless the sanitizer reports it.
    #[cfg(sanitized)]
    #[test]
    #[ignore = "reads freed memory"]
    fn a_read_of_freed_memory_is_reported() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 1);
        let (inbox, deadline) = (inbox(&cluster), Instant::now() + PATIENCE);
        let address = loop {
            assert!(Instant::now() < deadline);
            if let Some(message) = inbox.take(STEP).first() {
                break message.address_of_offset();
            }
        };
        // SAFETY: none, because the message was dropped.
        let offset = unsafe { address.read_volatile() };
        panic!("nothing is reported, and the offset is {offset}");
    }
}
