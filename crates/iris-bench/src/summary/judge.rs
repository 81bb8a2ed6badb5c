//! Compares a session's results with the targets.

use super::results::{BenchSummary, Throughput};
use super::target::Target;
use crate::latency::Latency;
use crate::plan as p;

/// The least ratios of throughputs that the contenders report.
const REPORTED_RATIOS: [(&str, &str, f64); 11] = [
    (p::FEEDBACK, p::CONSUME, 0.85),
    (p::PREDICTIONS, p::PASS_THROUGH, 0.8),
    (p::FEEDBACK, p::ALO_FEEDBACK, 0.9),
    (p::PREDICTIONS, p::ALO_PREDICTIONS, 0.9),
    (p::FEEDBACK_LOGGED, p::FEEDBACK, 0.5),
    (p::SHIPPED_LOGGED, p::SHIPPED, 0.5),
    (p::WATCHED, p::PREDICTIONS, 0.97),
    (p::FEEDBACK, p::PAPER, 300.0),
    (p::SWAPPED, p::STEADY, 0.95),
    (p::SWAPPED_KINDS, p::STEADY_FOREST, 0.95),
    (p::WITH_GARBAGE, p::STEADY, 0.95),
];

/// The least ratios of throughputs that are observed from outside.
const OBSERVED_RATIOS: [(&str, &str, f64); 6] = [
    (p::FEEDBACK, p::KAFKA_STREAMS_FEEDBACK, 3.0),
    (p::FEEDBACK, p::FLINK_FEEDBACK, 2.0),
    (p::PREDICTIONS, p::KAFKA_STREAMS_PREDICTIONS, 3.0),
    (p::PREDICTIONS, p::FLINK_PREDICTIONS, 2.0),
    (p::SHIPPED, p::KAFKA_STREAMS_PREDICTIONS, 2.5),
    (p::SHIPPED, p::FLINK_PREDICTIONS, 1.7),
];

impl BenchSummary {
    /// Compares the measured values with the targets.
    pub fn judge(&mut self) {
        let mut targets = self.throughput_targets();
        targets.extend(self.latency_targets());
        targets.extend(self.service_targets());
        targets.extend(self.resource_targets());
        self.targets = targets;
    }

    fn throughput_targets(&self) -> Vec<Target> {
        let reported = REPORTED_RATIOS.map(|(ours, theirs, wanted)| {
            let what = format!("throughput: {ours} / {theirs}");
            Target::at_least(wanted, what, self.reported_ratio(ours, theirs))
        });
        let observed = OBSERVED_RATIOS.map(|(ours, theirs, wanted)| {
            let what = format!("throughput: {ours} / {theirs}");
            Target::at_least(wanted, what, self.observed_ratio(ours, theirs))
        });
        reported.into_iter().chain(observed).collect()
    }

    fn latency_targets(&self) -> Vec<Target> {
        let against = "every prediction, against Kafka Streams";
        let p50 = self.latency_ratio(1_000, |latency| latency.p50_ms);
        let what = format!("latency at 1,000/s, p50, {against}");
        let mut targets = vec![Target::at_most(0.25, what, p50)];
        for (rate, text, most) in [(1_000, "1,000/s", 0.25), (10_000, "10,000/s", 1.0 / 3.0)] {
            let p99 = self.latency_ratio(rate, |latency| latency.p99_ms);
            let what = format!("latency at {text}, p99, {against}");
            targets.push(Target::at_most(most, what, p99));
        }
        targets
    }

    fn service_targets(&self) -> Vec<Target> {
        let produce = self.named(p::PRODUCE).and_then(|line| line.reported);
        let ratio = self.producer.zip(produce);
        let mut targets = vec![Target::at_least(
            0.9,
            "throughput: the producer unpaced / limit: produce only",
            ratio.map(|(ours, limit)| ours.median / limit.median),
        )];
        for (store, wanted) in [("SQLite", 100_000.0), ("PostgreSQL", 50_000.0)] {
            let rows = self.sink.get(store).map(|spread| spread.median);
            let what = format!("the sink into {store}, rows/s");
            targets.push(Target::at_least(wanted, what, rows));
        }
        targets
    }

    fn resource_targets(&self) -> Vec<Target> {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        vec![
            Target::at_most(
                200.0,
                "peak memory on a backlog of 10,000,000 records, MB",
                self.long_backlog
                    .map(|sample| mb(sample.usage.peak_rss_bytes)),
            ),
            Target::at_most(
                0.15,
                "the dashboard beside a classifier under full load, share of a core",
                self.dashboard.map(|load| load.core_share),
            ),
            Target::at_most(
                100.0,
                "the dashboard's peak memory then, MB",
                self.dashboard.map(|load| mb(load.peak_rss_bytes)),
            ),
            Target::at_most(
                40.0,
                "peak memory of an idle classifier, MB",
                self.idle.map(|usage| mb(usage.peak_rss_bytes)),
            ),
            Target::at_most(
                1.0,
                "from the start to the first prediction in the paper's setup, s",
                self.first_prediction_s.map(|spread| spread.median),
            ),
        ]
    }

    fn named(&self, name: &str) -> Option<&Throughput> {
        self.throughput.iter().find(|line| line.name == name)
    }

    fn reported_ratio(&self, ours: &str, theirs: &str) -> Option<f64> {
        Some(self.named(ours)?.reported?.median / self.named(theirs)?.reported?.median)
    }

    fn observed_ratio(&self, ours: &str, theirs: &str) -> Option<f64> {
        Some(self.named(ours)?.observed?.median / self.named(theirs)?.observed?.median)
    }

    /// Returns the classifier's latency divided by that of Kafka Streams.
    fn latency_ratio(&self, rate: u32, quantile: fn(&Latency) -> f64) -> Option<f64> {
        let of = |name: &str| {
            let line = self
                .latency
                .iter()
                .find(|line| line.name == name && line.rate == rate)?;
            Some(quantile(&line.latency))
        };
        Some(of(p::PREDICTIONS)? / of(p::KAFKA_STREAMS_PREDICTIONS)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Spread;

    #[test]
    fn a_target_without_a_value_is_neither_met_nor_missed() {
        let mut summary = BenchSummary::default();
        summary.judge();
        assert_eq!(summary.targets.len(), 28);
        let mut targets = summary.targets.iter();
        assert!(targets.all(|target| target.is_met().is_none()));
    }

    #[test]
    fn throughputs_are_compared_by_their_medians() {
        let line = |name: &str, median| Throughput {
            reported: Spread::of([median]),
            ..Throughput::of(name, Vec::new())
        };
        let mut summary = BenchSummary {
            throughput: vec![line(p::FEEDBACK, 86.0), line(p::CONSUME, 100.0)],
            ..BenchSummary::default()
        };
        summary.judge();
        let target = &summary.targets[0];
        assert_eq!((target.value, target.is_met()), (Some(0.86), Some(true)));
    }
}
