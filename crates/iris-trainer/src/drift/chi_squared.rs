//! The upper tail of the chi-squared distribution.

use std::f64::consts::PI;

/// The precision of the tail relative to its value.
const PRECISION: f64 = 1e-12;

/// Returns the probability that a chi-squared variable of this many degrees of freedom exceeds `value`.
pub(crate) fn tail(value: f64, degrees: usize) -> f64 {
    if degrees == 0 || value <= 0.0 {
        return 1.0;
    }
    let (shape, x) = (degrees as f64 / 2.0, value / 2.0);
    let scale = (shape * x.ln() - x - ln_gamma(degrees)).exp();
    if x < shape + 1.0 {
        1.0 - scale * series(shape, x)
    } else {
        scale * continued_fraction(shape, x)
    }
}

/// Returns the logarithm of the gamma function of half of an integer above 0.
fn ln_gamma(double: usize) -> f64 {
    let (first, start) = if double.is_multiple_of(2) {
        (2, 0.0)
    } else {
        (1, PI.sqrt().ln())
    };
    let factors = (first..double).step_by(2);
    start
        + factors
            .map(|factor| (factor as f64 / 2.0).ln())
            .sum::<f64>()
}

/// The series of the lower incomplete gamma function, which converges fast below the mean.
fn series(shape: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut divisor) = (1.0 / shape, 1.0 / shape, shape);
    while term > sum * PRECISION {
        divisor += 1.0;
        term *= x / divisor;
        sum += term;
    }
    sum
}

/// The continued fraction of the upper incomplete gamma function by Lentz's method, which converges fast above the mean.
fn continued_fraction(shape: f64, x: f64) -> f64 {
    const TERMS: u32 = 1_000;
    let mut b = x + 1.0 - shape;
    let mut c = f64::MAX;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for number in (1..TERMS).map(f64::from) {
        let a = number * (shape - number);
        b += 2.0;
        d = 1.0 / (a * d + b);
        c = b + a / c;
        let factor = d * c;
        fraction *= factor;
        if (factor - 1.0).abs() < PRECISION {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_critical_values_of_published_tables_have_their_probabilities() {
        for (value, degrees, expected) in [
            (3.841, 1, 0.05),
            (10.828, 1, 0.001),
            (5.991, 2, 0.05),
            (0.711, 4, 0.95),
            (9.488, 4, 0.05),
            (3.325, 9, 0.95),
            (16.919, 9, 0.05),
            (21.666, 9, 0.01),
            (27.877, 9, 0.001),
            (124.342, 100, 0.05),
        ] {
            let probability = tail(value, degrees);
            assert!(
                (probability / expected - 1.0).abs() < 2e-3,
                "{value} {degrees}: {probability}"
            );
        }
    }

    #[test]
    fn two_degrees_of_freedom_are_an_exponential_distribution() {
        for value in [1e-9, 0.5, 3.0, 40.0, 600.0] {
            let (probability, expected) = (tail(value, 2), f64::exp(-value / 2.0));
            assert!(
                (probability / expected - 1.0).abs() < 1e-9,
                "{value}: {probability}"
            );
        }
    }

    #[test]
    fn the_ends_are_one_and_zero() {
        assert_eq!((tail(0.0, 9), tail(-1.0, 9), tail(5.0, 0)), (1.0, 1.0, 1.0));
        assert_eq!(tail(1e5, 9), 0.0);
    }
}
