//! Reads metrics in Prometheus' text format.

use std::collections::BTreeMap;

use super::statistics::Buckets;

/// The metrics of one or several processes at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Exposition {
    /// Adds the metrics of a process.
    pub fn add(&mut self, text: &str) {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        self.samples.extend(lines.filter_map(Sample::parse));
    }

    /// Returns the sum of all series of a metric whose labels contain `label`.
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        // Without series, the sum of floating point numbers would be -0.
        self.values(name, label).fold(0.0, |sum, value| sum + value)
    }

    /// Returns the largest value of a metric; `None` without series.
    #[must_use]
    pub fn largest(&self, name: &str, label: &str) -> Option<f64> {
        self.values(name, label).max_by(f64::total_cmp)
    }

    fn values<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = f64> + 'a {
        let matches = move |sample: &&Sample| sample.name == name && sample.labels.contains(label);
        self.samples
            .iter()
            .filter(matches)
            .map(|sample| sample.value)
    }

    /// Returns the buckets of a histogram, those of all series and processes together.
    #[must_use]
    pub fn buckets(&self, name: &str) -> Buckets {
        let name = format!("{name}_bucket");
        // Bounds are not negative, so the order of their bits is their order.
        let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name == name) {
            if let Some(bound) = sample.bound() {
                *counts.entry(bound.to_bits()).or_default() += sample.value;
            }
        }
        let counts = counts.into_iter();
        Buckets(
            counts
                .map(|(bits, count)| (f64::from_bits(bits), count))
                .collect(),
        )
    }
}

impl Sample {
    /// Reads `name{label="value"} 1.5` or `name 1.5`.
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Self {
            name: name.to_owned(),
            labels: labels.trim_end_matches('}').to_owned(),
            value: value.parse().ok()?,
        })
    }

    /// Returns the upper bound of the bucket.
    fn bound(&self) -> Option<f64> {
        let (_, after) = self.labels.split_once("le=\"")?;
        match after.split_once('"')?.0 {
            "+Inf" => Some(f64::INFINITY),
            bound => bound.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP iris_transactions Transactions.\n\
        iris_transactions_total{outcome=\"committed\"} 7\n\
        iris_transactions_total{outcome=\"aborted\"} 2\n\
        iris_lag{partition=\"0\"} 1.5\n\
        iris_ready 1\n\
        iris_duration_bucket{le=\"0.5\"} 1\n\
        iris_duration_bucket{le=\"16.0\"} 3\n\
        iris_duration_bucket{le=\"+Inf\"} 4\n";

    #[test]
    fn series_are_summed_over_labels_and_processes() {
        let mut exposition = Exposition::default();
        exposition.add(TEXT);
        exposition.add(TEXT);
        let sum = |label| exposition.sum("iris_transactions_total", label);
        assert_eq!((sum("outcome=\"committed\""), sum("")), (14.0, 18.0));
        assert_eq!(exposition.sum("iris_ready", ""), 2.0);
        assert_eq!(exposition.largest("iris_lag", ""), Some(1.5));
        assert_eq!(exposition.largest("iris_other", ""), None);
        assert!(exposition.sum("iris_other", "").is_sign_positive());
    }

    #[test]
    fn buckets_are_in_the_order_of_their_bounds() {
        let mut exposition = Exposition::default();
        exposition.add(TEXT);
        assert_eq!(
            exposition.buckets("iris_duration"),
            Buckets(vec![(0.5, 1.0), (16.0, 3.0), (f64::INFINITY, 4.0)])
        );
    }
}
