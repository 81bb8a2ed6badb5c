//! Part 1: the paper's rows in rounds, and a rollback.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use iris_kafka::StoredRecord;
use iris_testkit::{Fixture, dataset, eventually};
use serde::Serialize;

use crate::pipeline::{
    Classifiers, TIMEOUT, champion, holdout_accuracy, model_version, models, predictions, succeed,
    value,
};

/// The number of rounds before the rollback.
const ROUNDS: usize = 4;

/// The number of rows of the dataset.
const ROWS: usize = 150;

/// The time limit for all classifiers to serve a new champion.
const ROLLBACK_TIME_LIMIT: Duration = Duration::from_secs(5);

const SETTINGS: &str = "[trainer]\npolicy = \"append\"\nlearn = \"errors\"\nholdout_ratio = 0\npromotion_margin = 0.05\n";

/// The figures of one round.
#[derive(Serialize)]
pub(crate) struct Round {
    round: usize,
    model_version: String,
    mispredicted_ids: Vec<u64>,
    holdout_accuracy: f64,
}

/// The figures of the rollback and of the round after it.
#[derive(Serialize)]
pub(crate) struct Rollback {
    seconds_until_served: f64,
    round: Round,
}

/// The figures of part 1.
pub(crate) struct Replayed {
    pub(crate) rounds: Vec<Round>,
    pub(crate) versions: usize,
    pub(crate) rollback: Rollback,
}

/// Replays the rows in rounds with a training after each, rolls the champion back, and replays the rows once more.
pub(crate) fn replay(fixture: &Fixture) -> anyhow::Result<Replayed> {
    fixture.set(SETTINGS)?;
    let classifiers = Classifiers::start(fixture)?;
    println!("round   model version      mispredictions   holdout accuracy");
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        rounds.push(round(fixture, number)?);
        succeed("iris-trainer", fixture.run("iris-trainer", &["--once"])?)?;
        classifiers.await_line(&format!("serving model {}", champion(fixture)?))?;
    }
    let listed = fixture.run("iris-admin", &["models", "list"])?;
    let listed = succeed("iris-admin", listed)?;
    println!("\n$ iris-admin models list\n{}", listed.stdout);

    let versions = models(fixture, &["list"])?["models"]
        .as_array()
        .map_or(0, Vec::len);
    let predecessor = rounds[ROUNDS - 2].model_version.clone();
    let served = roll_back(fixture, &classifiers, &predecessor)?;
    let rollback = Rollback {
        seconds_until_served: served.as_secs_f64(),
        round: round(fixture, ROUNDS + 1)?,
    };
    Ok(Replayed {
        rounds,
        versions,
        rollback,
    })
}

/// Streams the rows once, and waits for their predictions, which must all be by one model.
fn round(fixture: &Fixture, round: usize) -> anyhow::Result<Round> {
    let before = fixture.records(&fixture.topics.predictions)?;
    let seen: BTreeMap<i32, i64> = before.iter().map(|r| (r.partition, r.offset)).collect();
    let file = dataset("iris.csv").display().to_string();
    let args = ["--file", &file, "--interval-ms", "0"];
    succeed("iris-producer", fixture.run("iris-producer", &args)?)?;
    let new: Vec<StoredRecord> = predictions(fixture, before.len() + ROWS)?
        .into_iter()
        .filter(|r| seen.get(&r.partition).is_none_or(|&last| r.offset > last))
        .collect();
    let version = model_version(new.first().context("no predictions")?)?;
    let mut mispredicted_ids = Vec::new();
    for record in &new {
        ensure!(
            model_version(record)? == version,
            "two models made the predictions of one round"
        );
        let value = value(record)?;
        if value["Species"] != value["PredictedSpecies"] {
            mispredicted_ids.push(value["Id"].as_u64().context("a record without an id")?);
        }
    }
    mispredicted_ids.sort_unstable();
    let round = Round {
        round,
        mispredicted_ids,
        holdout_accuracy: holdout_accuracy(fixture, &version)?,
        model_version: version,
    };
    println!(
        "{:>5}   {}   {:>14}   {:>16.4}",
        round.round,
        round.model_version,
        round.mispredicted_ids.len(),
        round.holdout_accuracy
    );
    Ok(round)
}

/// Rolls the champion back. Returns how long it takes until every classifier serves its predecessor.
fn roll_back(
    fixture: &Fixture,
    classifiers: &Classifiers,
    predecessor: &str,
) -> anyhow::Result<Duration> {
    let before = classifiers.times_served(predecessor);
    let started = Instant::now();
    let reason = "to see the old figures again";
    models(fixture, &["rollback", "--reason", reason])?;
    eventually("every classifier to serve the predecessor", TIMEOUT, || {
        let now = classifiers.times_served(predecessor);
        let serves = now.iter().zip(&before).all(|(now, before)| now > before);
        serves.then_some(())
    })?;
    let served = started.elapsed();
    ensure!(served < ROLLBACK_TIME_LIMIT, "the rollback took {served:?}");
    println!(
        "Rolled back to {predecessor}, served by every classifier after {:.2} s:",
        served.as_secs_f64()
    );
    Ok(served)
}
