//! Aborts what earlier transactions of the same id have left open, in a cluster of one broker.
//!
//! A broker of Kafka 4.3.1 or 4.4.0 that stops, or starts after it was killed, ends transactions while its partitions have no
//! leader, and writes no marker to such partitions
//! ([KAFKA-20734](https://issues.apache.org/jira/browse/KAFKA-20734)). If it is the only broker, this happens in all partitions at
//! once, those of committed offsets included: the transaction has no effect yet, also if its commit was acknowledged. Two things
//! would follow. Nobody could read the group's offsets any more. And the next transaction of the producer would also end this
//! one, in the partitions where both have written, so that its records would be committed besides those of their repetition.
//!
//! So a new producer appends a record to each partition that is held back, adds an offset, and aborts all of it: a marker ends
//! whatever the same producer has open in a partition.
//!
//! Left out: clusters of several brokers. There, a transaction may lack its marker in some partitions only, and an abort would
//! lose committed records. Replicated partitions do not lose their leader when a broker stops.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tokio_util::sync::CancellationToken;

use super::{Client, MAX_DELAY, MIN_DELAY, ProducerState, TransactionalProducer};
use crate::defence::Defence;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::progress::Progress;
use crate::headers::Headers;
use crate::offsets::TopicPartition;
use crate::pause::Backoff;
use crate::record::OutgoingRecord;
use crate::sys::ends::{End, ends};

/// How long each request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

impl TransactionalProducer {
    /// [Prepares](Self::prepare) the producer, and aborts what earlier transactions of this id have left open in topics, if the
    /// cluster is one broker. Retries until that succeeds, and calls `waiting` with the reason before each wait. Returns whether
    /// the producer is usable; it is not if `stop` was cancelled meanwhile.
    ///
    /// # Errors
    /// [`Fault::NotAuthorised`] if the user may not use the transactional id or write to the topics.
    pub fn prepare_for(
        &mut self,
        topics: &[&str],
        stop: &CancellationToken,
        waiting: &mut dyn FnMut(String),
    ) -> Result<bool, Fault> {
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        while self.prepare(stop, waiting)? {
            match self.settle(topics, None) {
                Ok(_) => return Ok(true),
                Err(fault @ Fault::NotAuthorised(_)) => return Err(fault),
                Err(fault) => {
                    waiting(fault.to_string());
                    backoff.pause(stop);
                }
            }
        }
        Ok(false)
    }

    /// Aborts what earlier transactions of this id have left open in topics, if the cluster is one broker and this was not done
    /// since the producer was prepared. With `progress`, which is any position of a group, also the offsets that they commit.
    /// Returns whether something may have been aborted: then only the brokers know which transactions were committed.
    ///
    /// # Errors
    /// [`Fault`]; the producer has to be prepared again.
    pub(crate) fn settle(
        &mut self,
        topics: &[&str],
        progress: Option<Progress<'_>>,
    ) -> Result<bool, Fault> {
        if self.is_settled || !Defence::Settle.is_on() {
            return Ok(false);
        }
        let settled = self.try_to_settle(topics, progress);
        match &settled {
            Ok(_) => self.is_settled = true,
            Err(_) => self.discard(),
        }
        settled
    }

    fn try_to_settle(
        &mut self,
        topics: &[&str],
        progress: Option<Progress<'_>>,
    ) -> Result<bool, Fault> {
        let ProducerState::Ready(producer) = &self.state else {
            return Err(Fault::Lost("the producer is not ready".to_owned()));
        };
        let input = progress.as_ref().map(|progress| progress.topic);
        let topics: Vec<&str> = topics.iter().copied().chain(input).collect();
        let partitions = partitions_of_single_broker(producer, &topics)
            .map_err(|error| self.explain(producer, Fault::of("describing topics", &error)))?;
        let Some(mut partitions) = partitions else {
            return Ok(false);
        };
        partitions.retain(|found| input != Some(found.topic.as_str()));
        let held_back = held_back(producer, &partitions)
            .map_err(|error| self.explain(producer, Fault::of("reading end offsets", &error)))?;
        if held_back.is_empty() && progress.is_none() {
            return Ok(false);
        }
        self.begin()?;
        if let Some(progress) = progress {
            self.send_offsets(progress)?;
        }
        for TopicPartition { topic, partition } in &held_back {
            self.send(OutgoingRecord {
                topic,
                partition: Some(*partition),
                timestamp: None,
                // Compacted topics refuse records without a key.
                key: Some(b""),
                value: None,
                headers: Headers::default(),
            })?;
        }
        self.drain()?;
        self.abort(&Fault::Abortable("aborted on purpose".to_owned()));
        match &self.state {
            ProducerState::Ready(_) => Ok(true),
            _ => Err(Fault::Lost("abort_transaction failed".to_owned())),
        }
    }
}

/// Returns the partitions of topics that exist; `None` if the cluster has several brokers.
fn partitions_of_single_broker(
    producer: &Client,
    topics: &[&str],
) -> Result<Option<Vec<TopicPartition>>, KafkaError> {
    let client = producer.client().client();
    let mut found = Vec::new();
    for &topic in topics {
        let metadata = client.fetch_metadata(Some(topic), TIMEOUT)?;
        if metadata.brokers().len() > 1 {
            return Ok(None);
        }
        let partitions = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions());
        for partition in partitions {
            if partition.replicas().len() > 1 {
                return Ok(None);
            }
            found.push(TopicPartition::new(topic, partition.id()));
        }
    }
    Ok(Some(found))
}

/// Returns the partitions in which a transaction is open.
fn held_back(
    producer: &Client,
    partitions: &[TopicPartition],
) -> Result<Vec<TopicPartition>, KafkaError> {
    let find = |end| ends(producer.client().alive(), partitions, end, TIMEOUT);
    let (mut stable, mut all) = (find(End::LastStable)?, find(End::HighWatermark)?);
    stable.sort();
    all.sort();
    if stable.len() != all.len() {
        return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::Fail));
    }
    let both = stable.into_iter().zip(all);
    let held_back = both.filter_map(|((place, stable), (_, end))| (stable < end).then_some(place));
    Ok(held_back.collect())
}
