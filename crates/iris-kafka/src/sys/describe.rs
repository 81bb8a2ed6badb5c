//! Describes topics with their ids, and with the operations that the user may carry out on them.
//!
//! rust-rdkafka exposes neither, so librdkafka is called directly.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings::{
    rd_kafka_AclOperation_t, rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new,
    rd_kafka_AdminOptions_set_broker, rd_kafka_AdminOptions_set_include_authorized_operations,
    rd_kafka_AdminOptions_set_opaque, rd_kafka_AdminOptions_set_request_timeout,
    rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics,
    rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names,
    rd_kafka_TopicDescription_authorized_operations, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_name, rd_kafka_TopicDescription_partitions,
    rd_kafka_TopicDescription_t, rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_base64str,
    rd_kafka_admin_op_t, rd_kafka_error_code, rd_kafka_error_destroy,
    rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy, rd_kafka_event_error,
    rd_kafka_event_opaque, rd_kafka_event_t, rd_kafka_queue_destroy, rd_kafka_queue_new,
    rd_kafka_queue_poll, rd_kafka_queue_t,
};
use rdkafka::client::Client;
use rdkafka::error::{IsError, KafkaError, RDKafkaErrorCode};

/// A topic as the cluster describes it, or the reason why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedTopic {
    /// Its name.
    pub(crate) name: String,
    /// Its id in Kafka's text form and its number of partitions.
    pub(crate) found: Result<(String, usize), RDKafkaErrorCode>,
    /// The operations that the user may carry out on it, if they were asked for and the broker lists them.
    pub(crate) allowed: Option<Allowed>,
}

/// The operations on a topic that a user may carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Whether the user may read it.
    pub(crate) read: bool,
    /// Whether the user may write to it.
    pub(crate) write: bool,
    /// Whether the user may delete it.
    pub(crate) delete: bool,
}

/// The content of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The topics to describe, each named once.
    pub(crate) topics: &'a [&'a str],
    /// Whether to ask for the operations that the user may carry out.
    pub(crate) with_allowed: bool,
}

/// A request that a broker has not answered yet.
#[derive(Debug)]
pub(crate) struct Request {
    number: usize,
    deadline: Instant,
}

/// A queue for the answers to one client's requests.
#[derive(Debug)]
pub(crate) struct Descriptions {
    queue: NonNull<rd_kafka_queue_t>,
    /// The number of requests, which identifies the answer to the latest one.
    requests: AtomicUsize,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Descriptions {}
// SAFETY: they may also be used from several threads at once.
unsafe impl Sync for Descriptions {}

impl Descriptions {
    /// Creates a queue. It must be dropped before the client.
    pub(crate) fn new<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive while it is borrowed.
        let queue = unsafe { rd_kafka_queue_new(client.native_ptr()) };
        NonNull::new(queue).map(|queue| Self {
            queue,
            requests: AtomicUsize::new(0),
        })
    }

    /// Asks a broker, by its id, to describe topics. Does not wait for the answer.
    ///
    /// # Errors
    /// The client's error if it cannot send requests.
    pub(crate) fn request<C: ClientContext>(
        &self,
        client: &Client<C>,
        broker: i32,
        question: Question<'_>,
        timeout: Duration,
    ) -> Result<Request, KafkaError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.send(client, broker, question, number, timeout)?;
        Ok(Request {
            number,
            deadline: Instant::now() + timeout,
        })
    }

    /// Waits for the answer to the latest request, until the request's deadline.
    ///
    /// # Errors
    /// The client's error if the cluster does not answer in time.
    pub(crate) fn answer(&self, request: &Request) -> Result<Vec<DescribedTopic>, KafkaError> {
        loop {
            let wait = request.deadline.saturating_duration_since(Instant::now());
            let Some(answer) = self.take(wait) else {
                return Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::OperationTimedOut,
                ));
            };
            // The answer to an earlier request, for which nobody waits any more, is outdated.
            if answer.request() == request.number {
                return answer.topics();
            }
        }
    }

    fn send<C: ClientContext>(
        &self,
        client: &Client<C>,
        broker: i32,
        question: Question<'_>,
        number: usize,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        let names: Vec<CString> = question
            .topics
            .iter()
            .map(|topic| CString::new(*topic).unwrap_or_default())
            .collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let milliseconds = i32::try_from(timeout.as_millis())
            .unwrap_or(i32::MAX)
            .max(1);
        let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        // SAFETY: the client is alive while it is borrowed.
        let options = unsafe { rd_kafka_AdminOptions_new(client.native_ptr(), operation) };
        if options.is_null() {
            return Err(KafkaError::AdminOpCreation("no options".to_owned()));
        }
        // SAFETY: `options` was just created and is destroyed once. The names are terminated and outlive the collection,
        // which copies them; the request copies the collection and the options. The opaque pointer is a number that is never
        // dereferenced. No text of an error is asked for, and an error that is returned is destroyed once.
        unsafe {
            rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, ptr::null_mut(), 0);
            rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
            rd_kafka_AdminOptions_set_opaque(options, ptr::without_provenance_mut(number));
            let refused = rd_kafka_AdminOptions_set_include_authorized_operations(
                options,
                i32::from(question.with_allowed),
            );
            if !refused.is_null() {
                rd_kafka_error_destroy(refused);
            }
            let collection =
                rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rd_kafka_DescribeTopics(
                client.native_ptr(),
                collection,
                options,
                self.queue.as_ptr(),
            );
            rd_kafka_TopicCollection_destroy(collection);
            rd_kafka_AdminOptions_destroy(options);
        }
        Ok(())
    }

    fn take(&self, timeout: Duration) -> Option<Answer> {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive.
        let event = unsafe { rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds) };
        NonNull::new(event).map(Answer)
    }
}

