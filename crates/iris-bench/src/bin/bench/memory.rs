//! Measures memory on a long backlog, and the dashboard beside it.

use iris_bench::contender::Output;
use iris_bench::plan::ours;
use iris_bench::summary::BenchSummary;
use iris_bench::testbed::Testbed;
use iris_bench::{dashboard, throughput};
use iris_kafka::Headers;

/// The number of records.
const LONG_BACKLOG: u64 = 10_000_000;

/// Measures memory, which must not grow with the backlog, and the dashboard.
pub(crate) fn measure(testbed: &Testbed, summary: &mut BenchSummary) -> anyhow::Result<()> {
    let values = &testbed.values;
    let backlog = testbed.fill("bench-long", values, &Headers::default(), LONG_BACKLOG)?;
    let contender = ours(Output::FeedbackOnly);
    let sample = throughput::run(testbed, &backlog, contender)?;
    println!(
        "10,000,000 records: peak memory {:.0} MB",
        sample.usage.peak_rss_bytes as f64 / 1e6
    );
    summary.long_backlog = Some(sample);
    let load = dashboard::load(testbed, &backlog)?;
    println!("the dashboard: {load:.2?}");
    summary.dashboard = Some(load);
    testbed.delete(&[&backlog.topic])
}
