//! The best split of the rows of a node by one feature.

/// A row of a tree's sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Its class.
    pub(super) class: u32,
    /// How many times it was drawn.
    pub(super) count: u32,
}

/// A split of a node: rows whose value is at most the threshold go to the left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    /// The feature.
    pub(super) feature: usize,
    /// The threshold.
    pub(super) threshold: f64,
    /// The number of distinct rows that go to the left.
    pub(super) left_rows: usize,
    /// How pure the two sides are.
    pub(super) purity: Purity,
}

/// The purity of the two sides of a split, as a fraction: fractions are compared without a division, which would take most of the
/// time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Purity {
    numerator: f64,
    denominator: f64,
}

impl Purity {
    /// Less than that of any split.
    pub(super) const LEAST: Self = Self {
        numerator: -1.0,
        denominator: 1.0,
    };

    /// Returns the purity of two sides by their numbers of samples, and the sums of the squares of their class counts.
    fn of((left, left_squares): (u64, u64), (right, right_squares): (u64, u64)) -> Self {
        let (left, right) = (left as f64, right as f64);
        Self {
            numerator: left_squares as f64 * right + right_squares as f64 * left,
            denominator: left * right,
        }
    }

    fn is_above(self, other: Self) -> bool {
        self.numerator * other.denominator > other.numerator * self.denominator
    }
}

/// The number of sampled rows of each class in a node.
#[derive(Debug)]
pub(super) struct Counts {
    of_class: Vec<u64>,
    total: u64,
}

impl Counts {
    /// Returns the counts of samples.
    pub(super) fn of(classes: usize, samples: impl Iterator<Item = Sample>) -> Self {
        let mut counts = Self {
            of_class: vec![0; classes],
            total: 0,
        };
        for sample in samples {
            counts.of_class[sample.class as usize] += u64::from(sample.count);
            counts.total += u64::from(sample.count);
        }
        counts
    }

    /// Returns the counts without those of a part.
    pub(super) fn without(mut self, part: &Self) -> Self {
        for (all, part) in self.of_class.iter_mut().zip(&part.of_class) {
            *all -= part;
        }
        self.total -= part.total;
        self
    }

    /// Returns the number of samples of each class.
    pub(super) fn of_class(&self) -> &[u64] {
        &self.of_class
    }

    /// Returns whether all samples have the same class.
    pub(super) fn is_pure(&self) -> bool {
        self.of_class.contains(&self.total)
    }
}

/// Finds splits.
#[derive(Default)]
pub(super) struct Splitter {
    /// For each class, the number of samples on the left.
    left: Vec<u64>,
}

impl Splitter {
    /// Returns the split by one feature with the least Gini impurity, if its purity is above `least` and it has at least `min_rows`
    /// distinct rows on both sides. `rows` are sorted by `column`.
    ///
    /// The Gini impurity of both sides, weighted by their sizes, is smallest where the sum of the squares of a side's class
    /// counts divided by its size, added for both sides, is largest: this sum is the purity. The counts are whole numbers, so it
    /// does not depend on the order of equal values.
    pub(super) fn best(
        &mut self,
        feature: usize,
        (column, samples, rows): (&[f64], &[Sample], &[u32]),
        counts: &Counts,
        min_rows: usize,
        least: Purity,
    ) -> Option<Split> {
        let value_of = |position: usize| column[rows[position] as usize];
        let mut value = value_of(0);
        if value == value_of(rows.len() - 1) {
            return None;
        }
        self.left.clear();
        self.left.resize(counts.of_class.len(), 0);
        let (mut left, mut left_squares) = (0, 0);
        let mut right_squares: u64 = counts.of_class.iter().map(|count| count * count).sum();
        let mut best = None;
        let mut purity = least;
        for position in 1..rows.len() {
            let Sample { class, count } = samples[rows[position - 1] as usize];
            let (class, count) = (class as usize, u64::from(count));
            let before = self.left[class];
            left_squares += count * (2 * before + count);
            right_squares -= count * (2 * (counts.of_class[class] - before) - count);
            self.left[class] = before + count;
            left += count;
            let next = value_of(position);
            if next == value {
                continue;
            }
            if position >= min_rows && rows.len() - position >= min_rows {
                let right = counts.total - left;
                let found = Purity::of((left, left_squares), (right, right_squares));
                if found.is_above(purity) {
                    purity = found;
                    best = Some((position, value, next));
                }
            }
            value = next;
        }
        best.map(|(left_rows, below, above)| Split {
            feature,
            threshold: between(below, above),
            left_rows,
            purity,
        })
    }
}

/// Returns a number that is at least `below` and less than `above`, in the middle if possible.
fn between(below: f64, above: f64) -> f64 {
    let middle = below / 2.0 + above / 2.0;
    if middle >= below && middle < above {
        middle
    } else {
        below
    }
}
