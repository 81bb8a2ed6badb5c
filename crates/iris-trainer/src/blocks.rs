//! Blocks: the long lists of the state are stored in blocks of some tens of items, and only the blocks that have changed are
//! written.
//!
//! Each item has a number that never changes, so it stays in its block when items before it are dropped. Deliberately absent:
//! the items themselves, and the records that the blocks become (`checkpoint.rs`).

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// The number of items in a block: a change of one item writes all of its block, and each block is a record with a key of its
/// own.
const BLOCK_ITEMS: u64 = 64;

/// A list of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    /// The predictions that are kept to be joined.
    Predictions,
    /// The labels that are kept to be joined.
    Labels,
    /// The answers to the newest labelled records.
    Answers,
    /// The champion's rows whose predictions are known.
    Rows,
}

impl List {
    const ALL: [Self; 4] = [Self::Predictions, Self::Labels, Self::Answers, Self::Rows];

    fn name(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Labels => "labels",
            Self::Answers => "answers",
            Self::Rows => "rows",
        }
    }
}

/// A block of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockId {
    pub(crate) list: List,
    pub(crate) number: u64,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:012}", self.list.name(), self.number)
    }
}

impl BlockId {
    /// Reads the name of a block; `None` if it is not one.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (list, number) = name.split_once('-')?;
        let list = List::ALL.into_iter().find(|known| known.name() == list)?;
        let number = number.parse().ok()?;
        Some(Self { list, number })
    }
}

/// A block as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: BlockId,
    /// Its items as JSON; `None` if it has none left.
    pub(crate) json: Option<Vec<u8>>,
}

/// The blocks that a state may have to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Blocks that have changed. The others of their lists stay as they are.
    pub(crate) changed: Vec<Block>,
    /// All blocks of some lists. Others of these lists no longer exist.
    pub(crate) whole: Vec<(List, Vec<Block>)>,
}

impl Block {
    pub(crate) fn new<T: Serialize>(list: List, number: u64, items: &[T]) -> Self {
        // Numbers, strings and lists of them always serialise.
        let json = || serde_json::to_vec(items).unwrap_or_default();
        Self {
            id: BlockId { list, number },
            json: (!items.is_empty()).then(json),
        }
    }
}

/// Returns the numbers of a block's items.
pub(crate) fn items(block: u64) -> std::ops::Range<u64> {
    let first = block * BLOCK_ITEMS;
    first..first + BLOCK_ITEMS
}

/// Cuts a list into its blocks. `number` returns the number of an item; the items are in the order of their numbers.
pub(crate) fn cut<T: Serialize>(
    list: List,
    items: &[T],
    number: impl Fn(usize, &T) -> u64,
) -> Vec<Block> {
    let block_of = |(position, item): (usize, &T)| number(position, item) / BLOCK_ITEMS;
    let blocks: Vec<u64> = items.iter().enumerate().map(block_of).collect();
    let mut start = 0;
    let chunks = blocks.chunk_by(|one, next| one == next);
    chunks
        .map(|chunk| {
            let end = start + chunk.len();
            let block = Block::new(list, blocks[start], &items[start..end]);
            start = end;
            block
        })
        .collect()
}

/// The blocks of a list that have changed since they were last written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangedBlocks(BTreeSet<u64>);

impl ChangedBlocks {
    /// Notes that an item has changed.
    pub(crate) fn change(&mut self, number: u64) {
        self.0.insert(number / BLOCK_ITEMS);
    }

    /// Notes that the oldest item was dropped. Its block changes only with its last item: readers know the first number.
    pub(crate) fn drop_oldest(&mut self, number: u64) {
        if (number + 1).is_multiple_of(BLOCK_ITEMS) {
            self.change(number);
        }
    }

    /// Takes the changed blocks.
    pub(crate) fn take(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_by_the_numbers_of_its_items() {
        let numbers: Vec<u64> = (60..70).chain([128, 300]).collect();
        let blocks = cut(List::Rows, &numbers, |_, &number| number);
        let found: Vec<String> = blocks
            .iter()
            .map(|block| {
                let json = String::from_utf8_lossy(block.json.as_deref().unwrap()).into_owned();
                format!("{} {json}", block.id)
            })
            .collect();
        assert_eq!(
            found,
            [
                "rows-000000000000 [60,61,62,63]",
                "rows-000000000001 [64,65,66,67,68,69]",
                "rows-000000000002 [128]",
                "rows-000000000004 [300]",
            ]
        );
        assert_eq!(items(2), 128..192);
    }

    #[test]
    fn names_of_blocks_are_read_back() {
        for list in List::ALL {
            let id = BlockId { list, number: 17 };
            assert_eq!(BlockId::parse(&id.to_string()), Some(id));
        }
        for other in ["head", "figures", "part-0000", "rows-", "rows-x", "rows"] {
            assert_eq!(BlockId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn dropping_the_oldest_items_changes_a_block_only_once_it_is_empty() {
        let mut changed = ChangedBlocks::default();
        for number in 0..64 {
            assert_eq!(changed.clone().take(), BTreeSet::new(), "{number}");
            changed.drop_oldest(number);
        }
        changed.change(130);
        changed.change(191);
        assert_eq!(changed.take(), [0, 2].into());
        assert_eq!(changed.take(), BTreeSet::new());
    }
}
