//! Reads the broker's own text from a delivery report, which rust-rdkafka does not offer.
#![allow(unsafe_code)]

use std::ffi::CStr;

use rdkafka::bindings::rd_kafka_message_produce_errstr;
use rdkafka::message::BorrowedMessage;

/// Returns the text of the error with which a record was refused; `None` if it was not.
pub(crate) fn error_text(message: &BorrowedMessage<'_>) -> Option<String> {
    // SAFETY: the message is alive while it is borrowed, and librdkafka returns null or a terminated text that lives as long.
    let text = unsafe {
        let text = rd_kafka_message_produce_errstr(message.ptr());
        (!text.is_null()).then(|| CStr::from_ptr(text))
    };
    text.map(|text| text.to_string_lossy().into_owned())
}
