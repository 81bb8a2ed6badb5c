//! The ends of partitions, as any client can ask for them: with the records of open transactions, or without.
//!
//! rust-rdkafka asks for one partition at a time, and only as the client's own isolation level shows it.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_AdminOptions_set_isolation_level, rd_kafka_IsolationLevel_t, rd_kafka_ListOffsets,
    rd_kafka_ListOffsets_result_infos, rd_kafka_ListOffsetsResultInfo_t,
    rd_kafka_ListOffsetsResultInfo_topic_partition, rd_kafka_OffsetSpec_t, rd_kafka_admin_op_t,
    rd_kafka_error_destroy, rd_kafka_event_ListOffsets_result, rd_kafka_topic_partition_t,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::offsets::TopicPartition;
use crate::sys::admin::{Answer, Answers, Request};
use crate::sys::client::Alive;
use crate::sys::values;

/// Which end of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The high watermark, behind all records.
    HighWatermark,
    /// The last stable offset, before the first record of an open transaction.
    LastStable,
}

impl End {
    fn isolation(self) -> rd_kafka_IsolationLevel_t {
        match self {
            Self::HighWatermark => {
                rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
            }
            Self::LastStable => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        }
    }
}

/// The bindings' partition, with the number of its error instead of a value of their enumeration, which may not have it.
#[repr(C)]
struct PlainPartition {
    topic: *mut c_char,
    partition: i32,
    offset: i64,
    metadata: *mut c_void,
    metadata_size: usize,
    opaque: *mut c_void,
    error: c_int,
    private: *mut c_void,
}

const _: () = assert!(size_of::<PlainPartition>() == size_of::<rd_kafka_topic_partition_t>());
const _: () =
    assert!(offset_of!(PlainPartition, error) == offset_of!(rd_kafka_topic_partition_t, err));

/// A partition, and its end or why it is not known.
pub(crate) type FoundEnd = (TopicPartition, Result<i64, KafkaError>);

/// The ends that one client asks for.
#[derive(Debug)]
pub(crate) struct Ends(Answers);

impl Ends {
    /// Returns the ends that a client can ask for.
    pub(crate) fn new(client: Alive) -> Option<Self> {
        Answers::new(client).map(Self)
    }

    /// Asks the leaders of partitions, of which there must be one, for their ends. Does not wait for the answer.
    ///
    /// # Errors
    /// The client's error if it cannot send requests.
    pub(crate) fn request(
        &self,
        partitions: &[TopicPartition],
        end: End,
        timeout: Duration,
    ) -> Result<Request, KafkaError> {
        let latest = rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for TopicPartition { topic, partition } in partitions {
            // The latest offset has the number of `Offset::End`.
            list.add_partition_offset(topic, *partition, Offset::from_raw(latest))?;
        }
        let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        let (request, options) = self.0.prepare(operation, timeout)?;
        // SAFETY: the options are alive.
        let refused = unsafe {
            rd_kafka_AdminOptions_set_isolation_level(options.address(), end.isolation())
        };
        // SAFETY: the error is null or destroyed once, and not used afterwards.
        unsafe { rd_kafka_error_destroy(refused) };
        // SAFETY: the client, the list, the options and the queue are alive, and the request copies the list and the options.
        unsafe {
            rd_kafka_ListOffsets(
                self.0.queue().client().address(),
                list.ptr(),
                options.address(),
                self.0.queue().address(),
            );
        }
        Ok(request)
    }

    /// Waits for the answer to the latest request, until the request's deadline. Returns the partitions in any order.
    ///
    /// # Errors
    /// The client's error if no leader answers in time.
    pub(crate) fn answer(&self, request: &Request) -> Result<Vec<FoundEnd>, KafkaError> {
        offsets(&self.0.take(request)?)
    }

    /// Returns the answer to the latest request as [`answer`](Self::answer) does; `None` if there is none yet.
    pub(crate) fn try_answer(
        &self,
        request: &Request,
    ) -> Option<Result<Vec<FoundEnd>, KafkaError>> {
        let answer = self.0.try_take(request)?;
        Some(answer.and_then(|answer| offsets(&answer)))
    }
}

/// Returns the ends of partitions, in any order, over a client's connections.
///
/// # Errors
/// The client's error if a leader does not answer in time or refuses.
pub(crate) fn ends(
    client: Alive,
    partitions: &[TopicPartition],
    end: End,
    timeout: Duration,
) -> Result<Vec<(TopicPartition, i64)>, KafkaError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let no_queue = || KafkaError::AdminOpCreation("no queue".to_owned());
    let ends = Ends::new(client).ok_or_else(no_queue)?;
    let found = ends.answer(&ends.request(partitions, end, timeout)?)?;
    let known = |(partition, end): FoundEnd| Ok((partition, end?));
    found.into_iter().map(known).collect()
}

