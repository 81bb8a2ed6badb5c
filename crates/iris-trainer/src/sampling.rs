//! Sampling that depends on a record's identity alone, so that reading a record again gives the same result.

/// Whether a record is in a pseudo-random sample of all records. `identity` is hashed (splitmix64's finaliser, by Stafford);
/// `ratio` is from 0 to 1.
pub(crate) fn is_in_sample(identity: impl IntoIterator<Item = u64>, ratio: f64) -> bool {
    let bits = identity.into_iter().fold(0, mix);
    ((bits >> 11) as f64) < ratio * (1_u64 << 53) as f64
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
    fn the_sample_is_the_same_in_every_version_of_the_program() {
        assert_eq!(
            sample(0.01),
            [88, 276, 342, 354, 427, 518, 685, 837, 891, 984]
        );
    }
}
