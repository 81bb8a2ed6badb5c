//! Measures the pipeline beside its limits and its peers: `make bench`.
//!
//! Writes `target/bench/summary.json`, `summary.md` and `throughput.svg`, after each part, so that a run that is
//! interrupted is not for nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use iris_bench::contender::{Contender, Ours, Output};
use iris_bench::dashboard;
use iris_bench::ground::{Backlog, Ground};
use iris_bench::latency::{self, Latency};
use iris_bench::plan::{self, Entry, Input, Plan, ours};
use iris_bench::plot;
use iris_bench::process::Measured;
use iris_bench::summary::{Point, Spread, Summary, Throughput, UnderLoad};
use iris_bench::throughput::{self, Sample, seconds};
use iris_kafka::{GroupOffsets, Headers};
use iris_testkit::{Local, Server, eventually, workspace};

/// The backlog on which memory is looked at.
const LONG_BACKLOG: u64 = 10_000_000;

/// Measures the sink and nothing else, as `BENCH_ONLY`.
const SINK: &str = "sink";

/// Measures memory on a long backlog and the dashboard beside it, and nothing else, as `BENCH_ONLY`.
const LONG: &str = "long backlog";

/// Feedback records for the sink.
const FEEDBACK: u64 = 500_000;

/// The longest that the sink may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> anyhow::Result<()> {
    let plan = Plan::from_environment()?;
    let directory = workspace().join("target/bench/run");
    let _ = fs::remove_dir_all(&directory);
    let ground = Ground::prepare(&directory)?;
    let mut summary = Summary {
        date: output(Command::new("date").arg("+%Y-%m-%d"))?,
        machine: machine()?,
        broker: ground
            .description()
            .split(',')
            .next()
            .unwrap_or_default()
            .to_owned(),
        versions: versions(plan.peers)?,
        records: plan.records,
        runs: plan.runs,
        ..Summary::default()
    };
    println!("{}; {}", ground.description(), summary.machine);
    match plan.only.as_str() {
        SINK => {
            measure_sink(&ground, &plan, &mut summary)?;
            return write(&mut summary);
        }
        LONG => {
            measure_long_backlog(&ground, &mut summary)?;
            return write(&mut summary);
        }
        _ => {}
    }

    let backlog = ground.fill(
        "bench-backlog",
        &ground.values,
        &Headers::default(),
        plan.records,
    )?;
    measure_throughput(&ground, &plan.throughput(), |_| &backlog, &mut summary)?;
    write(&mut summary)?;
    measure_disturbed(&ground, &plan, &mut summary)?;
    write(&mut summary)?;
    if !plan.only.is_empty() {
        println!("\n{}", summary.tables());
        return Ok(());
    }
    measure_producer(&ground, &plan, &mut summary)?;
    measure_curve(&ground, &backlog, &mut summary)?;
    ground.delete(&[&backlog.topic])?;
    write(&mut summary)?;
    measure_latency(&ground, &plan, &mut summary)?;
    write(&mut summary)?;
    measure_start(&ground, &plan, &mut summary)?;
    measure_sink(&ground, &plan, &mut summary)?;
    measure_long_backlog(&ground, &mut summary)?;
    write(&mut summary)?;
    println!("\n{}", summary.tables());
    println!("target/bench/summary.json has all of it");
    Ok(())
}

/// Each contender in turn, over and over, on the backlog of its input.
fn measure_throughput<'a>(
    ground: &Ground,
    entries: &[Entry],
    backlog: impl Fn(Input) -> &'a Backlog,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for run in 1..=summary.runs {
        for entry in entries {
            let part = Backlog {
                records: entry.records,
                ..backlog(entry.input).clone()
            };
            let sample = throughput::run(ground, &part, entry.contender)?;
            let rate = sample.observed.or(sample.reported).unwrap_or(0.0);
            println!("run {run}: {}: {rate:.0} records/s", entry.name);
            samples.entry(entry.name).or_default().push(sample);
        }
    }
    let measured = entries
        .iter()
        .filter_map(|entry| Some(Throughput::of(entry.name, samples.remove(entry.name)?)));
    summary.throughput.extend(measured);
    Ok(())
}

/// With new champions on the way, with garbage among the records, and without either.
fn measure_disturbed(ground: &Ground, plan: &Plan, summary: &mut Summary) -> anyhow::Result<()> {
    let entries = plan.disturbed();
    if entries.is_empty() {
        return Ok(());
    }
    let none = Headers::default();
    let records = plan::DISTURBED_RECORDS;
    let fill = |topic, input| ground.fill(topic, &arranged(&ground.values, input), &none, records);
    let clean = fill("bench-clean", Input::Clean)?;
    let garbage = fill("bench-garbage", Input::WithGarbage)?;
    let backlog = |input| match input {
        Input::Clean => &clean,
        Input::WithGarbage => &garbage,
    };
    measure_throughput(ground, &entries, backlog, summary)?;
    ground.delete(&[&clean.topic, &garbage.topic])
}

