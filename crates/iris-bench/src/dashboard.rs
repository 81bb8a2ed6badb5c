//! What the dashboard takes while a classifier works as fast as it can and somebody looks at the page.

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
use crate::ground::{Backlog, Ground};
use crate::process::Measured;

/// The longest that a step may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the dashboard took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DashboardLoad {
    /// Records a second that were classified meanwhile, by committed offsets.
    pub records_per_second: f64,
    /// The share of a core, from 0 to 1.
    pub core_share: f64,
    /// The most memory that was resident at a time, in bytes.
    pub peak_rss_bytes: u64,
    /// What was sent to the page, in bytes a second.
    pub sent_bytes_per_second: f64,
}

/// Has a classifier do a backlog, as it is shipped, with the dashboard beside it.
///
/// # Errors
/// If one of them cannot be started or ends badly.
pub fn load(ground: &Ground, backlog: &Backlog) -> anyhow::Result<DashboardLoad> {
    let contender = Contender::Ours(Ours::writing(Output::PredictionsWithProvenance));
    let fixture = ground.fixture(&backlog.topic, &contender.settings())?;
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let command = fixture.command("iris-dashboard", &["--listen", &listen]);
    let mut dashboard = Measured::start("dashboard", command, fixture.directory())?;
    eventually("the page to be served", PATIENCE, || {
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

    let command = contender.command(ground, &fixture, backlog)?;
    let mut classifier = Measured::start("run", command, fixture.directory())?;
    let offsets = GroupOffsets::open(&ground.kafka(), &fixture.classifier_group(), &backlog.topic)?;
    let done = || -> Option<u64> {
        let committed: i64 = offsets.committed().ok()?.values().sum();
        Some(committed.unsigned_abs())
    };
    let begun = eventually("the first commit", PATIENCE, || {
        done().filter(|&done| done > 0)
    })?;
    let (started, before) = (Instant::now(), dashboard.usage());
    eventually("the backlog to be done", PATIENCE, || {
        done().filter(|&done| done >= backlog.records)
    })?;
    let (seconds, after) = (started.elapsed().as_secs_f64(), dashboard.usage());
    classifier.terminate()?;
    dashboard.terminate()?;
    let sent = looking.join().ok().context("reading the stream panicked")?;
    ground.clear(&fixture)?;
    Ok(DashboardLoad {
        records_per_second: (backlog.records - begun) as f64 / seconds,
        core_share: (after.cpu_seconds - before.cpu_seconds) / seconds,
        peak_rss_bytes: after.peak_rss_bytes,
        sent_bytes_per_second: sent as f64 / seconds,
    })
}
