//! Calculations on measured values.

/// A straight line through points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Its value at 0.
    pub intercept: f64,
    /// Its rise per unit.
    pub slope: f64,
}

impl Line {
    /// Returns the line with the least sum of squared errors; `None` unless the points have at least two different `x`.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let product: f64 = points
            .iter()
            .map(|(x, y)| (x - mean_x) * (y - mean_y))
            .sum();
        (spread > 0.0).then(|| {
            let slope = product / spread;
            Self {
                intercept: mean_y - slope * mean_x,
                slope,
            }
        })
    }

    /// Returns the value at `x`.
    #[must_use]
    pub fn at(self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// The cumulative counts of a histogram, each with the upper bound of its bucket, in the order of the bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets(pub Vec<(f64, f64)>);

impl Buckets {
    /// Returns the counts since an earlier reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            let found = earlier.0.iter().find(|(other, _)| *other == bound);
            found.map_or(0.0, |(_, count)| *count)
        };
        let counts = self.0.iter();
        Self(
            counts
                .map(|&(bound, count)| (bound, count - before(bound)))
                .collect(),
        )
    }

    /// Returns the value below which a share of all values lies, interpolated within its bucket; `None` without values. A value
    /// above the last finite bound counts as that bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.0.last().map(|(_, count)| *count)?;
        if total <= 0.0 {
            return None;
        }
        let rank = share * total;
        let (mut lower, mut below) = (0.0, 0.0);
        for &(bound, count) in &self.0 {
            if bound.is_infinite() {
                break;
            }
            if count >= rank && count > below {
                return Some(lower + (bound - lower) * (rank - below) / (count - below));
            }
            (lower, below) = (bound, count);
        }
        Some(lower)
    }
}

/// Returns the element whose `value` is the median: the lower one of an even number.
#[must_use]
pub fn median_by<T: Clone>(elements: &[T], value: impl Fn(&T) -> f64) -> Option<T> {
    let mut sorted: Vec<&T> = elements.iter().collect();
    sorted.sort_by(|a, b| value(a).total_cmp(&value(b)));
    let middle = sorted.len().checked_sub(1)? / 2;
    sorted.get(middle).map(|&element| element.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_points_on_it_and_between_others() {
        let line = Line::through(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).unwrap();
        assert!((line.slope - 2.0).abs() < 1e-12 && (line.intercept - 3.0).abs() < 1e-12);
        assert!((line.at(10.0) - 23.0).abs() < 1e-12);
        let line = Line::through(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)]).unwrap();
        assert!(line.slope.abs() < 1e-12 && (line.intercept - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_point_has_no_line() {
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(2.0, 1.0), (2.0, 3.0)]), None);
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let buckets = Buckets(vec![
            (1.0, 50.0),
            (2.0, 50.0),
            (4.0, 90.0),
            (f64::INFINITY, 100.0),
        ]);
        assert_eq!(buckets.quantile(0.25), Some(0.5));
        assert_eq!(buckets.quantile(0.5), Some(1.0));
        assert_eq!(buckets.quantile(0.7), Some(3.0));
        assert_eq!(buckets.quantile(0.99), Some(4.0));
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(Buckets(vec![(1.0, 0.0)]).quantile(0.5), None);
    }

    #[test]
    fn buckets_since_an_earlier_reading_have_only_the_new_values() {
        let before = Buckets(vec![(1.0, 2.0), (f64::INFINITY, 3.0)]);
        let after = Buckets(vec![(1.0, 5.0), (f64::INFINITY, 9.0)]);
        assert_eq!(
            after.since(&before),
            Buckets(vec![(1.0, 3.0), (f64::INFINITY, 6.0)])
        );
        assert_eq!(after.since(&Buckets::default()), after);
    }

    #[test]
    fn the_median_element_is_the_lower_one_of_an_even_number() {
        assert_eq!(median_by(&[3, 1, 2], |&n| f64::from(n)), Some(2));
        assert_eq!(median_by(&[4, 1, 2, 9], |&n| f64::from(n)), Some(2));
        assert_eq!(median_by(&[], |&n: &i32| f64::from(n)), None);
    }
}
