//! How long a contender takes for a backlog.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use iris_kafka::{GroupOffsets, Positions};
use iris_registry::RegistryTopic;
use iris_testkit::Fixture;
use iris_testkit::swaps::Swaps;
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Limit, Output};
use crate::ground::{Backlog, Ground, NAME};
use crate::process::{Measured, Usage};

/// How often it is looked how far a contender is.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How often metrics are read from a contender that serves them.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(100);

/// The longest that one run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one run showed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Records a second as the contender itself says: from the first record that it read to the end.
    pub reported: Option<f64>,
    /// Records a second as seen from outside, by committed offsets: from the first commit to the last, without the
    /// records of the first. A contender's start and the first moments of a cold JVM do not count.
    pub observed: Option<f64>,
    /// Processor seconds for a million records, the start included.
    pub cpu_seconds_per_million: f64,
    /// What the process took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What limits and Python programs print at their end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reported {
    /// Records done.
    pub records: u64,
    /// How long that took.
    pub seconds: f64,
}

/// Runs a contender over a backlog.
///
/// # Errors
/// If it cannot be started, ends badly, does not get done, or says nothing; with the end of what it said.
pub fn run(ground: &Ground, backlog: &Backlog, contender: Contender) -> anyhow::Result<Sample> {
    let fixture = ground.fixture(&backlog.topic, &contender.settings())?;
    let command = contender.command(ground, &fixture, backlog)?;
    let directory = fixture.directory();
    let mut process = Measured::start("run", command, directory)?;
    let finished = match contender.group(&fixture) {
        Some(group) => {
            let (is_watched, swaps) = match contender {
                Contender::Ours(ours) => (ours.is_watched, ours.swaps),
                _ => (false, 0),
            };
            let on_the_way = OnTheWay {
                scraped: is_watched.then_some(&fixture),
                swaps: (swaps > 0).then(|| Swapping::start(&fixture, swaps)),
            };
            observe(ground, backlog, &group, on_the_way, &mut process).and_then(|rate| {
                let usage = process.terminate()?;
                Ok((Some(rate), usage))
            })
        }
        None => process.finish(PATIENCE).map(|usage| (None, usage)),
    };
    let said = said(&fixture)?;
    let (observed, usage) =
        finished.with_context(|| format!("{contender:?}: {}", end_of(&said)))?;
    let reported = match contender {
        Contender::Ours(_) => seconds(&said).map(|seconds| backlog.records as f64 / seconds),
        _ => json(&said).map(|reported| reported.records as f64 / reported.seconds),
    };
    if reported.is_none() && observed.is_none() {
        bail!(
            "{contender:?} says nothing of how fast it was: {}",
            end_of(&said)
        );
    }
    check(ground, &fixture, contender, backlog)?;
    ground.clear(&fixture)?;
    Ok(Sample {
        reported,
        observed,
        cpu_seconds_per_million: usage.cpu_seconds * 1e6 / backlog.records as f64,
        usage,
    })
}

/// What is done to a contender while it works.
struct OnTheWay<'a> {
    /// The contender whose metrics are read.
    scraped: Option<&'a Fixture>,
    /// New champions.
    swaps: Option<Swapping>,
}

/// New champions, evenly over the backlog.
struct Swapping {
    swaps: usize,
    told: usize,
    tell: mpsc::Sender<()>,
    thread: JoinHandle<anyhow::Result<usize>>,
}

impl Swapping {
    fn start(fixture: &Fixture, swaps: usize) -> Self {
        let topic = RegistryTopic::new(&fixture.kafka, &fixture.topics.models, NAME);
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut champions = Swaps::prepare(&topic)?;
            let mut swaps = 0;
            while told.recv().is_ok() {
                champions.swap()?;
                swaps += 1;
            }
            Ok(swaps)
        });
        Self {
            swaps,
            told: 0,
            tell,
            thread,
        }
    }

    /// Has as many champions follow each other as there are to be after this share of the backlog.
    fn advance(&mut self, share: f64) {
        while self.told < self.swaps && share * (self.swaps + 1) as f64 >= (self.told + 1) as f64 {
            self.told += 1;
            // A thread that has ended says why when it is joined.
            let _ = self.tell.send(());
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        drop(self.tell);
        let Ok(done) = self.thread.join() else {
            bail!("the thread that swaps champions panicked");
        };
        let done = done?;
        // The last may have been due after the last look at how far the work is.
        let enough = self.swaps - self.swaps / 20;
        anyhow::ensure!(
            done == self.told && done >= enough,
            "there were {done} swaps"
        );
        Ok(())
    }
}

