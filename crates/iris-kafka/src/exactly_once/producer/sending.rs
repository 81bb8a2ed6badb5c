//! Records that a transactional producer sends, and those that their topics refuse.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;

use super::{Client, Inner, POLL_STEP, ProducerState, TransactionalProducer, no_transaction};
use crate::exactly_once::fault::Fault;
use crate::exactly_once::refusals::{Owner, Refusals};
use crate::exactly_once::refused::Refused;
use crate::offsets::PartitionOffset;
use crate::record::OutgoingRecord;
use crate::sys::flush::flush;
use crate::sys::outbound::OutboundTopic;

impl TransactionalProducer {
    /// Adds a record to the open transaction. Waits while the client's queue is full.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot continue.
    pub fn send(&mut self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        self.send_outcome(record, PartitionOffset::default())
    }

    /// Adds an outcome of an input record to the open transaction. Waits while the client's queue is full. If a topic
    /// refuses it, [`take_refused`](Self::take_refused) returns it by that input record.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot continue.
    pub fn send_outcome(
        &mut self,
        record: OutgoingRecord<'_>,
        input: PartitionOffset,
    ) -> Result<(), Fault> {
        self.send_owned(record, Owner::Record(input))
    }

    /// Adds a record to the open transaction, with the input record that it belongs to.
    pub(crate) fn send_owned(
        &mut self,
        mut record: OutgoingRecord<'_>,
        owner: Owner,
    ) -> Result<(), Fault> {
        let ProducerState::Open(Client { topics, caller, .. }) = &mut self.state else {
            return Err(no_transaction());
        };
        let producer = caller.client();
        let topic = find_topic(topics, producer, record.topic)?;
        let mut full_since = None;
        loop {
            let (code, refused) = match topic.send(record, owner.pack()) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if code == RDKafkaErrorCode::QueueFull
                && full_since.get_or_insert_with(Instant::now).elapsed() < self.call_timeout
            {
                producer.poll(POLL_STEP);
                record = refused;
                continue;
            }
            let error = KafkaError::MessageProduction(code);
            if producer.client().fatal_error().is_some() {
                return Err(Fault::Lost(format!("appending: {error}")));
            }
            let refusals = &producer.context().listener;
            refusals.note(owner, refused.topic, &error);
            // After a failed delivery the client accepts no record; only the report of that delivery has the cause.
            producer.poll(Duration::ZERO);
            let failure = refusals.failure();
            let (topic, error) = failure.unwrap_or_else(|| (refused.topic.to_owned(), error));
            return Err(Fault::of_delivery(&topic, &error));
        }
    }

    /// Returns the input records with an outcome that a topic refused, since the last call.
    pub fn take_refused(&self) -> BTreeMap<PartitionOffset, Refused> {
        self.take_refusals().records
    }

    /// Returns all refusals since the last call.
    pub(crate) fn take_refusals(&self) -> Refusals {
        match &self.state {
            ProducerState::Absent => Refusals::default(),
            ProducerState::Ready(producer) | ProducerState::Open(producer) => {
                producer.client().context().listener.take()
            }
        }
    }

    /// Waits until the brokers have acknowledged or refused every record of the transaction.
    ///
    /// # Errors
    /// [`Fault::Lost`] if they have not in time.
    pub(in crate::exactly_once) fn drain(&self) -> Result<(), Fault> {
        let producer = self.opened()?;
        let deadline = Instant::now() + self.call_timeout;
        while !flush(producer.client()) {
            if Instant::now() >= deadline {
                // Whether they were appended is unknown, and they still may be.
                let fault = Fault::Lost(format!(
                    "the brokers did not acknowledge the transaction's records within {} s",
                    self.call_timeout.as_secs()
                ));
                return Err(self.explain(producer, fault));
            }
        }
        Ok(())
    }
}

/// Returns the topic of a name, which is added if the producer has not sent to it before.
fn find_topic<'a>(
    topics: &'a mut Vec<(String, OutboundTopic<usize>)>,
    producer: &Inner,
    name: &str,
) -> Result<&'a OutboundTopic<usize>, Fault> {
    let known = topics.iter().position(|(known, _)| known == name);
    let position = match known {
        Some(position) => position,
        None => {
            let topic = producer.outbound(name);
            let topic = topic.map_err(|error| Fault::of_delivery(name, &error))?;
            topics.push((name.to_owned(), topic));
            topics.len() - 1
        }
    };
    Ok(&topics[position].1)
}
