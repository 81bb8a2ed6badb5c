//! Measures the dashboard while a classifier works at full speed and a browser shows the page.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_kafka::GroupOffsets;
use iris_testkit::{eventually, free_port, get};
use serde::Serialize;

use crate::contender::{Contender, Ours, Output};
use crate::process::MeasuredProcess;
use crate::testbed::{Backlog, Testbed};

/// How long a step may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The resources that the dashboard used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DashboardLoad {
    /// Records per second that the classifier processed meanwhile, by committed offsets.
    pub records_per_second: f64,
    /// The share of a core, from 0 to 1.
    pub core_share: f64,
    /// The peak resident memory, in bytes.
    pub peak_rss_bytes: u64,
    /// Bytes per second sent to the page.
    pub sent_bytes_per_second: f64,
}

/// Runs a classifier with its default settings over a backlog, with the dashboard beside it.
///
/// # Errors
/// If a process cannot be started or fails.
pub fn load(testbed: &Testbed, backlog: &Backlog) -> anyhow::Result<DashboardLoad> {
    let contender = Contender::Ours(Ours::writing(Output::PredictionsWithProvenance));
    let fixture = testbed.fixture(&backlog.topic, &contender.settings())?;
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let command = fixture.command("iris-dashboard", &["--listen", &listen]);
    let mut dashboard = MeasuredProcess::start("dashboard", command, fixture.directory())?;
    eventually("the page to be served", TIMEOUT, || {
        get(port, "/").filter(|(status, _)| *status == 200)
    })?;
    let mut stream = TcpStream::connect(&listen)?;
    write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let looking = thread::spawn(move || {
        let (mut sent, mut buffer) = (0, [0; 1 << 16]);
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            sent += bytes;
        }
        sent
    });

    let command = contender.command(testbed, &fixture, backlog)?;
    let mut classifier = MeasuredProcess::start("run", command, fixture.directory())?;
    let offsets = GroupOffsets::open(
        &testbed.kafka(),
        &fixture.classifier_group(),
        &backlog.topic,
    )?;
    let done = || -> Option<u64> {
        let committed: i64 = offsets.committed().ok()?.values().sum();
        Some(committed.unsigned_abs())
    };
    let begun = eventually("the first commit", TIMEOUT, || {
        done().filter(|&done| done > 0)
    })?;
    let (started, before) = (Instant::now(), dashboard.usage());
    eventually("the backlog to be processed", TIMEOUT, || {
        done().filter(|&done| done >= backlog.records)
    })?;
    let (seconds, after) = (started.elapsed().as_secs_f64(), dashboard.usage());
    classifier.terminate()?;
    dashboard.terminate()?;
    let sent = looking.join().ok().context("reading the stream panicked")?;
    testbed.clear(&fixture)?;
    Ok(DashboardLoad {
        records_per_second: (backlog.records - begun) as f64 / seconds,
        core_share: (after.cpu_seconds - before.cpu_seconds) / seconds,
        peak_rss_bytes: after.peak_rss_bytes,
        sent_bytes_per_second: sent as f64 / seconds,
    })
}
