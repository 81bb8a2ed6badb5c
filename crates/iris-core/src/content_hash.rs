//! The identity of content: the first 64 bits of its SHA-256, written as 16 hexadecimal digits.

use sha2::{Digest, Sha256};

/// Hashes a number.
pub(crate) fn update_number(hash: &mut Sha256, value: usize) {
    hash.update((value as u64).to_be_bytes());
}

/// Hashes a text with its length, so that different sequences of texts never have the same input.
pub(crate) fn update_text(hash: &mut Sha256, text: &str) {
    update_number(hash, text.len());
    hash.update(text.as_bytes());
}

/// Returns the first 64 bits.
pub(crate) fn finish(hash: Sha256) -> u64 {
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

/// Reads 16 hexadecimal digits in lower case.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 16 && text.bytes().all(is_digit))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}
