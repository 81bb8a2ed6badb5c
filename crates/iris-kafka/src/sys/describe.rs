//! Describes topics with their ids, and with the operations that the user may carry out on them.
//!
//! rust-rdkafka exposes neither, so librdkafka is called directly.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_AclOperation_t, rd_kafka_AdminOptions_set_broker,
    rd_kafka_AdminOptions_set_include_authorized_operations, rd_kafka_DescribeTopics,
    rd_kafka_DescribeTopics_result_topics, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_authorized_operations,
    rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_name,
    rd_kafka_TopicDescription_partitions, rd_kafka_TopicDescription_t,
    rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_base64str, rd_kafka_admin_op_t,
    rd_kafka_error_destroy, rd_kafka_error_t, rd_kafka_event_DescribeTopics_result,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::sys::admin::{Answer, Answers, Options, Request};
use crate::sys::client::Alive;
use crate::sys::values::{self, terminated};

// librdkafka returns codes of brokers, which its bindings declare as an enumeration: see `values::error`.
unsafe extern "C" {
    #[link_name = "rd_kafka_error_code"]
    fn error_code(error: *const rd_kafka_error_t) -> c_int;
}

// Operations are compared by their numbers, because a broker may list others than the bindings have.
const _: () = assert!(size_of::<rd_kafka_AclOperation_t>() == size_of::<u32>());
const _: () = assert!(align_of::<rd_kafka_AclOperation_t>() == align_of::<u32>());

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

/// The descriptions that one client asks for.
#[derive(Debug)]
pub(crate) struct Descriptions(Answers);

impl Descriptions {
    /// Returns the descriptions of a client.
    pub(crate) fn new(client: Alive) -> Option<Self> {
        Answers::new(client).map(Self)
    }

    /// Asks a broker, by its id, to describe topics. Does not wait for the answer.
    ///
    /// # Errors
    /// The client's error if it cannot send requests.
    pub(crate) fn request(
        &self,
        broker: i32,
        question: Question<'_>,
        timeout: Duration,
    ) -> Result<Request, KafkaError> {
        let names: Vec<CString> = question
            .topics
            .iter()
            .map(|topic| terminated(topic))
            .collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let (request, options) = self.0.prepare(operation, timeout)?;
        // SAFETY: the options are alive, and no text of an error is asked for.
        unsafe { rd_kafka_AdminOptions_set_broker(options.address(), broker, ptr::null_mut(), 0) };
        if question.with_allowed {
            include_allowed(&options);
        }
        // SAFETY: the names are terminated and outlive the call, which copies them.
        let collection = unsafe {
            rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len())
        };
        // SAFETY: the client, the collection, the options and the queue are alive, and the request copies the collection and the
        // options.
        unsafe {
            rd_kafka_DescribeTopics(
                self.0.queue().client().address(),
                collection,
                options.address(),
                self.0.queue().address(),
            );
        }
        // SAFETY: the collection was just created and is destroyed once.
        unsafe { rd_kafka_TopicCollection_destroy(collection) };
        Ok(request)
    }

    /// Waits for the answer to the latest request, until the request's deadline.
    ///
    /// # Errors
    /// The client's error if the cluster does not answer in time.
    pub(crate) fn answer(&self, request: &Request) -> Result<Vec<DescribedTopic>, KafkaError> {
        topics(&self.0.take(request)?)
    }
}

/// Asks for the operations that the user may carry out.
fn include_allowed(options: &Options) {
    // SAFETY: the options are alive.
    let refused =
        unsafe { rd_kafka_AdminOptions_set_include_authorized_operations(options.address(), 1) };
    // SAFETY: the error is null or destroyed once, and not used afterwards.
    unsafe { rd_kafka_error_destroy(refused) };
}

