//! The results as Markdown tables.

use comfy_table::Table;

use super::deployment::{self, Deployment, RATES, UnitCosts, markers};
use super::results::{FullLoad, ScaleSummary, TrainerLoad, TrainerMoment};
use super::statistics::Line;
use crate::summary::{grouped, table};

/// The number of lines about the trainer.
const TRAINER_LINES: usize = 12;

/// Returns a description of the machine and of the session.
pub(super) fn session(summary: &ScaleSummary) -> String {
    if summary.date.is_empty() {
        return "Not measured yet: the tables below are empty until `make bench-scale` has run.\n"
            .to_owned();
    }
    let preliminary = if summary.is_complete {
        ""
    } else {
        "**Preliminary**: measured with smaller sizes than the default ones, on a machine that also did other work. "
    };
    let version = |name: &str| summary.versions.get(name).map_or("", String::as_str);
    format!(
        "{preliminary}Measured on {} on {}, with {}, librdkafka {} and {}. Records have {:.0} bytes; a run under full load has {} records.\n",
        summary.date,
        summary.machine,
        version("broker"),
        version("librdkafka"),
        version("rustc").split(" (").next().unwrap_or_default(),
        summary.record_bytes,
        grouped(summary.records as f64),
    )
}

/// Returns what each part of a deployment carries.
pub(super) fn parts(summary: &ScaleSummary) -> String {
    let mut table = table(&["part", "it carries", "measured with"]);
    let mut row = |part: &str, carries: Option<String>, with: &str| {
        if let Some(carries) = carries {
            table.add_row([part, &carries, with]);
        }
    };
    row(
        "one machine with everything on it",
        fastest(summary),
        "SCALE_ONLY=workers",
    );
    row("a partition", partition(summary), "SCALE_ONLY=workers");
    row("a worker", worker(summary), "SCALE_ONLY=workers and memory");
    row(
        "the coordinators of one broker",
        coordinator(summary),
        "SCALE_ONLY=transactions",
    );
    row(
        "a core of classifiers",
        core(&summary.processors),
        "SCALE_ONLY=processors",
    );
    row(
        "the trainer",
        summary.trainer.as_ref().map(trainer_capacity),
        "SCALE_ONLY=trainer",
    );
    text(&table)
}

fn fastest(summary: &ScaleSummary) -> Option<String> {
    let loads = summary.workers.iter();
    let best = loads.max_by(|a, b| a.records_per_second.total_cmp(&b.records_per_second))?;
    Some(format!(
        "{} records/s with {} workers on {} cores",
        grouped(best.records_per_second),
        best.workers,
        summary.cores
    ))
}

fn partition(summary: &ScaleSummary) -> Option<String> {
    let single = summary.workers.iter().find(|load| load.partitions == 1)?;
    Some(format!(
        "{} records/s: one worker reads it",
        grouped(single.records_per_second)
    ))
}

fn worker(summary: &ScaleSummary) -> Option<String> {
    let load = summary
        .workers
        .iter()
        .find(|load| load.workers == 1 && load.partitions > 1)?;
    let memory = deployment::peak_memory(summary)?;
    Some(format!(
        "{} records/s from {} partitions; up to {:.0} MB of memory",
        grouped(load.records_per_second),
        load.partitions,
        memory.slope / 1e6
    ))
}

fn coordinator(summary: &ScaleSummary) -> Option<String> {
    let loads = summary.transactions.iter();
    let most = loads.max_by(|a, b| {
        a.transactions_per_second
            .total_cmp(&b.transactions_per_second)
    })?;
    Some(format!(
        "{:.0} transactions/s of {} workers, commit p99 {:.0} ms",
        most.transactions_per_second, most.workers, most.commit_p99_ms
    ))
}

fn core(loads: &[FullLoad]) -> Option<String> {
    let costs = loads.iter().map(|load| load.cpu_seconds_per_million);
    let (least, most) = (
        costs.clone().min_by(f64::total_cmp)?,
        costs.max_by(f64::total_cmp)?,
    );
    Some(format!(
        "{} to {} records/s, the broker not included",
        grouped(1e6 / most),
        grouped(1e6 / least)
    ))
}

fn trainer_capacity(load: &TrainerLoad) -> String {
    let taken = load
        .moments
        .last()
        .map_or(0.0, |last| last.read - last.left_out);
    let lasted = load.moments.last().map_or(1.0, |last| last.second.max(1.0));
    format!("{} records/s are learned", grouped(taken / lasted))
}