/// Follows a group's committed offsets to the backlog's end. Returns records a second.
fn observe(
    ground: &Ground,
    backlog: &Backlog,
    group: &str,
    mut on_the_way: OnTheWay<'_>,
    process: &mut Measured,
) -> anyhow::Result<f64> {
    let group = GroupOffsets::open(&ground.kafka(), group, &backlog.topic)?;
    let sum = |offsets: Positions| offsets.values().sum::<i64>().unsigned_abs();
    let give_up = Instant::now() + PATIENCE;
    let mut first: Option<(Instant, u64)> = None;
    let mut latest_scrape = Instant::now();
    loop {
        let done = sum(group.committed()?);
        let now = Instant::now();
        process.usage();
        if first.is_none() && done > 0 {
            first = Some((now, done));
        }
        if done >= backlog.records {
            let (since, before) = first.context("nothing was committed")?;
            let (records, seconds) = (backlog.records - before, (now - since).as_secs_f64());
            if let Some(swaps) = on_the_way.swaps {
                swaps.finish()?;
            }
            return Ok(records as f64 / seconds);
        }
        if let Some(status) = process.ended()? {
            bail!("it ended with {status} after {done} records");
        }
        if now >= give_up {
            bail!(
                "it had done {done} of {} records after {PATIENCE:?}",
                backlog.records
            );
        }
        if let Some(swaps) = &mut on_the_way.swaps {
            swaps.advance(done as f64 / backlog.records as f64);
        }
        if let Some(fixture) = on_the_way.scraped
            && latest_scrape.elapsed() >= SCRAPE_INTERVAL
        {
            latest_scrape = now;
            scrape(fixture)?;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Reads the metrics of a contender that says where it serves them.
fn scrape(fixture: &Fixture) -> anyhow::Result<()> {
    let said = said(fixture)?;
    let address = said
        .lines()
        .find_map(|line| line.split_once("health and metrics at http://"));
    if let Some((_, address)) = address {
        let mut stream = TcpStream::connect(address.trim())?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::ensure!(answer.starts_with("HTTP/1.0 200"), "metrics: {answer}");
    }
    Ok(())
}

/// Checks that a contender that writes every prediction has written as many outcomes as there are records.
fn check(
    ground: &Ground,
    fixture: &Fixture,
    contender: Contender,
    backlog: &Backlog,
) -> anyhow::Result<()> {
    let publishes = match contender {
        Contender::Ours(ours) => ours.output != Output::FeedbackOnly,
        Contender::Limit(Limit::AtLeastOnce(output)) => output != Output::FeedbackOnly,
        Contender::KafkaStreams { publishes, .. } | Contender::Flink { publishes, .. } => publishes,
        Contender::Limit(_) | Contender::Python(_) => false,
    };
    if publishes {
        // Markers of transactions take offsets, too: there are at least as many.
        let mut written = 0;
        for topic in [&fixture.topics.predictions, &fixture.topics.dead_letters] {
            let ends = iris_kafka::end_offsets(&ground.kafka(), topic)?;
            written += ends.values().sum::<i64>().unsigned_abs();
        }
        anyhow::ensure!(
            written >= backlog.records,
            "{contender:?} wrote {written} outcomes of {} records",
            backlog.records
        );
    }
    Ok(())
}

/// What a run printed.
fn said(fixture: &Fixture) -> anyhow::Result<String> {
    // Lines for each record are not looked at: what matters is at the start and at the end.
    const MOST: u64 = 50_000;
    let mut said = Vec::new();
    for name in ["run.out", "run.err"] {
        let mut file = File::open(fixture.directory().join(name))?;
        (&mut file).take(MOST).read_to_end(&mut said)?;
        let length = file.metadata()?.len();
        if length > MOST {
            file.seek(SeekFrom::Start(length.saturating_sub(MOST).max(MOST)))?;
            file.read_to_end(&mut said)?;
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn end_of(said: &str) -> String {
    let lines: Vec<&str> = said.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The seconds of a service's summary: "… in 1.234 s, …".
#[must_use]
pub fn seconds(said: &str) -> Option<f64> {
    let line = said.lines().rfind(|line| line.contains(" records/s"))?;
    let (_, after) = line.rsplit_once(" in ")?;
    after.split_once(" s,")?.0.parse().ok()
}

fn json(said: &str) -> Option<Reported> {
    said.lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_found_in_what_a_service_or_a_script_says() {
        let said = "x INFO starting in 3 s, perhaps\n\
                    x INFO 150 records in 10.250 s, 15 records/s: 150 predictions, 4 mispredicted\nx INFO bye\n";
        assert_eq!(seconds(said), Some(10.25));
        assert_eq!(seconds("nothing"), None);
        let said = "a line\n{\"records\": 10, \"seconds\": 0.5}\n";
        assert_eq!(json(said).map(|reported| reported.records), Some(10));
    }
}
