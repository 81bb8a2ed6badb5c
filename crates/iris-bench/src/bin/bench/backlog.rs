//! Measures throughput over a backlog.

use std::collections::BTreeMap;

use iris_bench::plan::{self, Entry, Input, Plan};
use iris_bench::summary::{BenchSummary, Throughput};
use iris_bench::testbed::{Backlog, Testbed};
use iris_bench::throughput::{self, Sample};
use iris_kafka::Headers;

/// Measures the contenders in turn, each on the backlog of its input.
pub(crate) fn measure<'a>(
    testbed: &Testbed,
    entries: &[Entry],
    backlog: impl Fn(Input) -> &'a Backlog,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for run in 1..=summary.runs {
        for entry in entries {
            let part = Backlog {
                records: entry.records,
                ..backlog(entry.input).clone()
            };
            let sample = throughput::run(testbed, &part, entry.contender)?;
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

/// Measures the classifier undisturbed, with champion swaps, and with garbage among the records.
pub(crate) fn measure_disturbed(
    testbed: &Testbed,
    plan: &Plan,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    let entries = plan.disturbed();
    if entries.is_empty() {
        return Ok(());
    }
    let none = Headers::default();
    let records = plan::DISTURBED_RECORDS;
    let fill =
        |topic, input| testbed.fill(topic, &arranged(&testbed.values, input), &none, records);
    let clean = fill("bench-clean", Input::Clean)?;
    let garbage = fill("bench-garbage", Input::WithGarbage)?;
    let backlog = |input| match input {
        Input::Clean => &clean,
        Input::WithGarbage => &garbage,
    };
    measure(testbed, &entries, backlog, summary)?;
    testbed.delete(&[&clean.topic, &garbage.topic])
}

/// Returns the records, with garbage in place of each 101st record if the input has garbage. The order is the same in both
/// cases because it affects compression and branch prediction.
fn arranged(values: &[Vec<u8>], input: Input) -> Vec<Vec<u8>> {
    const CLEAN_RUN: usize = 100;
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
        records.extend(clean.by_ref().take(CLEAN_RUN));
        records.push(match input {
            Input::Clean => value.clone(),
            Input::WithGarbage => garbage.to_vec(),
        });
    }
    records
}
