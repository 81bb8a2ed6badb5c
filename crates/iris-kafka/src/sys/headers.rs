//! Reads and removes record headers by name.
//!
//! It calls librdkafka directly, because rust-rdkafka's `Headers::get` panics on a header whose name is not UTF-8, and such
//! a header, which any producer can send, must not stop a service. rust-rdkafka does not offer removal either.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings::{
    rd_kafka_header_get_all, rd_kafka_header_get_last, rd_kafka_header_remove, rd_kafka_headers_t,
};
use rdkafka::message::{BorrowedHeaders, OwnedHeaders};
use rdkafka::types::RDKafkaRespErr;

use crate::sys::values;

// A marker has no fields that a reference to it would claim to be valid.
const _: () = assert!(size_of::<BorrowedHeaders>() == 0);

/// Returns librdkafka's own list: rust-rdkafka's `BorrowedHeaders` is a marker at its address.
pub(super) fn native(headers: &BorrowedHeaders) -> *mut rd_kafka_headers_t {
    ptr::from_ref(headers)
        .cast::<rd_kafka_headers_t>()
        .cast_mut()
}

/// Returns librdkafka's own list as rust-rdkafka's type; `None` if the pointer is null.
///
/// # Safety
/// The list must stay alive and unchanged for as long as the result.
pub(crate) unsafe fn borrowed<'a>(list: *const rd_kafka_headers_t) -> Option<&'a BorrowedHeaders> {
    // SAFETY: the marker is never read, only its address is used; the caller ensures the rest.
    unsafe { list.cast::<BorrowedHeaders>().as_ref() }
}

/// Returns the value of the last header of a name; `None` if there is none, or its value is null.
pub(crate) fn last<'a>(headers: &'a BorrowedHeaders, name: &CStr) -> Option<&'a [u8]> {
    let mut value = ptr::null();
    let mut size = 0;
    // SAFETY: the list is alive while `headers` is borrowed, the name is terminated, and both outputs are written
    // before they are read.
    let found = unsafe {
        rd_kafka_header_get_last(
            native(headers),
            name.as_ptr(),
            &raw mut value,
            &raw mut size,
        )
    };
    if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return None;
    }
    // SAFETY: the value is null or has `size` bytes within the list, which outlives the result and is not changed meanwhile.
    unsafe { values::bytes(value, size) }
}

/// Returns all headers in order. Names that are not UTF-8 are converted lossily; a null value becomes empty.
pub(crate) fn all(headers: &BorrowedHeaders) -> Vec<(String, Vec<u8>)> {
    let mut list = Vec::new();
    loop {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is alive while `headers` is borrowed, and all outputs are written before they are read.
        let found = unsafe {
            rd_kafka_header_get_all(
                native(headers),
                list.len(),
                &raw mut name,
                &raw mut value,
                &raw mut size,
            )
        };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return list;
        }
        // SAFETY: librdkafka terminates names, and the list is alive while it is borrowed.
        let name = unsafe { values::text(name) }.unwrap_or_default();
        // SAFETY: the value is null or has `size` bytes within the list, which is alive while it is borrowed.
        let value = unsafe { values::bytes(value, size) }.unwrap_or_default();
        list.push((name.to_string_lossy().into_owned(), value.to_vec()));
    }
}

/// Removes every header of a name.
pub(crate) fn remove(headers: &mut OwnedHeaders, name: &CStr) {
    // SAFETY: the list is owned through an exclusive reference, and librdkafka frees the headers that it removes. A name
    // without headers is not an error.
    unsafe { rd_kafka_header_remove(native(headers.as_borrowed()), name.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use rdkafka::bindings::rd_kafka_header_add;
    use rdkafka::message::Header;

    use super::*;

    #[test]
    fn headers_are_found_and_removed_even_if_other_names_are_not_utf_8() {
        let headers = OwnedHeaders::new().insert(Header {
            key: "a",
            value: Some("1"),
        });
        let strange = CString::new(b"\xff\xfe".to_vec()).unwrap();
        // SAFETY: the list is alive and librdkafka copies name and value.
        unsafe {
            rd_kafka_header_add(
                native(headers.as_borrowed()),
                strange.as_ptr(),
                -1,
                b"x".as_ptr().cast(),
                1,
            )
        };
        let mut headers = headers
            .insert(Header {
                key: "a",
                value: Some("2"),
            })
            .insert(Header {
                key: "b",
                value: None::<&str>,
            });

        assert_eq!(last(headers.as_borrowed(), c"a"), Some(b"2".as_slice()));
        assert_eq!(last(headers.as_borrowed(), &strange), Some(b"x".as_slice()));
        assert_eq!(last(headers.as_borrowed(), c"b"), None);
        let names: Vec<String> = all(headers.as_borrowed())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["a", "\u{fffd}\u{fffd}", "a", "b"]);
        remove(&mut headers, c"a");
        remove(&mut headers, c"never there");
        assert_eq!(last(headers.as_borrowed(), c"a"), None);
        assert_eq!(last(headers.as_borrowed(), &strange), Some(b"x".as_slice()));
    }
}
