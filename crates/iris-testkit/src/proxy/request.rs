//! Reads the fields of a Kafka request, without its length.

/// Returns the 16-bit number at a position of a request. The kind of request is at 0, its version at 2.
pub(super) fn int16(request: &[u8], at: usize) -> Option<i16> {
    let bytes = request.get(at..at + 2)?;
    Some(i16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
pub(super) mod tests {
    /// Returns a request of this kind and version with a body of one byte.
    pub(in super::super) fn request(kind: i16, version: i16, last: u8) -> Vec<u8> {
        let mut request = Vec::new();
        request.extend(kind.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.push(last);
        request
    }
}
