//! Measures the sink with each kind of store.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use iris_bench::output;
use iris_bench::plan::Plan;
use iris_bench::process::MeasuredProcess;
use iris_bench::summary::{BenchSummary, Spread};
use iris_bench::testbed::{Backlog, Testbed};
use iris_kafka::{GroupOffsets, Headers};
use iris_testkit::{Local, Server, eventually};

/// The number of feedback records.
const FEEDBACK: u64 = 500_000;

/// How long the sink may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Measures the sink with each kind of store.
pub(crate) fn measure(
    testbed: &Testbed,
    plan: &Plan,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    let topic = "bench-feedback";
    let values: Vec<Vec<u8>> = testbed.values.iter().map(|value| feedback(value)).collect();
    let provenance = "00-0123456789abcdef-0-0-0.2.3";
    let headers = Headers::default().set(iris_contract::PROVENANCE_HEADER, provenance);
    let backlog = testbed.fill(topic, &values, &headers, FEEDBACK)?;
    let mut postgres = Local::start(Server::Postgres, &testbed.directory.join("postgres"))?;
    let server = format!("postgres://iris@localhost:{}/postgres", postgres.port());
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for run in 1..=plan.runs {
        let file = testbed.directory.join(format!("feedback-{run}.db"));
        let stores = [
            ("SQLite", format!("sqlite://{}", file.display())),
            ("PostgreSQL", fresh_database(&server, run)?),
        ];
        for (name, store) in stores {
            let rate = store_all(testbed, &backlog, &store)?;
            println!("run {run}: the sink into {name}: {rate:.0} rows/s");
            rates.entry(name).or_default().push(rate);
        }
    }
    postgres.stop();
    testbed.delete(&[topic])?;
    summary.sink = rates
        .into_iter()
        .filter_map(|(name, rates)| Some((name.to_owned(), Spread::of(rates)?)))
        .collect();
    Ok(())
}

/// Returns the value of a feedback record, as the classifier writes it.
fn feedback(value: &[u8]) -> Vec<u8> {
    let open = value.strip_suffix(b"}").unwrap_or(value);
    [open, br#","PredictedSpecies":"Iris-virginica"}"#].concat()
}

fn fresh_database(server: &str, run: usize) -> anyhow::Result<String> {
    iris_testkit::create_database(server, &format!("bench_{run}"))
}

/// Runs the sink until it has stored a backlog. Returns rows per second.
fn store_all(testbed: &Testbed, backlog: &Backlog, store: &str) -> anyhow::Result<f64> {
    let settings = "[telemetry]\nlog = \"info,record=off\"\n";
    let mut fixture = testbed.fixture("bench-none", settings)?;
    testbed.clear(&fixture)?;
    fixture.topics.feedback = backlog.topic.clone();
    fixture.set(settings)?;
    let command = fixture.command("iris-feedback-sink", &["--store", store]);
    let mut process = MeasuredProcess::start("run", command, fixture.directory())?;
    let group = format!("{}-sink", fixture.name());
    let offsets = GroupOffsets::open(&testbed.kafka(), &group, &backlog.topic)?;
    eventually("the sink to store everything", TIMEOUT, || {
        let done: i64 = offsets.committed().ok()?.values().sum();
        (done.unsigned_abs() >= backlog.records).then_some(())
    })?;
    process.terminate()?;
    let text = output::read(&fixture)?;
    let seconds =
        output::seconds(&text).with_context(|| format!("the sink printed no rate: {text}"))?;
    Ok(backlog.records as f64 / seconds)
}
