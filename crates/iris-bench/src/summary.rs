//! What came of it: medians, spreads, and how they stand to each other.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::Serialize;

use crate::dashboard::DashboardLoad;
use crate::latency::Latency;
use crate::plan;
use crate::process::Usage;
use crate::throughput::Sample;

/// The middle of some values, and the outermost ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the lower of the two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` if there are no values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: *values.get(values.len().checked_sub(1)? / 2)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// A contender's runs on the backlog.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// Its name.
    pub name: String,
    /// Records a second, as it says itself.
    pub reported: Option<Spread>,
    /// Records a second, as seen from outside.
    pub observed: Option<Spread>,
    /// Processor seconds for a million records.
    pub cpu_seconds_per_million: Option<Spread>,
    /// The most memory that was resident in any run, in bytes.
    pub peak_rss_bytes: u64,
    /// Each run.
    pub samples: Vec<Sample>,
}

impl Throughput {
    /// Sums runs up.
    #[must_use]
    pub fn of(name: &str, samples: Vec<Sample>) -> Self {
        let spread =
            |value: fn(&Sample) -> Option<f64>| Spread::of(samples.iter().filter_map(value));
        Self {
            name: name.to_owned(),
            reported: spread(|sample| sample.reported),
            observed: spread(|sample| sample.observed),
            cpu_seconds_per_million: spread(|sample| Some(sample.cpu_seconds_per_million)),
            peak_rss_bytes: samples
                .iter()
                .map(|sample| sample.usage.peak_rss_bytes)
                .max()
                .unwrap_or(0),
            samples,
        }
    }
}

/// A contender under a load.
#[derive(Clone, Debug, Serialize)]
pub struct UnderLoad {
    /// Its name.
    pub name: String,
    /// The load, in records a second.
    pub rate: u32,
    /// Of each quantile the median of all runs.
    #[serde(flatten)]
    pub latency: Latency,
}

/// A point of the curve over the commit interval and the number of workers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Workers.
    pub workers: usize,
    /// The commit interval, in milliseconds.
    pub commit_ms: u64,
    /// Records a second, every prediction published.
    pub rate: f64,
    /// The same under 10,000 records a second; not for each point.
    pub latency: Option<Latency>,
}

/// Something that is to hold.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What.
    pub what: String,
    /// What it is; `None` if it was not measured.
    pub value: Option<f64>,
    /// What it is to be at least or, with `at_most`, at most.
    pub wanted: f64,
    /// Which of the two.
    pub at_most: bool,
}

impl Target {
    /// Whether it holds; `None` if it was not measured.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let value = self.value?;
        Some(if self.at_most {
            value <= self.wanted
        } else {
            value >= self.wanted
        })
    }
}

/// All that one session measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// When, as a date.
    pub date: String,
    /// On what.
    pub machine: String,
    /// Which broker.
    pub broker: String,
    /// Of what.
    pub versions: BTreeMap<String, String>,
    /// Records of the backlog.
    pub records: u64,
    /// Runs of each contender.
    pub runs: usize,
    /// On the backlog.
    pub throughput: Vec<Throughput>,
    /// Under load.
    pub latency: Vec<UnderLoad>,
    /// Over the commit interval and the number of workers.
    pub curve: Vec<Point>,
    /// From the start to the first prediction in the paper's mode, in seconds.
    pub first_prediction_s: Option<Spread>,
    /// While there is nothing to do.
    pub idle: Option<Usage>,
    /// On a backlog of 10,000,000 records.
    pub long_backlog: Option<Sample>,
    /// The dashboard, on the same backlog.
    pub dashboard: Option<DashboardLoad>,
    /// The producer without a pause, in records a second.
    pub producer: Option<Spread>,
    /// The sink by kind of store, in rows a second.
    pub sink: BTreeMap<String, Spread>,
    /// What is to hold.
    pub targets: Vec<Target>,
}

impl Summary {
    fn line(&self, name: &str) -> Option<&Throughput> {
        self.throughput.iter().find(|line| line.name == name)
    }

    /// How two contenders' own words compare.
    fn reported(&self, ours: &str, theirs: &str) -> Option<f64> {
        Some(self.line(ours)?.reported?.median / self.line(theirs)?.reported?.median)
    }

