//! Part 2: the sensor shifts, labels come late, and the loop recovers.

use iris_testkit::Fixture;
use serde::Serialize;

use crate::pipeline::{Classifiers, Trainer, drift_events, models};
use crate::sensor::{SHIFT, Sensor};
use crate::stream::{Served, accuracy};

/// The number of records over which accuracy is computed.
const WINDOW: usize = 300;

/// The number of records within which the loop must recover.
const RECOVERY: usize = 600;

/// The accuracy from which on the loop has recovered.
const RECOVERED: f64 = 0.95;

const SETTINGS: &str = "[trainer]\nretrain_after_rows = 30\non_drift = \"retrain\"\n";

/// The figures of part 2.
#[derive(Serialize)]
pub(crate) struct DriftFigures {
    accuracy_before: f64,
    accuracy_fallen: f64,
    drift_events: Vec<String>,
    records_to_recover: Option<usize>,
    accuracy_recovered: f64,
    promotions: usize,
}

/// Shifts the sensor while the classifiers and the trainer run.
pub(crate) fn shift(fixture: &Fixture) -> anyhow::Result<DriftFigures> {
    fixture.set(SETTINGS)?;
    let _classifiers = Classifiers::start(fixture)?;
    let trainer = Trainer::start(fixture)?;
    let mut sensor = Sensor::start(fixture, &trainer)?;

    println!("\nThe sensor measures {WINDOW} flowers; labels follow at once.");
    sensor.measure(WINDOW, false, true)?;
    let accuracy_before = accuracy(&sensor.stream.served()?);
    println!("accuracy {accuracy_before:.4}");
    println!(
        "It shifts: petals measure {} cm longer and {} cm wider; {WINDOW} flowers without labels.",
        SHIFT.0, SHIFT.1
    );
    sensor.measure(WINDOW, true, false)?;
    let accuracy_fallen = accuracy(&sensor.stream.served()?[WINDOW..]);
    println!("accuracy {accuracy_fallen:.4}");
    println!("Their labels arrive now; {RECOVERY} more flowers, whose labels follow at once.");
    for id in WINDOW..2 * WINDOW {
        sensor.stream.label(id)?;
    }
    sensor.measure(RECOVERY, true, true)?;
    let (records_to_recover, accuracy_recovered) = recovery(&sensor.stream.served()?[2 * WINDOW..]);

    let drift_events = drift_events(&trainer.stop()?);
    sensor.stream.finish()?;
    let promotions = promotions(fixture)?;
    println!("{promotions} challengers were promoted.");
    Ok(DriftFigures {
        accuracy_before,
        accuracy_fallen,
        drift_events,
        records_to_recover,
        accuracy_recovered,
        promotions,
    })
}

/// Returns the number of records after which the loop has recovered, and the accuracy at the end.
fn recovery(served: &[Served]) -> (Option<usize>, f64) {
    let window = |end: usize| accuracy(&served[end - WINDOW..end]);
    let recovered = (WINDOW..=RECOVERY).find(|&end| window(end) > RECOVERED);
    let at_the_end = window(RECOVERY);
    match recovered {
        Some(records) => println!(
            "accuracy of the latest {WINDOW} flowers above {RECOVERED} after {records} of the {RECOVERY}, and {at_the_end:.4} at \
             the end"
        ),
        None => println!("accuracy {at_the_end:.4} at the end: not recovered"),
    }
    (recovered, at_the_end)
}

fn promotions(fixture: &Fixture) -> anyhow::Result<usize> {
    let decisions = models(fixture, &["list"])?["decisions"].clone();
    let is_promotion = |decision: &&serde_json::Value| decision["action"] == "promoted";
    Ok(decisions
        .as_array()
        .map_or(0, |decisions| decisions.iter().filter(is_promotion).count()))
}