/// Returns the offsets of an answer.
fn offsets(answer: &Answer) -> Result<Vec<FoundEnd>, KafkaError> {
    // SAFETY: the event is alive.
    let result = unsafe { rd_kafka_event_ListOffsets_result(answer.address()) };
    if result.is_null() {
        return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::Fail));
    }
    let mut count = 0;
    // SAFETY: the result is alive as long as the event, and the count is written before it is read.
    let found = unsafe { rd_kafka_ListOffsets_result_infos(result, &raw mut count) };
    // SAFETY: librdkafka returned an array of that many addresses, which lives as long as the event.
    let found: &[*const rd_kafka_ListOffsetsResultInfo_t] =
        unsafe { values::addresses(found, count) };
    found.iter().map(|&found| offset(found)).collect()
}

/// Returns an element of an answer.
///
/// # Errors
/// If it names no partition.
fn offset(found: *const rd_kafka_ListOffsetsResultInfo_t) -> Result<FoundEnd, KafkaError> {
    let failed = KafkaError::OffsetFetch;
    // SAFETY: librdkafka's array has no null, and its elements live as long as the event.
    let place: *const rd_kafka_topic_partition_t =
        unsafe { rd_kafka_ListOffsetsResultInfo_topic_partition(found) };
    // SAFETY: the partition is null or lives as long as the event. Its error is not read as a value of the bindings' enumeration:
    // see `values::error`.
    let place: &PlainPartition = unsafe { place.cast::<PlainPartition>().as_ref() }
        .ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
    // SAFETY: librdkafka terminates the name, which lives as long as the event.
    let topic = unsafe { values::text(place.topic) };
    let topic = topic.ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
    let found = TopicPartition::new(&topic.to_string_lossy(), place.partition);
    let end = match values::error(place.error) {
        Some(error) => Err(failed(error)),
        // Without a leader's answer, the offset is invalid, and librdkafka does not always name an error.
        None if place.offset < 0 => Err(failed(RDKafkaErrorCode::OperationTimedOut)),
        None => Ok(place.offset),
    };
    Ok((found, end))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::consumer::BaseConsumer;

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    fn client(cluster: &SimulatedCluster) -> Alive {
        let client: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &cluster.settings.bootstrap_servers)
            .set("group.id", "test")
            .create()
            .unwrap();
        Alive::new(&Arc::new(client))
    }

    #[test]
    fn the_ends_of_all_partitions_are_known_and_one_that_does_not_exist_is_an_error() {
        let cluster = SimulatedCluster::new(1, &["predictions", "feedback"]);
        cluster.append("predictions", 3);
        let client = client(&cluster);
        let find =
            |partitions: &[TopicPartition], end| ends(client.clone(), partitions, end, PATIENCE);
        let wanted = [
            TopicPartition::new("predictions", 0),
            TopicPartition::new("feedback", 0),
        ];
        for end in [End::HighWatermark, End::LastStable] {
            let mut found = find(&wanted, end).unwrap();
            found.sort();
            let [first, second] = wanted.clone();
            assert_eq!(found, [(second, 0), (first, 3)]);
            let missing = [TopicPartition::new("predictions", 7)];
            assert!(find(&missing, end).is_err());
        }
        assert_eq!(find(&[], End::LastStable).unwrap(), []);
    }

    #[test]
    fn an_answer_is_taken_when_it_has_arrived_and_names_what_is_not_known() {
        let cluster = SimulatedCluster::new(1, &["predictions"]);
        cluster.append("predictions", 3);
        let ends = Ends::new(client(&cluster)).unwrap();
        let partitions = [0, 7].map(|partition| TopicPartition::new("predictions", partition));
        let request = ends
            .request(&partitions, End::LastStable, PATIENCE)
            .unwrap();
        let wait = |request: &Request| loop {
            match ends.try_answer(request) {
                None => std::thread::yield_now(),
                Some(answer) => break answer,
            }
        };
        let answer = wait(&request).unwrap();
        let end = |partition| {
            answer
                .iter()
                .find(|(found, _)| found.partition == partition)
        };
        assert!(matches!(end(0), Some((_, Ok(3)))), "{answer:?}");
        assert!(matches!(end(7), Some((_, Err(_)))), "{answer:?}");
        cluster.brokers.broker_round_trip_time(1, PATIENCE).unwrap();
        let timeout = Duration::from_millis(300);
        let request = ends
            .request(&partitions[..1], End::LastStable, timeout)
            .unwrap();
        assert!(ends.try_answer(&request).is_none());
        // The client gives up on the request, or a moment earlier on the leader of the partition.
        let is_unknown = |found: &[FoundEnd]| found.iter().all(|(_, end)| end.is_err());
        let late = wait(&request);
        assert!(late.as_deref().map_or(true, is_unknown), "{late:?}");
    }
}
