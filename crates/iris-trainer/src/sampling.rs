//! Sampling that depends on a record's identity alone, so that reading a record again gives the same result.

use iris_kafka::PartitionOffset;

/// Whether a record is in a pseudo-random sample of all records. `identity` is hashed (splitmix64's finaliser, by Stafford);
/// `ratio` is from 0 to 1.
pub(crate) fn is_in_sample(identity: impl IntoIterator<Item = u64>, ratio: f64) -> bool {
    let bits = identity.into_iter().fold(0, mix);
    ((bits >> 11) as f64) < ratio * (1_u64 << 53) as f64
}

/// Whether a record is in a sample by its id or, without one, by its place. Of two samples with the same `purpose` the larger one
/// contains the smaller one; those with different purposes are independent.
pub(crate) fn is_id_in_sample(
    purpose: Purpose,
    id: &str,
    place: PartitionOffset,
    ratio: f64,
) -> bool {
    let purpose = purpose.word();
    if id.is_empty() {
        let place = [i64::from(place.partition), place.offset].map(i64::unsigned_abs);
        is_in_sample(purpose.into_iter().chain(place), ratio)
    } else {
        let id = id.bytes().map(u64::from);
        is_in_sample(purpose.into_iter().chain(id), ratio)
    }
}

/// The purpose of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To hold out records, and to compare models in shadow.
    Comparison,
    /// To leave out records while the stream is faster than the trainer.
    Overload,
}

impl Purpose {
    /// Returns a word that makes its hashes different from the others'.
    fn word(self) -> Option<u64> {
        match self {
            Self::Comparison => None,
            Self::Overload => Some(u64::MAX),
        }
    }
}

fn mix(state: u64, word: u64) -> u64 {
    let mut bits = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ratio: f64) -> Vec<u64> {
        (0..1_000)
            .filter(|&number| is_in_sample([7, number], ratio))
            .collect()
    }

    #[test]
    fn the_sample_has_about_its_ratio_of_the_records() {
        assert_eq!(sample(0.0).len(), 0);
        assert_eq!(sample(1.0).len(), 1_000);
        let tenth = sample(0.1).len();
        assert!((80..120).contains(&tenth), "{tenth}");
    }

    #[test]
    fn a_larger_sample_contains_the_smaller_one() {
        let larger = sample(0.3);
        assert!(sample(0.1).iter().all(|number| larger.contains(number)));
    }

    #[test]
    fn samples_with_different_purposes_are_independent() {
        let ids: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        let place = PartitionOffset::new(0, 0);
        let sample = |purpose, ratio| -> Vec<&String> {
            let ids = ids.iter();
            ids.filter(|id| is_id_in_sample(purpose, id, place, ratio))
                .collect()
        };
        let compared = sample(Purpose::Comparison, 0.1);
        let taken = sample(Purpose::Overload, 0.5);
        let both = compared.iter().filter(|id| taken.contains(id)).count();
        assert!((400..600).contains(&both), "{both}");
    }

    #[test]
    fn the_sample_is_the_same_in_every_version_of_the_program() {
        assert_eq!(
            sample(0.01),
            [88, 276, 342, 354, 427, 518, 685, 837, 891, 984]
        );
    }
}
