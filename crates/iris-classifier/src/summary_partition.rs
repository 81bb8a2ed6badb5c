//! The partition of the topic of summaries that a worker writes to.
//!
//! A summary goes to the partition with the number of an input partition that the transaction has records of. Only the owner
//! of an input partition can commit its records, so workers do not share partitions if the topic of summaries has at least as
//! many as the input topic. They may share partitions if it has fewer, and until their number is known.
//!
//! A worker that stops in a transaction holds back the partition that it writes to. If the input partition with that number is
//! assigned to another worker, the partition of summaries may still be held back. The other worker therefore prefers the
//! partition of an input partition that it has had for longer.

use std::collections::BTreeMap;

/// Chooses the partitions of a worker's summaries by how long it has had each input partition.
#[derive(Debug, Default)]
pub(crate) struct SummaryPartitions {
    /// The number of the transaction with the first record of each input partition since it was assigned.
    since: BTreeMap<i32, u64>,
    transactions: u64,
    /// The number of partitions of the topic of summaries; `None` until it is known.
    partitions: Option<i32>,
}

impl SummaryPartitions {
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
    /// again at 0. Until their number is known, the partition is 0.
    pub(crate) fn choose(&mut self, inputs: impl Iterator<Item = i32>) -> i32 {
        self.transactions += 1;
        let now = self.transactions;
        let with_start = inputs.map(|input| (*self.since.entry(input).or_insert(now), input));
        let oldest = with_start.min().map_or(0, |(_, input)| input);
        oldest % self.partitions.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_partitions(number: i32) -> SummaryPartitions {
        let mut partitions = SummaryPartitions::default();
        partitions.set_partitions(number);
        partitions
    }

    fn choose<const N: usize>(partitions: &mut SummaryPartitions, inputs: [i32; N]) -> i32 {
        partitions.choose(inputs.into_iter())
    }

    #[test]
    fn a_summary_goes_to_the_partition_of_an_input_partition_of_its_transaction() {
        let mut partitions = with_partitions(6);
        assert_eq!(choose(&mut partitions, [2, 4]), 2);
        assert_eq!(choose(&mut partitions, [4]), 4);
        assert_eq!(choose(&mut partitions, [2, 4]), 2);
        assert_eq!(choose(&mut partitions, []), 0);
    }

    #[test]
    fn a_partition_that_was_taken_over_is_not_used_while_there_is_an_older_one() {
        let mut partitions = with_partitions(6);
        assert_eq!(choose(&mut partitions, [4]), 4);
        assert_eq!(choose(&mut partitions, [1, 4]), 4);
        assert_eq!(choose(&mut partitions, [1]), 1);
        assert_eq!(choose(&mut partitions, [1, 4]), 4);
        // Partition 4 leaves and comes back: now partition 1 is the older one.
        partitions.forget(&[4]);
        assert_eq!(choose(&mut partitions, [1]), 1);
        assert_eq!(choose(&mut partitions, [1, 4]), 1);
    }

    #[test]
    fn without_a_counterpart_the_numbers_start_again_at_0() {
        let mut partitions = SummaryPartitions::default();
        assert_eq!(
            choose(&mut partitions, [7]),
            0,
            "the number is not known yet"
        );
        for (number, expected) in [(1, 0), (5, 2), (8, 7), (0, 0)] {
            partitions.set_partitions(number);
            assert_eq!(choose(&mut partitions, [7]), expected, "{number}");
        }
    }
}