/// Returns the topics of an answer.
fn topics(answer: &Answer) -> Result<Vec<DescribedTopic>, KafkaError> {
    // SAFETY: the event is alive.
    let result = unsafe { rd_kafka_event_DescribeTopics_result(answer.address()) };
    if result.is_null() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::Fail));
    }
    let mut count = 0;
    // SAFETY: the result is alive as long as the event, and the count is written before it is read.
    let topics = unsafe { rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
    // SAFETY: librdkafka returned an array of that many addresses, which lives as long as the event.
    let topics: &[*const rd_kafka_TopicDescription_t] = unsafe { values::addresses(topics, count) };
    let described = topics.iter().filter_map(|topic| {
        // SAFETY: each address is null or that of a description that lives as long as the event.
        unsafe { topic.as_ref() }.map(described)
    });
    Ok(described.collect())
}

/// Copies a description.
fn described(topic: &rd_kafka_TopicDescription_t) -> DescribedTopic {
    // SAFETY: the description is alive while it is borrowed.
    let name = unsafe { rd_kafka_TopicDescription_name(topic) };
    // SAFETY: librdkafka terminates the name, which lives as long as the description.
    let name = unsafe { values::text(name) }.unwrap_or_default();
    // SAFETY: the description is alive while it is borrowed.
    let error = unsafe { rd_kafka_TopicDescription_error(topic) };
    // SAFETY: the error is null, which stands for success, or lives as long as the description.
    let code = unsafe { error_code(error) };
    DescribedTopic {
        name: name.to_string_lossy().into_owned(),
        found: values::error(code).map_or_else(|| found(topic), Err),
        allowed: allowed(topic),
    }
}

/// Returns the id and the number of partitions of a description without an error.
fn found(topic: &rd_kafka_TopicDescription_t) -> Result<(String, usize), RDKafkaErrorCode> {
    let mut partitions = 0;
    // SAFETY: the description is alive while it is borrowed, and only the count is used.
    unsafe { rd_kafka_TopicDescription_partitions(topic, &raw mut partitions) };
    // SAFETY: the description is alive while it is borrowed.
    let id = unsafe { rd_kafka_TopicDescription_topic_id(topic) };
    if id.is_null() {
        return Err(RDKafkaErrorCode::Fail);
    }
    // SAFETY: the id lives as long as the description. It owns the text that librdkafka caches in it.
    let id = unsafe { rd_kafka_Uuid_base64str(id) };
    // SAFETY: librdkafka terminates the text, which lives as long as the description.
    let id = unsafe { values::text(id) }.ok_or(RDKafkaErrorCode::Fail)?;
    Ok((id.to_string_lossy().into_owned(), partitions))
}

/// Returns the operations that a description lists; `None` if it lists none. Whoever may see a description may carry out at least
/// one operation.
fn allowed(topic: &rd_kafka_TopicDescription_t) -> Option<Allowed> {
    use rd_kafka_AclOperation_t::{
        RD_KAFKA_ACL_OPERATION_DELETE, RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_ACL_OPERATION_WRITE,
    };
    let mut count = 0;
    // SAFETY: the description is alive while it is borrowed.
    let operations =
        unsafe { rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count) };
    if operations.is_null() || count == 0 {
        return None;
    }
    // SAFETY: librdkafka returned an array of that many numbers, which lives as long as the description.
    let operations: &[u32] = unsafe { slice::from_raw_parts(operations.cast(), count) };
    let is_allowed = |operation: rd_kafka_AclOperation_t| operations.contains(&(operation as u32));
    Some(Allowed {
        read: is_allowed(RD_KAFKA_ACL_OPERATION_READ),
        write: is_allowed(RD_KAFKA_ACL_OPERATION_WRITE),
        delete: is_allowed(RD_KAFKA_ACL_OPERATION_DELETE),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::consumer::BaseConsumer;

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
        let descriptions = Descriptions::new(Alive::new(&Arc::new(client))).unwrap();
        let request = |topics: &[&str]| {
            let question = Question {
                topics,
                with_allowed: false,
            };
            descriptions.request(1, question, PATIENCE).unwrap()
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
