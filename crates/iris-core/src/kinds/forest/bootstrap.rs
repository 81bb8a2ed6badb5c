//! The random numbers of a forest: the sample of rows that each tree is fitted to, and the choice of features.

use rand_mt::Mt64;

/// The random numbers of one tree. They depend on the forest's seed and the tree's number alone.
pub(super) struct Random(Mt64);

impl Random {
    /// Returns the random numbers of a tree.
    pub(super) fn of_tree(seed: u32, tree: usize) -> Self {
        Self(Mt64::new_with_key([u64::from(seed), tree as u64]))
    }

    /// Draws a number below `limit`.
    #[expect(clippy::cast_possible_truncation, reason = "it is below `limit`")]
    pub(super) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.0.next_u64()) * limit as u128) >> 64) as usize
    }
    /// Draws as many of `rows` rows as there are, with replacement, and writes how many times each was drawn.
    pub(super) fn draw(&mut self, rows: usize, counts: &mut Vec<u32>) {
        counts.clear();
        counts.resize(rows, 0);
        for _ in 0..rows {
            counts[self.below(rows)] += 1;
        }
    }
}