/// The same records in an order that is the same in both cases, one of 101 of which can be classified or cannot. The order
/// matters: what repeats itself sooner is compressed better, and its branches are foreseen.
fn arranged(values: &[Vec<u8>], input: Input) -> Vec<Vec<u8>> {
    const BETWEEN: usize = 100;
    let garbage: [&[u8]; 5] = [
        b"",
        b"no json at all",
        b"{\"SepalLengthCm\":5.1}",
        b"\xff\xfe\xfd",
        b"{\"SepalLengthCm\":\"wide\",\"SepalWidthCm\":3,\"PetalLengthCm\":1,\"PetalWidthCm\":1}",
    ];
    let mut clean = values.iter().cycle().cloned();
    let mut records = Vec::new();
    for (garbage, value) in garbage.iter().cycle().zip(values) {
        records.extend(clean.by_ref().take(BETWEEN));
        records.push(match input {
            Input::Clean => value.clone(),
            Input::WithGarbage => garbage.to_vec(),
        });
    }
    records
}

/// The producer without a pause, beside the limit.
fn measure_producer(ground: &Ground, plan: &Plan, summary: &mut Summary) -> anyhow::Result<()> {
    let rows = ground.values.len() as u64;
    let rounds = plan.records / rows;
    let mut rates = Vec::new();
    for run in 1..=plan.runs {
        let input = format!("bench-produced-{run}");
        ground.create(&[&input])?;
        let fixture = ground.fixture(&input, "[telemetry]\nlog = \"info,record=off\"\n")?;
        let args = ["--interval-ms", "0", "--rounds", &rounds.to_string()];
        let command = fixture.command("iris-producer", &args);
        Measured::start("run", command, fixture.directory())?.finish(PATIENCE)?;
        let said = fs::read_to_string(fixture.directory().join("run.out"))?
            + &fs::read_to_string(fixture.directory().join("run.err"))?;
        let seconds = seconds(&said).with_context(|| format!("the producer said: {said}"))?;
        rates.push((rounds * rows) as f64 / seconds);
        ground.clear(&fixture)?;
        ground.delete(&[&input])?;
    }
    println!("the producer unpaced: {rates:.0?} records/s");
    summary.producer = Spread::of(rates);
    Ok(())
}

/// Throughput over the commit interval and the workers; latency over the commit interval.
fn measure_curve(ground: &Ground, backlog: &Backlog, summary: &mut Summary) -> anyhow::Result<()> {
    for workers in plan::WORKERS {
        for commit_ms in plan::COMMIT_INTERVALS {
            let contender = Contender::Ours(Ours {
                workers,
                commit_ms,
                ..Ours::writing(Output::Predictions)
            });
            let sample = throughput::run(ground, backlog, contender)?;
            let latency = (workers == 2)
                .then(|| latency::run(ground, contender, 10_000))
                .transpose()?;
            let rate = sample.reported.unwrap_or(0.0);
            println!("{workers} workers, commits of {commit_ms} ms: {rate:.0} records/s");
            summary.curve.push(Point {
                workers,
                commit_ms,
                rate,
                latency,
            });
        }
    }
    Ok(())
}

/// Each contender in turn under each load.
fn measure_latency(ground: &Ground, plan: &Plan, summary: &mut Summary) -> anyhow::Result<()> {
    for rate in plan::RATES {
        let contenders = plan.latency();
        let mut runs: BTreeMap<&str, Vec<Latency>> = BTreeMap::new();
        for run in 1..=plan.runs {
            for &(name, contender) in &contenders {
                let latency = latency::run(ground, contender, rate)?;
                println!(
                    "run {run}: {name} at {rate}/s: p50 {:.1} ms, p99 {:.1} ms",
                    latency.p50_ms, latency.p99_ms
                );
                runs.entry(name).or_default().push(latency);
            }
        }
        for (name, _) in contenders {
            let runs = runs.remove(name).unwrap_or_default();
            let median = |of: fn(&Latency) -> f64| {
                Spread::of(runs.iter().map(of)).map_or(0.0, |spread| spread.median)
            };
            summary.latency.push(UnderLoad {
                name: name.to_owned(),
                rate,
                latency: Latency {
                    p50_ms: median(|run| run.p50_ms),
                    p99_ms: median(|run| run.p99_ms),
                    p999_ms: median(|run| run.p999_ms),
                    max_ms: median(|run| run.max_ms),
                    records: runs.iter().map(|run| run.records).sum(),
                },
            });
        }
    }
    Ok(())
}

/// The first prediction, and the memory of an idle process.
fn measure_start(ground: &Ground, plan: &Plan, summary: &mut Summary) -> anyhow::Result<()> {
    let contender = ours(Output::PredictionsWithProvenance);
    let starts = (0..plan.runs)
        .map(|_| Ok(latency::first_prediction(ground, contender)?.as_secs_f64()))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    println!("start to first prediction: {starts:.2?} s");
    summary.first_prediction_s = Spread::of(starts);
    summary.idle = Some(latency::idle(ground, contender)?);
    Ok(())
}

