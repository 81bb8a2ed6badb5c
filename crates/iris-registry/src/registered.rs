//! A model as the registry has it: its description, or the reason why it is refused.

use iris_core::{ArtefactError, BlockId, Description, RowStorage};

/// A model of the registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The offset of its description.
    pub offset: i64,
    /// When it was registered, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The size of its description in bytes.
    pub bytes: usize,
    /// Its description, or the reason why it is refused.
    pub description: Result<Description, ArtefactError>,
    /// The blocks of its rows, if it is refused.
    refused_blocks: Vec<BlockId>,
}

impl Registered {
    /// Reads a description.
    pub(crate) fn read(offset: i64, timestamp: Option<i64>, json: &[u8]) -> Self {
        let description = Description::read(json);
        let registered_ms = description.as_ref().ok().and_then(|d| d.registered_ms);
        let refused_blocks = match &description {
            Ok(_) => Vec::new(),
            Err(_) => Description::listed_blocks(json),
        };
        Self {
            offset,
            timestamp: registered_ms.or(timestamp),
            bytes: json.len(),
            description,
            refused_blocks,
        }
    }

    /// Returns where its rows are; `None` if it is refused.
    pub(crate) fn rows(&self) -> Option<&RowStorage> {
        self.description.as_ref().ok().map(|known| &known.rows)
    }

    /// Whether its rows are in the description.
    pub(crate) fn is_inline(&self) -> bool {
        self.rows() == Some(&RowStorage::Inline)
    }

    /// Returns the blocks of its rows.
    pub(crate) fn blocks(&self) -> &[BlockId] {
        let known = self.description.as_ref();
        known.map_or(&self.refused_blocks, Description::blocks)
    }
}
