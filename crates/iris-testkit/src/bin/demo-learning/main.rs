//! Runs the learning loop on a real Kafka.
//!
//! Part 1 replays the paper's 150 rows in rounds. The trainer learns from each round's mispredictions; then the champion is
//! rolled back, and the next round has the earlier figures again. In part 2 the sensor shifts, accuracy falls, labels come
//! late, and the loop recovers without intervention. In part 3 the classes swap their names, and it recovers again, with the
//! default settings of the trainer.
//!
//! Prints tables and writes the figures to `target/demo/learning.json`.

mod drift;
mod pipeline;
mod reversal;
mod rounds;
mod sensor;
mod stream;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use iris_testkit::{Broker, Fixture, demo_directory, workspace};
use serde::Serialize;

use drift::DriftFigures;
use reversal::ReversalFigures;
use rounds::{Rollback, Round};

/// The figures of all parts.
#[derive(Serialize)]
struct LearningSummary {
    broker: String,
    rounds: Vec<Round>,
    versions: usize,
    rollback: Rollback,
    drift: DriftFigures,
    reversal: ReversalFigures,
    elapsed_s: f64,
}

fn main() -> ExitCode {
    iris_service::exit(demo())
}

fn demo() -> anyhow::Result<()> {
    let directory = demo_directory();
    let data = directory.join("learning");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let started = Instant::now();
    let broker = Broker::obtain(&data)?;
    println!("broker: {}\n", broker.description);
    let replayed = on_new_topics(&broker, rounds::replay)?;
    let drift = on_new_topics(&broker, drift::shift)?;
    let reversal = on_new_topics(&broker, reversal::reverse)?;
    let summary = LearningSummary {
        broker: broker.description.clone(),
        rounds: replayed.rounds,
        versions: replayed.versions,
        rollback: replayed.rollback,
        drift,
        reversal,
        elapsed_s: started.elapsed().as_secs_f64(),
    };
    let text = serde_json::to_string_pretty(&summary)?;
    let file = directory.join("learning.json");
    fs::write(&file, &text)?;
    let shown = file.strip_prefix(workspace()).unwrap_or(&file);
    println!("\nThe figures are in {}", shown.display());
    Ok(())
}

/// Runs a part on topics of its own, and deletes them if the broker stays.
fn on_new_topics<T>(
    broker: &Broker,
    part: impl FnOnce(&Fixture) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let fixture = Fixture::for_broker(&broker.bootstrap_servers)?;
    fixture.create_topics()?;
    let result = part(&fixture);
    if !broker.is_own {
        fixture.run("iris-admin", &["topics", "delete", "--yes"])?;
    }
    result
}