/// The sink into each kind of store.
fn measure_sink(ground: &Ground, plan: &Plan, summary: &mut Summary) -> anyhow::Result<()> {
    let topic = "bench-feedback";
    let values: Vec<Vec<u8>> = ground.values.iter().map(|value| feedback(value)).collect();
    let provenance = "00-0123456789abcdef-0-0-0.2.3";
    let headers = Headers::default().set(iris_contract::PROVENANCE_HEADER, provenance);
    let backlog = ground.fill(topic, &values, &headers, FEEDBACK)?;
    let mut postgres = Local::start(Server::Postgres, &ground.directory.join("postgres"))?;
    let server = format!("postgres://iris@localhost:{}/postgres", postgres.port());
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for run in 1..=plan.runs {
        let file = ground.directory.join(format!("feedback-{run}.db"));
        let stores = [
            ("SQLite", format!("sqlite://{}", file.display())),
            ("PostgreSQL", fresh_database(&server, run)?),
        ];
        for (name, store) in stores {
            let rate = store_all(ground, &backlog, &store)?;
            println!("run {run}: the sink into {name}: {rate:.0} rows/s");
            rates.entry(name).or_default().push(rate);
        }
    }
    postgres.stop();
    ground.delete(&[topic])?;
    summary.sink = rates
        .into_iter()
        .filter_map(|(name, rates)| Some((name.to_owned(), Spread::of(rates)?)))
        .collect();
    Ok(())
}

/// A feedback record's value, as the classifier would write it.
fn feedback(value: &[u8]) -> Vec<u8> {
    let open = value.strip_suffix(b"}").unwrap_or(value);
    [open, br#","PredictedSpecies":"Iris-virginica"}"#].concat()
}

fn fresh_database(server: &str, run: usize) -> anyhow::Result<String> {
    iris_testkit::create_database(server, &format!("bench_{run}"))
}

/// Runs the sink until it has stored a backlog. Returns rows a second.
fn store_all(ground: &Ground, backlog: &Backlog, store: &str) -> anyhow::Result<f64> {
    let settings = "[telemetry]\nlog = \"info,record=off\"\n";
    let mut fixture = ground.fixture("bench-none", settings)?;
    ground.clear(&fixture)?;
    fixture.topics.feedback = backlog.topic.clone();
    fixture.set(settings)?;
    let command = fixture.command("iris-feedback-sink", &["--store", store]);
    let mut process = Measured::start("run", command, fixture.directory())?;
    let group = format!("{}-sink", fixture.name());
    let offsets = GroupOffsets::open(&ground.kafka(), &group, &backlog.topic)?;
    eventually("the sink to be done", PATIENCE, || {
        let done: i64 = offsets.committed().ok()?.values().sum();
        (done.unsigned_abs() >= backlog.records).then_some(())
    })?;
    process.terminate()?;
    let said = fs::read_to_string(fixture.directory().join("run.out"))?
        + &fs::read_to_string(fixture.directory().join("run.err"))?;
    let seconds = seconds(&said).with_context(|| format!("the sink said: {said}"))?;
    Ok(backlog.records as f64 / seconds)
}

/// Memory does not grow with the backlog.
fn measure_long_backlog(ground: &Ground, summary: &mut Summary) -> anyhow::Result<()> {
    let values = &ground.values;
    let backlog = ground.fill("bench-long", values, &Headers::default(), LONG_BACKLOG)?;
    let contender = ours(Output::FeedbackOnly);
    let sample = throughput::run(ground, &backlog, contender)?;
    println!(
        "10,000,000 records: peak memory {:.0} MB",
        sample.usage.peak_rss_bytes as f64 / 1e6
    );
    summary.long_backlog = Some(sample);
    let load = dashboard::load(ground, &backlog)?;
    println!("the dashboard: {load:.2?}");
    summary.dashboard = Some(load);
    ground.delete(&[&backlog.topic])
}

fn write(summary: &mut Summary) -> anyhow::Result<()> {
    summary.judge();
    let directory = workspace().join("target/bench");
    let json = serde_json::to_string_pretty(&summary)?;
    fs::write(directory.join("summary.json"), json)?;
    fs::write(directory.join("summary.md"), summary.tables())?;
    plot::throughput(summary, &directory.join("throughput.svg"))
}

fn machine() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("an unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores, {model}"))
}

fn versions(peers: bool) -> anyhow::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::from([
        ("iris".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("librdkafka".to_owned(), iris_kafka::client_version()),
        (
            "rustc".to_owned(),
            output(Command::new("rustc").arg("--version"))?,
        ),
    ]);
    if peers {
        let jars = Path::new("target/bench/peers");
        for (peer, jar) in [
            ("kafka-streams", "kafka-streams"),
            ("flink", "flink-streaming-java"),
        ] {
            let found = fs::read_dir(workspace().join(jars).join(peer).join("lib"))?
                .filter_map(Result::ok)
                .filter_map(|entry| entry.file_name().into_string().ok())
                .find_map(|name| {
                    Some(
                        name.strip_prefix(jar)?
                            .strip_suffix(".jar")?
                            .trim_matches('-')
                            .to_owned(),
                    )
                });
            versions.insert(peer.to_owned(), found.unwrap_or_default());
        }
    }
    Ok(versions)
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8(command.output()?.stdout)?
        .trim()
        .to_owned())
}