impl Drop for Descriptions {
    fn drop(&mut self) {
        // SAFETY: it is not used afterwards.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// The answer to a request, in librdkafka's memory.
struct Answer(NonNull<rd_kafka_event_t>);

impl Answer {
    /// Returns the number of the request that this answers.
    fn request(&self) -> usize {
        // SAFETY: the event is alive; its opaque pointer is only a number.
        let number: *mut c_void = unsafe { rd_kafka_event_opaque(self.0.as_ptr()) };
        number.addr()
    }

    /// Returns the topics.
    ///
    /// # Errors
    /// The client's error if the request failed as a whole.
    fn topics(&self) -> Result<Vec<DescribedTopic>, KafkaError> {
        // SAFETY: the event is alive.
        let error = unsafe { rd_kafka_event_error(self.0.as_ptr()) };
        if error.is_error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        // SAFETY: the event is alive.
        let result = unsafe { rd_kafka_event_DescribeTopics_result(self.0.as_ptr()) };
        if result.is_null() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::Fail));
        }
        let mut count = 0;
        // SAFETY: the result is alive as long as the event, and the count is written before it is read.
        let topics = unsafe { rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
        if topics.is_null() || count == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: librdkafka returned an array of that many descriptions, which live as long as the event.
        let topics = unsafe { slice::from_raw_parts(topics, count) };
        Ok(topics.iter().map(|&topic| described(topic)).collect())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: this value owns the event, which is not used afterwards.
        unsafe { rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

/// Copies a description, which must be alive.
fn described(topic: *const rd_kafka_TopicDescription_t) -> DescribedTopic {
    // SAFETY: the caller passes a description that is alive; librdkafka terminates names.
    let name = unsafe { CStr::from_ptr(rd_kafka_TopicDescription_name(topic)) };
    // SAFETY: as above; a null error stands for none, and has no code to read.
    let error = unsafe { rd_kafka_TopicDescription_error(topic) };
    let code = if error.is_null() {
        None
    } else {
        // SAFETY: the error is alive as long as the description.
        Some(unsafe { rd_kafka_error_code(error) }).filter(IsError::is_error)
    };
    let found = match code {
        Some(code) => Err(code.into()),
        None => {
            let mut partitions = 0;
            // SAFETY: the description is alive. librdkafka caches the terminated text in the id, which it owns.
            let id = unsafe {
                rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
                CStr::from_ptr(rd_kafka_Uuid_base64str(rd_kafka_TopicDescription_topic_id(
                    topic,
                )))
            };
            Ok((id.to_string_lossy().into_owned(), partitions))
        }
    };
    DescribedTopic {
        name: name.to_string_lossy().into_owned(),
        found,
        allowed: allowed(topic),
    }
}

/// Returns the operations that a description, which must be alive, lists; `None` if it lists none. Whoever may see a
/// description may carry out at least one operation.
fn allowed(topic: *const rd_kafka_TopicDescription_t) -> Option<Allowed> {
    use rd_kafka_AclOperation_t::{
        RD_KAFKA_ACL_OPERATION_DELETE, RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_ACL_OPERATION_WRITE,
    };
    let mut count = 0;
    // SAFETY: the caller passes a description that is alive, and the count is written before it is read.
    let operations =
        unsafe { rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count) };
    if operations.is_null() || count == 0 {
        return None;
    }
    // SAFETY: librdkafka returned an array of that many operations, which lives as long as the description.
    let operations: &[rd_kafka_AclOperation_t] =
        unsafe { slice::from_raw_parts(operations, count) };
    Some(Allowed {
        read: operations.contains(&RD_KAFKA_ACL_OPERATION_READ),
        write: operations.contains(&RD_KAFKA_ACL_OPERATION_WRITE),
        delete: operations.contains(&RD_KAFKA_ACL_OPERATION_DELETE),
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    #[test]
    fn a_topic_keeps_its_id_and_no_other_topic_has_the_same() {
        let cluster = SimulatedCluster::new(1, &["input", "output"]);
        let client: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &cluster.settings.bootstrap_servers)
            .set("group.id", "test")
            .create()
            .unwrap();
        let descriptions = Descriptions::new(client.client()).unwrap();
        let request = |topics: &[&str]| {
            let question = Question {
                topics,
                with_allowed: false,
            };
            descriptions
                .request(client.client(), 1, question, PATIENCE)
                .unwrap()
        };
        let describe = |topics: &[&str]| descriptions.answer(&request(topics)).unwrap();
        let found = describe(&["input", "output"]);
        let ids: Vec<&String> = found
            .iter()
            .map(|topic| &topic.found.as_ref().unwrap().0)
            .collect();
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1]);
        assert!(
            found
                .iter()
                .all(|topic| topic.found.as_ref().unwrap().1 == 1)
        );
        let _ = request(&["output"]);
        let answer = describe(&["input"]);
        assert_eq!(
            answer,
            found[..1],
            "the id does not change, and the answer to the abandoned request is skipped"
        );
    }
}