    /// How two contenders compare as seen from outside.
    fn observed(&self, ours: &str, theirs: &str) -> Option<f64> {
        Some(self.line(ours)?.observed?.median / self.line(theirs)?.observed?.median)
    }

    fn latency_ratio(&self, rate: u32, quantile: fn(&Latency) -> f64) -> Option<f64> {
        let of = |name: &str| {
            let line = self
                .latency
                .iter()
                .find(|line| line.name == name && line.rate == rate)?;
            Some(quantile(&line.latency))
        };
        Some(of(plan::PREDICTIONS)? / of(plan::KAFKA_STREAMS_PREDICTIONS)?)
    }

    /// Says of everything that is to hold whether it does.
    pub fn judge(&mut self) {
        use plan as p;
        let mut targets = Vec::new();
        let mut add = |at_most: bool, what: &str, value: Option<f64>, wanted: f64| {
            targets.push(Target {
                what: what.to_owned(),
                value,
                wanted,
                at_most,
            });
        };
        let (least, most) = (false, true);
        for (ours, theirs, wanted) in [
            (p::FEEDBACK, p::CONSUME, 0.85),
            (p::PREDICTIONS, p::PASS_THROUGH, 0.8),
            (p::FEEDBACK, p::ALO_FEEDBACK, 0.9),
            (p::PREDICTIONS, p::ALO_PREDICTIONS, 0.9),
            (p::FEEDBACK_LOGGED, p::FEEDBACK, 0.5),
            (p::SHIPPED_LOGGED, p::SHIPPED, 0.5),
            (p::WATCHED, p::PREDICTIONS, 0.97),
            (p::FEEDBACK, p::PAPER, 300.0),
            (p::SWAPPED, p::STEADY, 0.95),
            (p::WITH_GARBAGE, p::STEADY, 0.95),
        ] {
            let what = format!("throughput: {ours} / {theirs}");
            add(least, &what, self.reported(ours, theirs), wanted);
        }
        for (ours, theirs, wanted) in [
            (p::FEEDBACK, p::KAFKA_STREAMS_FEEDBACK, 3.0),
            (p::FEEDBACK, p::FLINK_FEEDBACK, 2.0),
            (p::PREDICTIONS, p::KAFKA_STREAMS_PREDICTIONS, 3.0),
            (p::PREDICTIONS, p::FLINK_PREDICTIONS, 2.0),
            (p::SHIPPED, p::KAFKA_STREAMS_PREDICTIONS, 2.5),
            (p::SHIPPED, p::FLINK_PREDICTIONS, 1.7),
        ] {
            let what = format!("throughput: {ours} / {theirs}");
            add(least, &what, self.observed(ours, theirs), wanted);
        }
        let against = "every prediction, against Kafka Streams";
        let p50 = self.latency_ratio(1_000, |latency| latency.p50_ms);
        add(
            most,
            &format!("latency at 1,000/s, p50, {against}"),
            p50,
            0.25,
        );
        for (rate, text) in [(1_000, "1,000/s"), (10_000, "10,000/s")] {
            let p99 = self.latency_ratio(rate, |latency| latency.p99_ms);
            let what = format!("latency at {text}, p99, {against}");
            add(most, &what, p99, 1.0 / 3.0);
        }
        let produce = self.line(p::PRODUCE).and_then(|line| line.reported);
        let ratio = self.producer.zip(produce);
        add(
            least,
            "throughput: the producer unpaced / limit: produce only",
            ratio.map(|(ours, limit)| ours.median / limit.median),
            0.9,
        );
        for (store, wanted) in [("SQLite", 100_000.0), ("PostgreSQL", 50_000.0)] {
            let rows = self.sink.get(store).map(|spread| spread.median);
            add(
                least,
                &format!("the sink into {store}, rows/s"),
                rows,
                wanted,
            );
        }
        let mib = |bytes: u64| bytes as f64 / 1e6;
        add(
            most,
            "peak memory on a backlog of 10,000,000 records, MB",
            self.long_backlog
                .map(|sample| mib(sample.usage.peak_rss_bytes)),
            200.0,
        );
        add(
            most,
            "the dashboard beside a classifier under full load, share of a core",
            self.dashboard.map(|load| load.core_share),
            0.15,
        );
        add(
            most,
            "the dashboard's peak memory then, MB",
            self.dashboard.map(|load| mib(load.peak_rss_bytes)),
            100.0,
        );
        add(
            most,
            "peak memory with nothing to do, MB",
            self.idle.map(|usage| mib(usage.peak_rss_bytes)),
            40.0,
        );
        add(
            most,
            "from the start to the first prediction in the paper's mode, s",
            self.first_prediction_s.map(|spread| spread.median),
            1.0,
        );
        self.targets = targets;
    }

