//! Measures a trainer behind classifiers that work at their full rate.
//!
//! Records are sent as fast as the classifiers process them, so that their timestamps are those of the load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_kafka::{GroupOffsets, Headers, OutgoingRecord};
use iris_testkit::Sender;

use super::fleet::Fleet;
use super::full_load::settings;
use super::results::{TrainerLoad, TrainerMoment};
use super::stage::{Programs, Stage};
use crate::testbed::{NAME, PARTITIONS, Testbed};

/// The trainer's setting, smaller than the default so that the load lasts several times as long.
const MAX_LAG_MS: u64 = 15_000;

/// The number of records that are sent before the classifiers have processed them: they always have input.
const LEAD: u64 = 300_000;

/// The number of records between two looks at the lead.
const CHUNK: u64 = 5_000;

/// How often the classifiers' progress is read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How often the trainer's metrics are read.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the trainer may take after the load has ended.
const CATCH_UP: Duration = Duration::from_secs(45);

/// How long the last records may take to be delivered.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures a trainer for some seconds.
///
/// # Errors
/// If a step fails or takes too long.
pub fn run(testbed: &Testbed, seconds: u64) -> anyhow::Result<TrainerLoad> {
    let settings = format!("{}\n[trainer]\nmax_lag_ms = {MAX_LAG_MS}\n", settings(2));
    let stage = Stage::set(
        testbed,
        PARTITIONS,
        Programs::ClassifiersAndTrainer,
        &settings,
    )?;
    let fixture = &stage.fixture;
    let mut classifiers = Fleet::classifiers(fixture, 1)?;
    classifiers.await_ready()?;
    let command = fixture.command("iris-trainer", &[]);
    let mut trainer = Fleet::start("trainer", [command], fixture.directory())?;
    trainer.await_ready()?;
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let mut load = thread::scope(|scope| {
        let sender = scope.spawn(|| send_ahead(testbed, &stage, &done, &stop));
        let load = observe(testbed, &stage, &mut trainer, (began, seconds), &done);
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join();
        sent.map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        load
    })?;
    classifiers.check()?;
    load.caught_up_s = catch_up(&trainer, began, &mut load.moments)?;
    trainer.terminate()?;
    classifiers.terminate()?;
    stage.clear()?;
    Ok(load)
}

/// Reads the trainer's metrics during the load.
fn observe(
    testbed: &Testbed,
    stage: &Stage<'_>,
    trainer: &mut Fleet,
    (began, seconds): (Instant, u64),
    done: &AtomicU64,
) -> anyhow::Result<TrainerLoad> {
    let fixture = &stage.fixture;
    let group = fixture.classifier_group();
    let offsets = GroupOffsets::open(&testbed.kafka(), &group, &fixture.topics.input)?;
    let cpu = trainer.cpu_seconds();
    let mut moments = Vec::new();
    let mut next = began;
    while began.elapsed() < Duration::from_secs(seconds) {
        let committed = offsets.committed()?.values().sum::<i64>().unsigned_abs();
        done.store(committed, Ordering::Relaxed);
        if Instant::now() >= next {
            moments.push(moment(trainer, began)?);
            next += SAMPLE_INTERVAL;
        }
        trainer.check().context("the trainer")?;
        thread::sleep(POLL_INTERVAL);
    }
    let lasted = began.elapsed().as_secs_f64();
    Ok(TrainerLoad {
        max_lag_ms: MAX_LAG_MS,
        seconds: lasted,
        records_per_second: done.load(Ordering::Relaxed) as f64 / lasted,
        trainer_cores: (trainer.cpu_seconds() - cpu) / lasted,
        moments,
        caught_up_s: None,
    })
}

/// Waits until the trainer has read everything, and adds the last moment. Returns how long that took, in seconds; `None` if it
/// took too long.
fn catch_up(
    trainer: &Fleet,
    began: Instant,
    moments: &mut Vec<TrainerMoment>,
) -> anyhow::Result<Option<f64>> {
    let ended = Instant::now();
    while ended.elapsed() < CATCH_UP {
        let now = moment(trainer, began)?;
        moments.push(now);
        if now.lag_s == 0.0 {
            return Ok(Some(ended.elapsed().as_secs_f64()));
        }
        thread::sleep(SAMPLE_INTERVAL);
    }
    Ok(None)
}

fn moment(trainer: &Fleet, began: Instant) -> anyhow::Result<TrainerMoment> {
    const OF_PREDICTIONS: &str = "kind=\"prediction\"";
    let metrics = trainer.metrics()?;
    let lag = metrics.largest("iris_consumer_lag_seconds", "predictions\"");
    let ratio = metrics.largest("iris_trainer_sample_ratio", "");
    Ok(TrainerMoment {
        second: began.elapsed().as_secs_f64(),
        lag_s: lag.unwrap_or(0.0),
        sample_ratio: ratio.unwrap_or(1.0),
        read: metrics.sum("iris_trainer_records_read_total", OF_PREDICTIONS),
        left_out: metrics.sum("iris_trainer_records_left_out_total", OF_PREDICTIONS),
    })
}

/// Sends records until `stop` is set, at most [`LEAD`] before the number that is `done`. Each has an id of its own, because the
/// trainer takes its sample by id.
fn send_ahead(
    testbed: &Testbed,
    stage: &Stage<'_>,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let sender = Sender::start(&testbed.kafka(), NAME)?;
    let members = testbed.members()?;
    let mut turns = members.iter().cycle().zip((0..stage.partitions).cycle());
    let topic = &stage.fixture.topics.input;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        if sent >= done.load(Ordering::Relaxed) + LEAD {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let ids = sent..sent + CHUNK;
        for (id, (members, partition)) in ids.zip(turns.by_ref()) {
            let value = format!("{{\"Id\":{id},{members}");
            sender.send(|| OutgoingRecord {
                topic,
                partition: Some(partition),
                timestamp: None,
                key: None,
                value: Some(value.as_bytes()),
                headers: Headers::default(),
            })?;
        }
        sent += CHUNK;
    }
    sender.finish(DELIVERY_TIMEOUT)
}