/// Returns the table of workers with a trickle of records each.
pub(super) fn transactions(summary: &ScaleSummary) -> String {
    let mut table = table(&[
        "workers",
        "program",
        "transactions/s",
        "offered",
        "commit p50 ms",
        "commit p99 ms",
        "cores: broker, workers, all",
        "cores before the load: broker, workers",
        "log records per transaction",
        "MB per worker",
        "ready after s",
        "limit",
    ]);
    for load in &summary.transactions {
        table.add_row([
            load.workers.to_string(),
            load.program.clone(),
            grouped(load.transactions_per_second),
            grouped(load.offered),
            format!("{:.1}", load.commit_p50_ms),
            format!("{:.1}", load.commit_p99_ms),
            format!(
                "{:.2}, {:.2}, {:.2}",
                load.broker_cores, load.worker_cores, load.busy_cores
            ),
            format!(
                "{:.2}, {:.2}",
                load.idle_broker_cores, load.idle_worker_cores
            ),
            format!("{:.1}", load.log_records_per_transaction),
            format!(
                "{:.1}",
                load.resident_bytes as f64 / 1e6 / load.workers as f64
            ),
            format!("{:.1}", load.start_s),
            load.limit.clone(),
        ]);
    }
    text(&table)
}

/// Returns the table of processes and partitions.
pub(super) fn processors(summary: &ScaleSummary) -> String {
    let mut table = table(&[
        "partitions",
        "processes",
        "records/s",
        "CPU s per million records",
        "broker CPU s per million records",
        "markers per transaction",
        "peak MB",
    ]);
    for load in &summary.processors {
        table.add_row([
            load.partitions.to_string(),
            load.processes.to_string(),
            grouped(load.records_per_second),
            format!("{:.2}", load.cpu_seconds_per_million),
            format!("{:.2}", load.broker_cpu_seconds_per_million),
            format!("{:.0}", load.markers_per_transaction),
            megabytes(load.peak_bytes),
        ]);
    }
    text(&table)
}

/// Returns the table of memory by workers, and the lines through it.
pub(super) fn memory(summary: &ScaleSummary) -> String {
    let mut table = table(&["workers", "peak MB", "MB when idle afterwards"]);
    for load in &summary.memory {
        table.add_row([
            load.workers.to_string(),
            megabytes(load.peak_bytes),
            megabytes(load.steady_bytes),
        ]);
    }
    let lines = deployment::peak_memory(summary).zip(deployment::steady_memory(summary));
    let described = lines.map(|(peak, steady)| {
        let line = |line: Line| {
            format!(
                "{:.0} MB and {:.1} MB per worker",
                line.intercept / 1e6,
                line.slope / 1e6
            )
        };
        format!(
            "\nLeast squares: at the peak {}, when idle afterwards {}.\n",
            line(peak),
            line(steady)
        )
    });
    text(&table) + &described.unwrap_or_default()
}

/// Returns the table of the workers of one process.
pub(super) fn workers(summary: &ScaleSummary) -> String {
    let mut table = table(&[
        "workers",
        "partitions",
        "records/s",
        "CPU s per million records",
        "commit p99 ms",
        "peak MB",
    ]);
    for load in &summary.workers {
        table.add_row([
            load.workers.to_string(),
            load.partitions.to_string(),
            grouped(load.records_per_second),
            format!("{:.2}", load.cpu_seconds_per_million),
            format!("{:.0}", load.commit_p99_ms),
            megabytes(load.peak_bytes),
        ]);
    }
    text(&table)
}

/// Returns the table of one broker and three.
pub(super) fn cluster(summary: &ScaleSummary) -> String {
    let mut table = table(&[
        "brokers",
        "replicas",
        "records/s",
        "CPU s per million records",
        "CPU s of all brokers per million records",
        "the same, for writing the input",
        "commit p50 ms",
        "commit p99 ms",
    ]);
    for load in &summary.cluster {
        table.add_row([
            load.brokers.to_string(),
            load.brokers.to_string(),
            grouped(load.records_per_second),
            format!("{:.2}", load.cpu_seconds_per_million),
            format!("{:.2}", load.broker_cpu_seconds_per_million),
            format!("{:.2}", load.input_cpu_seconds_per_million),
            format!("{:.0}", load.commit_p50_ms),
            format!("{:.0}", load.commit_p99_ms),
        ]);
    }
    text(&table)
}