    /// The summary as tables for people, in Markdown.
    #[must_use]
    pub fn tables(&self) -> String {
        let thousands = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |spread| {
                format!(
                    "{} ({} to {})",
                    grouped(spread.median),
                    grouped(spread.min),
                    grouped(spread.max)
                )
            })
        };
        let mut throughput = table(&[
            "contender",
            "records/s, reported",
            "records/s, observed",
            "peak MB",
            "CPU s per million records",
        ]);
        for line in &self.throughput {
            throughput.add_row([
                line.name.clone(),
                thousands(line.reported),
                thousands(line.observed),
                format!("{:.0}", line.peak_rss_bytes as f64 / 1e6),
                line.cpu_seconds_per_million
                    .map_or_else(String::new, |spread| format!("{:.2}", spread.median)),
            ]);
        }
        let mut latency = table(&[
            "contender",
            "records/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
        ]);
        for line in &self.latency {
            let Latency {
                p50_ms,
                p99_ms,
                p999_ms,
                max_ms,
                ..
            } = line.latency;
            let quantiles = [p50_ms, p99_ms, p999_ms, max_ms].map(|ms| format!("{ms:.1}"));
            let head = [line.name.clone(), line.rate.to_string()];
            latency.add_row(head.into_iter().chain(quantiles));
        }
        let mut curve = table(&[
            "workers",
            "commit interval ms",
            "records/s",
            "p50 ms",
            "p99 ms",
        ]);
        for point in &self.curve {
            let quantile = |of: fn(&Latency) -> f64| {
                point
                    .latency
                    .map_or_else(String::new, |latency| format!("{:.1}", of(&latency)))
            };
            curve.add_row([
                point.workers.to_string(),
                point.commit_ms.to_string(),
                grouped(point.rate),
                quantile(|latency| latency.p50_ms),
                quantile(|latency| latency.p99_ms),
            ]);
        }
        let mut rest = table(&["what", "median", "smallest", "largest"]);
        let mut add = |what: &str, spread: Option<Spread>, shown: fn(f64) -> String| {
            if let Some(Spread { median, min, max }) = spread {
                rest.add_row([what.to_owned(), shown(median), shown(min), shown(max)]);
            }
        };
        add("the producer unpaced, records/s", self.producer, grouped);
        for (store, &spread) in &self.sink {
            add(
                &format!("the sink into {store}, rows/s"),
                Some(spread),
                grouped,
            );
        }
        let seconds = |value| format!("{value:.2}");
        add(
            "start to first prediction, s",
            self.first_prediction_s,
            seconds,
        );
        let mut targets = table(&["to hold", "wanted", "is", ""]);
        for target in &self.targets {
            let bound = if target.at_most {
                "at most"
            } else {
                "at least"
            };
            targets.add_row([
                target.what.clone(),
                format!("{bound} {}", short(target.wanted)),
                target
                    .value
                    .map_or_else(|| "not measured".to_owned(), short),
                match target.is_met() {
                    Some(true) => "met",
                    Some(false) => "missed",
                    None => "",
                }
                .to_owned(),
            ]);
        }
        [throughput, latency, curve, rest, targets]
            .into_iter()
            .filter(|table| table.row_count() > 0)
            .map(|table| table.to_string() + "\n")
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::ASCII_MARKDOWN)
        .set_header(header);
    table
}

/// A number with commas, without decimals.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn short(value: f64) -> String {
    if value >= 1_000.0 {
        grouped(value)
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        let spread = Spread::of([3.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 9.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(12.0), "12");
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let mut summary = Summary::default();
        summary.judge();
        assert!(
            summary
                .targets
                .iter()
                .all(|target| target.is_met().is_none())
        );
    }
}
