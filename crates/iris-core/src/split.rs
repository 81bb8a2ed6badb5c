//! Splits a dataset into training and test rows, index for index as scikit-learn does.
//!
//! `train_test_split(test_size, random_state)` of scikit-learn shuffles with numpy's legacy `RandomState`: the
//! Mersenne Twister MT19937 seeded by `init_genrand`, and a Fisher-Yates shuffle that draws each bounded integer by
//! masking a 32-bit output and rejecting values that are too large (`random_interval` in numpy's
//! `legacy-distributions.c`). The split reproduces it draw by draw, so the default model is the model of the paper.

use rand_mt::Mt;

/// A split that is not possible.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// The share is not strictly between 0 and 1.
    #[error("test_size is {0}: allowed is a share between 0 and 1, both excluded")]
    ShareOutOfRange(f64),
    /// One of the two sides would be empty.
    #[error(
        "a test share of {test_size} leaves {train} training and {test} test rows of {rows}: both need at least one"
    )]
    EmptySide {
        /// The number of rows to split.
        rows: usize,
        /// The share of test rows.
        test_size: f64,
        /// The resulting number of training rows.
        train: usize,
        /// The resulting number of test rows.
        test: usize,
    },
}

/// Row indices of the two sides, each in the order drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Indices of the rows for fitting the model.
    pub train: Vec<usize>,
    /// Indices of the held-out rows.
    pub test: Vec<usize>,
}

/// Splits `rows` row indices; the share `test_size` of them, rounded up, is held out.
///
/// # Errors
/// [`SplitError`] if the share is not in (0, 1) or one of the sides would be empty.
pub fn train_test_split(
    rows: usize,
    test_size: f64,
    random_state: u32,
) -> Result<Split, SplitError> {
    if !(test_size > 0.0 && test_size < 1.0) {
        return Err(SplitError::ShareOutOfRange(test_size));
    }
    let test = test_rows(rows, test_size);
    if test == 0 || test >= rows {
        return Err(SplitError::EmptySide {
            rows,
            test_size,
            train: rows.saturating_sub(test),
            test,
        });
    }
    let mut order = legacy_permutation(rows, random_state);
    let train = order.split_off(test);
    Ok(Split { train, test: order })
}

/// Returns the number of test rows: the share of `rows`, rounded up. `test_size` is in (0, 1), so the result is in range.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn test_rows(rows: usize, test_size: f64) -> usize {
    (rows as f64 * test_size).ceil() as usize
}

/// Returns `numpy.random.RandomState(seed).permutation(n)`.
fn legacy_permutation(n: usize, seed: u32) -> Vec<usize> {
    let mut generator = Mt::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, bounded(&mut generator, i));
    }
    order
}

/// Draws uniformly from `0..=max`: masks outputs to the bits of `max` and redraws while they exceed it. Bounds beyond 32 bits
/// take two outputs, the high word first, as in numpy.
fn bounded(generator: &mut Mt, max: usize) -> usize {
    let max = max as u64;
    let mask = u64::MAX >> max.leading_zeros();
    loop {
        let low = u64::from(generator.next_u32());
        let draw = if max > u64::from(u32::MAX) {
            low << 32 | u64::from(generator.next_u32())
        } else {
            low
        } & mask;
        if let (true, Ok(draw)) = (draw <= max, usize::try_from(draw)) {
            return draw;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permutation_is_that_of_numpy() {
        // numpy.random.RandomState(0).permutation(10) and numpy.random.RandomState(42).permutation(7)
        assert_eq!(legacy_permutation(10, 0), [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]);
        assert_eq!(legacy_permutation(7, 42), [0, 1, 5, 2, 4, 3, 6]);
    }

    #[test]
    fn the_test_side_is_rounded_up_and_no_row_is_lost() {
        let split = train_test_split(11, 0.2, 7).unwrap();
        assert_eq!((split.test.len(), split.train.len()), (3, 8));
        let mut all = [split.test, split.train].concat();
        all.sort_unstable();
        assert_eq!(all, (0..11).collect::<Vec<_>>());
    }

    #[test]
    fn an_impossible_share_is_an_error_with_the_numbers() {
        assert_eq!(
            train_test_split(10, 1.0, 0),
            Err(SplitError::ShareOutOfRange(1.0))
        );
        assert!(train_test_split(10, f64::NAN, 0).is_err());
        let error = train_test_split(1, 0.5, 0).unwrap_err();
        assert_eq!(
            error,
            SplitError::EmptySide {
                rows: 1,
                test_size: 0.5,
                train: 0,
                test: 1
            }
        );
    }
}