/// Returns the table of the trainer over time.
pub(super) fn trainer(summary: &ScaleSummary) -> String {
    let Some(load) = &summary.trainer else {
        return String::new();
    };
    let mut table = table(&[
        "second",
        "lag s",
        "sample ratio",
        "records read",
        "of these left out",
    ]);
    let step = load.moments.len().div_ceil(TRAINER_LINES).max(1);
    let lines = load.moments.iter().step_by(step);
    for moment in lines.chain(last_if_skipped(&load.moments, step)) {
        table.add_row([
            format!("{:.0}", moment.second),
            format!("{:.1}", moment.lag_s),
            format!("{}", moment.sample_ratio),
            grouped(moment.read),
            grouped(moment.left_out),
        ]);
    }
    let caught_up = load.caught_up_s.map_or_else(
        || "It had not read everything when the measurement ended.".to_owned(),
        |seconds| format!("It had read everything {seconds:.0} s after the load ended."),
    );
    format!(
        "With `trainer.max_lag_ms = {}` and {} records/s for {:.0} s, its lag was at most {:.1} s, it took {:.1}% of the records, and \
         it used {:.2} cores. {caught_up}\n\n{}",
        load.max_lag_ms,
        grouped(load.records_per_second),
        load.seconds,
        load.largest_lag_s(),
        load.taken_share() * 100.0,
        load.trainer_cores,
        text(&table)
    )
}

fn last_if_skipped(moments: &[TrainerMoment], step: usize) -> Option<&TrainerMoment> {
    let last = moments.len().checked_sub(1)?;
    moments.last().filter(|_| !last.is_multiple_of(step))
}

/// Returns the table of deployments; empty if a part was not measured.
pub(super) fn deployments(summary: &ScaleSummary) -> String {
    let Some(costs) = UnitCosts::of(summary) else {
        return String::new();
    };
    let deployments = RATES.map(|rate| Deployment::of(rate, &costs));
    let rates = RATES.map(|rate| format!("{} records/s", grouped(rate)));
    let mut table = table(&["", &rates[0], &rates[1], &rates[2]]);
    let mut row = |name: &str, of: &dyn Fn(&Deployment) -> String| {
        let cells = deployments.iter().map(of);
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    };
    row("cores of the classifiers", &|d| grouped(d.classifier_cores));
    row("cores of the brokers", &|d| grouped(d.broker_cores));
    row("workers", &|d| grouped(d.workers));
    row("partitions of the input", &|d| grouped(d.partitions));
    row("transactions/s", &|d| grouped(d.transactions_per_second));
    row("transaction markers/s", &|d| grouped(d.markers_per_second));
    row("memory of the classifiers", &|d| {
        format!("{:.1} GB", d.memory_bytes / 1e9)
    });
    row("brokers", &|d| {
        format!("{}, for {}", grouped(d.brokers), d.brokers_for)
    });
    row("breaks first", &|d| d.breaks_first.clone());
    format!(
        "{}\nComputed from {:.2} s of classifiers and {:.2} s of brokers per million records, {} records/s per worker, {:.0} \
         transactions/s per coordinator and {:.0} markers per transaction.\n",
        text(&table),
        costs.classifier_cpu,
        costs.broker_cpu,
        grouped(costs.worker_rate),
        costs.coordinator_rate,
        markers(deployment::PARTITIONS_PER_WORKER),
    )
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}

/// Returns a table as text; empty without rows.
fn text(table: &Table) -> String {
    if table.row_count() == 0 {
        return String::new();
    }
    table.to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_results_has_no_tables() {
        let summary = ScaleSummary::default();
        let tables = [
            transactions,
            processors,
            memory,
            workers,
            cluster,
            trainer,
            deployments,
            parts,
        ];
        assert!(tables.iter().all(|table| table(&summary).is_empty()));
    }

    #[test]
    fn the_trainers_table_ends_with_the_last_moment() {
        let moment = |second: u32| TrainerMoment {
            second: f64::from(second),
            lag_s: 1.0,
            sample_ratio: 0.5,
            read: 10.0,
            left_out: 5.0,
        };
        let moments: Vec<TrainerMoment> = (0..30).map(moment).collect();
        assert_eq!(
            last_if_skipped(&moments, 3).map(|last| last.second),
            Some(29.0)
        );
        assert_eq!(last_if_skipped(&moments[..28], 3), None);
        assert_eq!(last_if_skipped(&[], 3), None);
    }
}
