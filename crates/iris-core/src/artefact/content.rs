//! The bytes of a model's content, for the kinds that have more than a few numbers besides their rows, cut into blocks.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::blocks::{BlockId, MAX_BLOCK_BYTES};
use super::error::ArtefactError;
use super::formats::BYTES_FORMAT;
use super::json;

/// The maximum length of a block's JSON without its bytes.
const FRAME_BYTES: usize = 64;

/// The maximum number of bytes of a block: base64 writes three bytes as four characters.
const MAX_BYTES: usize = (MAX_BLOCK_BYTES - FRAME_BYTES) / 4 * 3;

/// A block of the bytes of a model's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentBlock {
    pub(super) id: BlockId,
    /// The positions of its bytes in the content.
    pub(super) bytes: Range<usize>,
}

/// A block's JSON.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    /// The bytes in base64.
    bytes: String,
}

/// Cuts bytes into blocks of the maximum size.
pub(super) fn cut(bytes: &[u8]) -> Vec<ContentBlock> {
    let chunks = bytes.chunks(MAX_BYTES).zip((0..).step_by(MAX_BYTES));
    chunks
        .map(|(chunk, start)| ContentBlock {
            id: id(chunk),
            bytes: start..start + chunk.len(),
        })
        .collect()
}

/// Writes a block of these bytes.
pub(super) fn write_block(bytes: &[u8]) -> Vec<u8> {
    json::write(&Record {
        format: BYTES_FORMAT,
        bytes: STANDARD.encode(bytes),
    })
}

/// Reads a block, and checks that it has the bytes that its id stands for.
pub(super) fn read_block(block: BlockId, json: &[u8]) -> Result<Vec<u8>, ArtefactError> {
    let record: Record = json::members(json)?;
    let bytes = STANDARD.decode(record.bytes);
    let bytes = bytes.map_err(|error| ArtefactError::Malformed(error.to_string()))?;
    let found = id(&bytes);
    if found == block {
        Ok(bytes)
    } else {
        Err(ArtefactError::OtherBytes { block, found })
    }
}

/// Returns the identity of a block of these bytes.
fn id(bytes: &[u8]) -> BlockId {
    let mut hash = Sha256::new();
    hash.update(b"iris bytes 1");
    hash.update(bytes);
    BlockId::of(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().step_by(7).take(length).collect()
    }

    #[test]
    fn bytes_are_joined_from_their_blocks() {
        for length in [0, 1, MAX_BYTES, MAX_BYTES + 1, 3 * MAX_BYTES] {
            let bytes = bytes(length);
            let mut joined = Vec::new();
            for block in cut(&bytes) {
                let json = write_block(&bytes[block.bytes.clone()]);
                assert!(json.len() <= MAX_BLOCK_BYTES, "{}", json.len());
                assert_eq!(block.id.check(&json), Ok(()));
                joined.extend(read_block(block.id, &json).unwrap());
            }
            assert_eq!(joined, bytes);
        }
    }

    #[test]
    fn a_block_with_other_bytes_is_refused() {
        let [one, other] = [b"one", b"two"].map(|bytes| (id(bytes), write_block(bytes)));
        assert_eq!(
            one.0.check(&other.1).unwrap_err().to_string(),
            format!(
                "it is corrupt: block {} has the bytes of block {}",
                one.0, other.0
            )
        );
        let json = br#"{"format":5,"bytes":"b25l*"}"#;
        let refused = one.0.check(json).unwrap_err().to_string();
        assert!(refused.starts_with("it is corrupt: "), "{refused}");
        for length in 0..one.1.len() {
            assert!(one.0.check(&one.1[..length]).is_err());
        }
    }
}
