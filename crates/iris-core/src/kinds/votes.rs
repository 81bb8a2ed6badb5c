//! The votes of a model's parts.

/// Rounds a ratio to thousandths; 0 if it is not a number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio is between 0 and 1"
)]
pub(super) fn thousandths(ratio: f64) -> u32 {
    (ratio * 1_000.0).round() as u32
}

/// Returns the position of the largest value, of several the first.
#[inline]
pub(super) fn first_largest<T: PartialOrd>(values: &[T]) -> usize {
    let mut largest = 0;
    for (position, value) in values.iter().enumerate() {
        if *value > values[largest] {
            largest = position;
        }
    }
    largest
}
