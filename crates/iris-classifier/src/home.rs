//! The partition of the topic of summaries that a worker writes to.
//!
//! A summary goes to the partition with the number of an input partition that the transaction has records of, so workers do not
//! share partitions: only the owner of an input partition can commit its records. A worker that stops in a transaction holds
//! back its own partition. If another worker is given that input partition, it may find the partition of summaries still held
//! back, and so it prefers one that it has had for longer.

use std::collections::BTreeMap;

/// The input partitions that a worker has, by how long it has had them.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// The number of the transaction with the first record of each input partition since it was assigned.
    since: BTreeMap<i32, u64>,
    transactions: u64,
    /// The number of partitions of the topic of summaries; `None` until it is known.
    partitions: Option<i32>,
}

impl Homes {
    /// Sets the number of partitions of the topic of summaries.
    pub(crate) fn set_partitions(&mut self, partitions: i32) {
        self.partitions = (partitions > 0).then_some(partitions);
    }

    /// Forgets input partitions that were assigned or revoked.
    pub(crate) fn forget(&mut self, partitions: &[i32]) {
        self.since
            .retain(|partition, _| !partitions.contains(partition));
    }

    /// Returns the partition for the summary of a transaction with records of these input partitions: that of the one that the
    /// worker has had the longest, the lowest of several. If the topic of summaries has fewer partitions, their numbers start
    /// again at 0.
    pub(crate) fn choose(&mut self, inputs: impl Iterator<Item = i32>) -> i32 {
        self.transactions += 1;
        let now = self.transactions;
        let with_age = inputs.map(|input| (*self.since.entry(input).or_insert(now), input));
        let oldest = with_age.min().map_or(0, |(_, input)| input);
        oldest % self.partitions.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(partitions: i32) -> Homes {
        let mut homes = Homes::default();
        homes.set_partitions(partitions);
        homes
    }

    fn choose<const N: usize>(homes: &mut Homes, inputs: [i32; N]) -> i32 {
        homes.choose(inputs.into_iter())
    }

    #[test]
    fn a_summary_goes_to_the_partition_of_an_input_partition_of_its_transaction() {
        let mut homes = homes(6);
        assert_eq!(choose(&mut homes, [2, 4]), 2);
        assert_eq!(choose(&mut homes, [4]), 4);
        assert_eq!(choose(&mut homes, [2, 4]), 2);
        assert_eq!(choose(&mut homes, []), 0);
    }

    #[test]
    fn a_partition_that_was_taken_over_is_not_used_while_there_is_an_older_one() {
        let mut homes = homes(6);
        assert_eq!(choose(&mut homes, [4]), 4);
        assert_eq!(choose(&mut homes, [1, 4]), 4);
        assert_eq!(choose(&mut homes, [1]), 1);
        assert_eq!(choose(&mut homes, [1, 4]), 4);
        // Partition 4 leaves and comes back: now partition 1 is the older one.
        homes.forget(&[4]);
        assert_eq!(choose(&mut homes, [1]), 1);
        assert_eq!(choose(&mut homes, [1, 4]), 1);
    }

    #[test]
    fn without_a_counterpart_the_numbers_start_again_at_0() {
        let mut homes = Homes::default();
        assert_eq!(choose(&mut homes, [7]), 0, "the number is not known yet");
        for (partitions, expected) in [(1, 0), (5, 2), (8, 7), (0, 0)] {
            homes.set_partitions(partitions);
            assert_eq!(choose(&mut homes, [7]), expected, "{partitions}");
        }
    }
}
