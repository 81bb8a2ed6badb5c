//! Requests of librdkafka's administrative interface, which any client can send, and the queue for their answers.
//!
//! rust-rdkafka has only some of these requests, and those only for a client of their own.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_opaque,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_AdminOptions_t, rd_kafka_admin_op_t,
    rd_kafka_event_destroy, rd_kafka_event_opaque, rd_kafka_event_t, rd_kafka_queue_poll,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::sys::client::Alive;
use crate::sys::queue::Queue;
use crate::sys::values;

// librdkafka returns codes of brokers, which its bindings declare as an enumeration: see `values::error`.
unsafe extern "C" {
    #[link_name = "rd_kafka_event_error"]
    fn event_error(event: *mut rd_kafka_event_t) -> c_int;
}

/// A request that a broker has not answered yet.
#[derive(Debug)]
pub(crate) struct Request {
    number: usize,
    deadline: Instant,
}

/// The answers to one client's requests.
#[derive(Debug)]
pub(super) struct Answers {
    queue: Queue,
    /// The number of requests, which identifies the answer to the latest one.
    requests: AtomicUsize,
}

impl Answers {
    /// Creates a queue of a client for its answers.
    pub(super) fn new(client: Alive) -> Option<Self> {
        Queue::new(client).map(|queue| Self {
            queue,
            requests: AtomicUsize::new(0),
        })
    }

    /// Returns the queue to which the answers are sent.
    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Returns a new request and its options. It is sent by the caller.
    ///
    /// # Errors
    /// The client's error if it has no memory.
    pub(super) fn prepare(
        &self,
        operation: rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<(Request, Options), KafkaError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let options = Options::new(self.queue.client(), operation, number, timeout)?;
        let deadline = Instant::now() + timeout;
        Ok((Request { number, deadline }, options))
    }

    /// Waits for the answer to the latest request, until the request's deadline.
    ///
    /// # Errors
    /// The client's error if the cluster does not answer in time, or the request failed as a whole.
    pub(super) fn take(&self, request: &Request) -> Result<Answer, KafkaError> {
        let timed_out = || {
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::OperationTimedOut,
            ))
        };
        self.poll(request, Self::left).unwrap_or_else(timed_out)
    }

    /// Returns the answer to the latest request as [`take`](Self::take) does; `None` if there is none yet.
    pub(super) fn try_take(&self, request: &Request) -> Option<Result<Answer, KafkaError>> {
        if Self::left(request).is_zero() {
            return Some(self.take(request));
        }
        self.poll(request, |_| Duration::ZERO)
    }

    fn left(request: &Request) -> Duration {
        request.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the answer to the latest request; `None` if there is none after a wait.
    fn poll(
        &self,
        request: &Request,
        wait: impl Fn(&Request) -> Duration,
    ) -> Option<Result<Answer, KafkaError>> {
        loop {
            let milliseconds = i32::try_from(wait(request).as_millis()).unwrap_or(i32::MAX);
            // SAFETY: the queue is alive.
            let event = unsafe { rd_kafka_queue_poll(self.queue.address(), milliseconds) };
            let answer = NonNull::new(event).map(Answer)?;
            // The answer to an earlier request, for which nobody waits any more, is outdated.
            if answer.request() == request.number {
                return Some(match answer.error() {
                    Some(error) => Err(KafkaError::MetadataFetch(error)),
                    None => Ok(answer),
                });
            }
        }
    }
}

/// The options of a request.
#[derive(Debug)]
pub(super) struct Options(NonNull<rd_kafka_AdminOptions_t>);

impl Options {
    fn new(
        client: &Alive,
        operation: rd_kafka_admin_op_t,
        number: usize,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is kept alive.
        let options = unsafe { rd_kafka_AdminOptions_new(client.address(), operation) };
        let options = NonNull::new(options)
            .ok_or_else(|| KafkaError::AdminOpCreation("no options".to_owned()))?;
        let (options, native) = (Self(options), options.as_ptr());
        // SAFETY: the options are alive, and no text of an error is asked for.
        unsafe {
            rd_kafka_AdminOptions_set_request_timeout(
                native,
                milliseconds.max(1),
                ptr::null_mut(),
                0,
            )
        };
        // SAFETY: the options are alive. The opaque pointer is a number that is never dereferenced.
        unsafe { rd_kafka_AdminOptions_set_opaque(native, ptr::without_provenance_mut(number)) };
        Ok(options)
    }

    /// Returns the address of the options, which is valid as long as this value is.
    pub(super) fn address(&self) -> *mut rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: this value owns the options, which are not used afterwards.
        unsafe { rd_kafka_AdminOptions_destroy(self.address()) };
    }
}

/// The answer to a request, in librdkafka's memory.
#[derive(Debug)]
pub(super) struct Answer(NonNull<rd_kafka_event_t>);

impl Answer {
    /// Returns the address of the answer, which is valid as long as this value is.
    pub(super) fn address(&self) -> *mut rd_kafka_event_t {
        self.0.as_ptr()
    }

    /// Returns the number of the request that this answers.
    fn request(&self) -> usize {
        // SAFETY: the event is alive; its opaque pointer is only a number.
        let number: *mut c_void = unsafe { rd_kafka_event_opaque(self.address()) };
        number.addr()
    }

    /// Returns why the request failed as a whole, if it did.
    fn error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the event is alive.
        values::error(unsafe { event_error(self.address()) })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: this value owns the event, which is not used afterwards.
        unsafe { rd_kafka_event_destroy(self.address()) };
    }
}
