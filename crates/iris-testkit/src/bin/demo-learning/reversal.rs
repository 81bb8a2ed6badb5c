//! Part 3: the classes swap their names, and the loop recovers at the default settings of the trainer.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use fastrand::Rng;
use iris_core::Schema;
use iris_testkit::Fixture;
use serde::Serialize;

use crate::pipeline::{Classifiers, Trainer, drift_events};
use crate::stream::{Pace, Served, Stream, accuracy};

/// The number of rows of the dataset.
const ROWS: usize = 500;

/// The number of records before the classes swap their names.
const BEFORE: usize = 600;

/// The number of records after that.
const AFTER: usize = 900;

/// The number of records over which accuracy is computed.
const WINDOW: usize = 300;

/// The loop has recovered when accuracy is less than this below its former value.
const TOLERANCE: f64 = 0.03;

/// How fast the records are sent.
const PACE: Pace = Pace {
    interval: Duration::from_millis(4),
    backlog: 50,
};

/// The figures of part 3. Records are counted from the swap on.
#[derive(Serialize)]
pub(crate) struct ReversalFigures {
    accuracy_before: f64,
    accuracy_reversed: f64,
    drift_events: Vec<String>,
    records_to_alarm: usize,
    records_to_promotion: usize,
    promoted_rows: usize,
    records_to_recover: Option<usize>,
    accuracy_recovered: f64,
    elapsed_s: f64,
}

/// Swaps the names of the classes while the classifiers and the trainer run.
pub(crate) fn reverse(fixture: &Fixture) -> anyhow::Result<ReversalFigures> {
    let started = Instant::now();
    let mut points = Points(Rng::with_seed(1));
    points.set_dataset(fixture)?;
    let _classifiers = Classifiers::start(fixture)?;
    let trainer = Trainer::start(fixture)?;
    let mut stream = Stream::start(fixture, schema(), &trainer, PACE)?;

    println!(
        "\nA model of points above and below a curve classifies {BEFORE} more points; labels follow at once."
    );
    for _ in 0..BEFORE {
        let (features, is_above) = points.draw();
        stream.send(&features, class(is_above), true)?;
    }
    let accuracy_before = accuracy(&stream.served()?[BEFORE - WINDOW..]);
    println!("accuracy of the latest {WINDOW} points {accuracy_before:.4}");
    println!("The classes swap their names; {AFTER} more points, whose labels follow at once.");
    for _ in 0..AFTER {
        let (features, is_above) = points.draw();
        stream.send(&features, class(!is_above), true)?;
    }
    let served = stream.served()?;
    let served = &served[BEFORE..];
    let log = trainer.stop()?;
    stream.finish()?;

    let drift_events = drift_events(&log);
    let records_to_alarm = records_to_alarm(&drift_events)?;
    let (records_to_promotion, promoted_rows) = promotion(served, &log)?;
    let accuracy_reversed = accuracy(&served[..records_to_promotion]);
    println!(
        "alarm after {records_to_alarm} points; a model of the {promoted_rows} newest rows is served after {records_to_promotion}; \
         accuracy until then {accuracy_reversed:.4}"
    );
    let (records_to_recover, accuracy_recovered) = recovery(served, accuracy_before);
    Ok(ReversalFigures {
        accuracy_before,
        accuracy_reversed,
        drift_events,
        records_to_alarm,
        records_to_promotion,
        promoted_rows,
        records_to_recover,
        accuracy_recovered,
        elapsed_s: started.elapsed().as_secs_f64(),
    })
}

/// The columns of the points.
fn schema() -> Schema {
    Schema {
        id: "Id".to_owned(),
        features: vec!["x".to_owned(), "y".to_owned()],
        label: "Class".to_owned(),
    }
}

fn class(is_above: bool) -> &'static str {
    if is_above { "above" } else { "below" }
}

/// Random points in the unit square.
struct Points(Rng);

impl Points {
    /// Draws a point. Returns its coordinates, and whether it is above the curve.
    fn draw(&mut self) -> ([f64; 2], bool) {
        let (x, y) = (self.0.f64(), self.0.f64());
        ([x, y], y > 0.5 + 0.3 * (TAU * x).sin())
    }

    /// Writes the dataset, and the settings that name it.
    fn set_dataset(&mut self, fixture: &Fixture) -> anyhow::Result<()> {
        let mut rows = String::from("Id,x,y,Class\n");
        for id in 0..ROWS {
            let ([x, y], is_above) = self.draw();
            writeln!(rows, "{id},{x},{y},{}", class(is_above))?;
        }
        let path = fixture.directory().join("points.csv");
        fs::write(&path, rows)?;
        let path = path.display();
        fixture.set(&format!(
            "[dataset]\npath = \"{path}\"\nfeatures = [\"x\", \"y\"]\nlabel = \"Class\"\n"
        ))
    }
}

/// Returns the number of records after which the loop has recovered, and the accuracy at the end.
fn recovery(served: &[Served], accuracy_before: f64) -> (Option<usize>, f64) {
    let window = |end: usize| accuracy(&served[end - WINDOW..end]);
    let recovered = (WINDOW..=AFTER).find(|&end| window(end) > accuracy_before - TOLERANCE);
    let at_the_end = window(AFTER);
    match recovered {
        Some(records) => println!(
            "accuracy of the latest {WINDOW} points less than {TOLERANCE} below its former value after {records} of the {AFTER}, and \
             {at_the_end:.4} at the end"
        ),
        None => println!("accuracy {at_the_end:.4} at the end: not recovered"),
    }
    (recovered, at_the_end)
}

/// Returns the number of labelled records since the change that the trainer's alarm names.
fn records_to_alarm(events: &[String]) -> anyhow::Result<usize> {
    let number = |event: &String| {
        let (_, tail) = event.split_once("over the newest ")?;
        tail.split_once(' ')?.0.parse().ok()
    };
    let number = events.iter().find_map(number);
    number.context("no alarm of the error rate")
}

/// Returns the number of records before the first one that was classified by a model that was promoted after the alarm, and the
/// number of rows of this model.
fn promotion(served: &[Served], log: &[String]) -> anyhow::Result<(usize, usize)> {
    let alarm = log.iter().position(|line| line.contains("drift: "));
    let promoted: BTreeMap<&str, usize> = log[alarm.context("no alarm")?..]
        .iter()
        .filter_map(|line| {
            let (version, verdict) = line.split_once("promoted ")?.1.split_once(':')?;
            let (_, training) = verdict.split_once("trained on ")?;
            Some((version, training.split_once(' ')?.0.parse().ok()?))
        })
        .collect();
    let first = served
        .iter()
        .enumerate()
        .find_map(|(records, served)| Some((records, *promoted.get(&*served.version)?)));
    first.context("no model that was promoted after the alarm was served")
}
