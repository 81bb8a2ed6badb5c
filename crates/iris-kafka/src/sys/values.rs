//! Values of librdkafka as Rust's: bytes, texts and error codes.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::slice;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

/// Returns bytes; `None` if `start` is null.
///
/// # Safety
/// Unless it is null, `start` must point at `length` bytes that stay alive and unchanged for as long as the result.
pub(super) unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller ensures the rest.
    Some(unsafe { slice::from_raw_parts(start.cast(), length) })
}

/// Returns an array of addresses, which is empty if `start` is null.
///
/// # Safety
/// Unless it is null, `start` must point at `count` addresses that stay alive and unchanged for as long as the result.
pub(super) unsafe fn addresses<'a, T>(start: *mut *const T, count: usize) -> &'a [*const T] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: it is not null, and the caller ensures the rest.
    unsafe { slice::from_raw_parts(start, count) }
}

/// Returns a text; `None` if `start` is null.
///
/// # Safety
/// Unless it is null, `start` must point at a terminated text that stays alive and unchanged for as long as the result.
pub(super) unsafe fn text<'a>(start: *const c_char) -> Option<&'a CStr> {
    if start.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller ensures the rest.
    Some(unsafe { CStr::from_ptr(start) })
}

/// Returns an error by its code; `None` if the code stands for success. Brokers may send codes that the bindings do not have, and
/// a value of their enumeration with such a code would be undefined behaviour.
pub(super) fn error(code: c_int) -> Option<RDKafkaErrorCode> {
    const SUCCESS: c_int = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR as c_int;
    if code == SUCCESS {
        return None;
    }
    let known = RDKafkaRespErr::try_from(code).map(RDKafkaErrorCode::from);
    Some(known.unwrap_or(RDKafkaErrorCode::Unknown))
}

/// Returns a topic's name as a C string.
pub(crate) fn terminated(topic: &str) -> CString {
    // librdkafka refuses the empty name that a name with a zero byte becomes.
    CString::new(topic).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn null_is_no_value() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { bytes(ptr::null(), 5) }, None);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { text(ptr::null()) }, None);
        // SAFETY: null is allowed.
        assert!(unsafe { addresses::<u8>(ptr::null_mut(), 5) }.is_empty());
        // SAFETY: the array is alive and longer.
        let some = unsafe { bytes(b"abc".as_ptr().cast(), 2) };
        assert_eq!(some, Some(&b"ab"[..]));
        // SAFETY: the text is alive and terminated.
        assert_eq!(unsafe { text(c"x".as_ptr()) }, Some(c"x"));
    }

    #[test]
    fn a_code_that_the_bindings_do_not_have_is_unknown() {
        assert_eq!(error(0), None);
        assert_eq!(error(-191), Some(RDKafkaErrorCode::PartitionEOF));
        assert_eq!(error(29), Some(RDKafkaErrorCode::TopicAuthorizationFailed));
        for code in [i32::MIN, -1, 9_999, i32::MAX] {
            assert_eq!(error(code), Some(RDKafkaErrorCode::Unknown), "{code}");
        }
    }
}
