//! The summary as Markdown tables.

use comfy_table::{Table, presets};

use super::results::{BenchSummary, CurvePoint, LatencyUnderLoad, Throughput};
use super::spread::Spread;
use super::target::Target;
use crate::latency::Latency;

impl BenchSummary {
    /// Returns the summary as Markdown tables.
    #[must_use]
    pub fn tables(&self) -> String {
        [
            throughput(&self.throughput),
            latency(&self.latency),
            curve(&self.curve),
            self.rates(),
            targets(&self.targets),
        ]
        .into_iter()
        .filter(|table| table.row_count() > 0)
        .map(|table| table.to_string() + "\n")
        .collect::<Vec<_>>()
        .join("\n")
    }

    fn rates(&self) -> Table {
        let mut rows = vec![("the producer unpaced, records/s".to_owned(), self.producer)];
        rows.extend(
            self.sink
                .iter()
                .map(|(store, &rate)| (format!("the sink into {store}, rows/s"), Some(rate))),
        );
        let mut table = table(&["", "median", "smallest", "largest"]);
        for (what, spread) in rows {
            if let Some(Spread { median, min, max }) = spread {
                table.add_row([what, grouped(median), grouped(min), grouped(max)]);
            }
        }
        if let Some(Spread { median, min, max }) = self.first_prediction_s {
            let [median, min, max] = [median, min, max].map(|value| format!("{value:.2}"));
            let what = "start to first prediction, s".to_owned();
            table.add_row([what, median, min, max]);
        }
        table
    }
}

fn throughput(lines: &[Throughput]) -> Table {
    let rate = |spread: Option<Spread>| {
        spread.map_or_else(String::new, |Spread { median, min, max }| {
            format!("{} ({} to {})", grouped(median), grouped(min), grouped(max))
        })
    };
    let mut table = table(&[
        "contender",
        "records/s, reported",
        "records/s, observed",
        "peak MB",
        "CPU s per million records",
    ]);
    for line in lines {
        table.add_row([
            line.name.clone(),
            rate(line.reported),
            rate(line.observed),
            format!("{:.0}", line.peak_rss_bytes as f64 / 1e6),
            line.cpu_seconds_per_million
                .map_or_else(String::new, |spread| format!("{:.2}", spread.median)),
        ]);
    }
    table
}

fn latency(lines: &[LatencyUnderLoad]) -> Table {
    let mut table = table(&[
        "contender",
        "records/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
    ]);
    for line in lines {
        let Latency {
            p50_ms,
            p99_ms,
            p999_ms,
            max_ms,
            ..
        } = line.latency;
        let quantiles = [p50_ms, p99_ms, p999_ms, max_ms].map(|ms| format!("{ms:.1}"));
        let head = [line.name.clone(), line.rate.to_string()];
        table.add_row(head.into_iter().chain(quantiles));
    }
    table
}

fn curve(points: &[CurvePoint]) -> Table {
    let mut table = table(&[
        "workers",
        "commit interval ms",
        "records/s",
        "p50 ms",
        "p99 ms",
    ]);
    for point in points {
        let quantile = |of: fn(&Latency) -> f64| {
            point
                .latency
                .map_or_else(String::new, |latency| format!("{:.1}", of(&latency)))
        };
        table.add_row([
            point.workers.to_string(),
            point.commit_ms.to_string(),
            grouped(point.rate),
            quantile(|latency| latency.p50_ms),
            quantile(|latency| latency.p99_ms),
        ]);
    }
    table
}

fn targets(targets: &[Target]) -> Table {
    let mut table = table(&["target", "bound", "measured", ""]);
    for target in targets {
        let bound = if target.at_most {
            "at most"
        } else {
            "at least"
        };
        let measured = target.value;
        let verdict = match target.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        table.add_row([
            target.what.clone(),
            format!("{bound} {}", short(target.wanted)),
            measured.map_or_else(|| "not measured".to_owned(), short),
            verdict.to_owned(),
        ]);
    }
    table
}

/// Returns an empty table with Markdown's borders.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    table
}

/// Returns a number with commas and without decimals.
pub(crate) fn grouped(value: f64) -> String {
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

/// Returns a number with commas if it is large, and else with two decimals.
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
    fn large_numbers_have_commas() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(
            (short(0.256), short(1_000.0)),
            ("0.26".into(), "1,000".into())
        );
    }

    #[test]
    fn tables_without_rows_are_left_out() {
        let summary = BenchSummary {
            producer: Spread::of([1_000.0]),
            ..BenchSummary::default()
        };
        let text = summary.tables();
        assert!(text.contains("the producer unpaced, records/s"), "{text}");
        assert!(!text.contains("contender"), "{text}");
    }
}
