//! Measures how fast a contender processes a backlog.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use iris_kafka::{GroupOffsets, end_offsets};
use iris_testkit::Fixture;
use serde::Serialize;

use crate::contender::{Contender, Limit, Ours, Output};
use crate::output;
use crate::process::{MeasuredProcess, Usage};
use crate::swapping::Swapping;
use crate::testbed::{Backlog, Testbed};

/// How often to check a contender's progress.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often to read the metrics of a contender that serves them.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(100);

/// How long one run may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The result of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Records per second, as the contender reports them: from the first record that it reads to the end.
    pub reported: Option<f64>,
    /// Records per second, as observed by committed offsets: from the first commit to the last, without the records of the
    /// first. A contender's start and a cold JVM do not count.
    pub observed: Option<f64>,
    /// Processor seconds per million records, including the start.
    pub cpu_seconds_per_million: f64,
    /// The process's resources.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Runs a contender over a backlog.
///
/// # Errors
/// If the contender cannot be started, fails, is too slow or reports nothing. The error contains the last lines of its output.
pub fn run(testbed: &Testbed, backlog: &Backlog, contender: Contender) -> anyhow::Result<Sample> {
    let fixture = testbed.fixture(&backlog.topic, &contender.settings())?;
    let command = contender.command(testbed, &fixture, backlog)?;
    let mut process = MeasuredProcess::start("run", command, fixture.directory())?;
    let finished = match contender.group(&fixture) {
        Some(group) => {
            let disturbance = Disturbance::of(contender, &fixture);
            observe(testbed, backlog, &group, disturbance, &mut process).and_then(|rate| {
                let usage = process.terminate()?;
                Ok((Some(rate), usage))
            })
        }
        None => process.finish(TIMEOUT).map(|usage| (None, usage)),
    };
    let text = output::read(&fixture)?;
    let end = || output::last_lines(&text);
    let (observed, usage) = finished.with_context(|| format!("{contender:?}: {}", end()))?;
    let reported = match contender {
        Contender::Ours(_) => {
            output::seconds(&text).map(|seconds| backlog.records as f64 / seconds)
        }
        _ => output::reported(&text).map(|reported| reported.records as f64 / reported.seconds),
    };
    if reported.is_none() && observed.is_none() {
        bail!("{contender:?} reports no rate: {}", end());
    }
    check_outcomes(testbed, &fixture, contender, backlog)?;
    testbed.clear(&fixture)?;
    Ok(Sample {
        reported,
        observed,
        cpu_seconds_per_million: usage.cpu_seconds * 1e6 / backlog.records as f64,
        usage,
    })
}

/// The disturbance of a contender while it works.
struct Disturbance<'a> {
    /// The contender whose metrics are read.
    scraped: Option<&'a Fixture>,
    /// Swaps of the champion.
    swapping: Option<Swapping>,
}

impl<'a> Disturbance<'a> {
    fn of(contender: Contender, fixture: &'a Fixture) -> Self {
        let ours = match contender {
            Contender::Ours(ours) => ours,
            _ => Ours::writing(Output::FeedbackOnly),
        };
        Self {
            scraped: ours.is_watched.then_some(fixture),
            swapping: (ours.swaps > 0)
                .then(|| Swapping::start(fixture, ours.swaps, ours.is_swapped_between_kinds)),
        }
    }
}

/// Follows a group's committed offsets to the end of the backlog. Returns records per second.
fn observe(
    testbed: &Testbed,
    backlog: &Backlog,
    group: &str,
    mut disturbance: Disturbance<'_>,
    process: &mut MeasuredProcess,
) -> anyhow::Result<f64> {
    let group = GroupOffsets::open(&testbed.kafka(), group, &backlog.topic)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut first: Option<(Instant, u64)> = None;
    let mut latest_scrape = Instant::now();
    loop {
        let done = group.committed()?.values().sum::<i64>().unsigned_abs();
        let now = Instant::now();
        process.usage();
        if first.is_none() && done > 0 {
            first = Some((now, done));
        }
        if done >= backlog.records {
            let (since, before) = first.context("nothing was committed")?;
            let (records, seconds) = (backlog.records - before, (now - since).as_secs_f64());
            if let Some(swapping) = disturbance.swapping {
                swapping.finish()?;
            }
            return Ok(records as f64 / seconds);
        }
        if let Some(status) = process.ended()? {
            bail!("it exited with {status} after {done} records");
        }
        if now >= deadline {
            let all = backlog.records;
            bail!("it processed {done} of {all} records in {TIMEOUT:?}");
        }
        if let Some(swapping) = &mut disturbance.swapping {
            swapping.advance(done as f64 / backlog.records as f64);
        }
        if let Some(fixture) = disturbance.scraped
            && latest_scrape.elapsed() >= SCRAPE_INTERVAL
        {
            latest_scrape = now;
            scrape(fixture)?;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Reads the metrics of a contender that logs where it serves them.
fn scrape(fixture: &Fixture) -> anyhow::Result<()> {
    let text = output::read(fixture)?;
    let address = text
        .lines()
        .find_map(|line| line.split_once("health and metrics at http://"));
    if let Some((_, address)) = address {
        let mut stream = TcpStream::connect(address.trim())?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        ensure!(response.starts_with("HTTP/1.0 200"), "metrics: {response}");
    }
    Ok(())
}

/// Checks that a contender that publishes every prediction wrote an outcome for every record.
fn check_outcomes(
    testbed: &Testbed,
    fixture: &Fixture,
    contender: Contender,
    backlog: &Backlog,
) -> anyhow::Result<()> {
    let publishes = match contender {
        Contender::Ours(ours) => ours.output.publishes(),
        Contender::Limit(Limit::AtLeastOnce(output)) => output != Output::FeedbackOnly,
        Contender::KafkaStreams { publishes, .. } | Contender::Flink { publishes, .. } => publishes,
        Contender::Limit(_) | Contender::Python(_) => false,
    };
    if !publishes {
        return Ok(());
    }
    // Transaction markers take offsets, too, so this is an upper bound of the number of outcomes.
    let mut written = 0;
    for topic in [&fixture.topics.predictions, &fixture.topics.dead_letters] {
        let ends = end_offsets(&testbed.kafka(), topic)?;
        written += ends.values().sum::<i64>().unsigned_abs();
    }
    ensure!(
        written >= backlog.records,
        "{contender:?} wrote {written} outcomes of {} records",
        backlog.records
    );
    Ok(())
}
