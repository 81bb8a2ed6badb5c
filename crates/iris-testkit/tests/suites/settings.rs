//! Every number of every section at its extremes: it works, or it is refused with its key.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use iris_dashboard::feedback::Feedback;
use iris_dashboard::shared::SharedState;
use iris_dashboard::state::DashboardState;
use iris_service::UsageError;
use iris_testkit::{binary, workspace};

/// Numbers that types, rounding or arithmetic could change, as TOML.
const EXTREMES: [&str; 22] = [
    "0",
    "1",
    "-1",
    "1.5",
    "-0.5",
    "32767",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "nan",
    "inf",
    "-inf",
    "true",
];

/// Those that are tried in the environment, too, where every value is text.
const EXTREME_TEXTS: [&str; 8] = [
    "-1",
    "1.5",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551616",
    "1e308",
    "nan",
    "",
];

/// Loads one service's settings from a file and converts them as the service does.
type Load = fn(PathBuf) -> Result<(), UsageError>;

/// The services with the sections that have numbers; every section belongs to one of them.
const SERVICES: [(&str, Load); 6] = [
    ("iris-admin", admin),
    ("iris-classifier", classifier),
    ("iris-dashboard", dashboard),
    ("iris-feedback-sink", feedback_sink),
    ("iris-producer", producer),
    ("iris-trainer", trainer),
];

/// A deadline that is this far away must not overflow.
fn check_wait(wait: Duration) {
    let _ = Instant::now() + wait;
    let _ = tokio::time::Instant::now() + wait;
}

fn parse<A: clap::Parser>(file: &Path) -> A {
    A::parse_from(["test", "--config", file.to_str().unwrap()])
}

fn admin(file: PathBuf) -> Result<(), UsageError> {
    let args: iris_admin::args::Args = parse(&file);
    let settings = iris_admin::settings::Settings::load(&args.common)?;
    let _ = iris_admin::topic_specs(&settings.topics);
    check_wait(settings.service.shutdown_grace());
    Ok(())
}

fn classifier(file: PathBuf) -> Result<(), UsageError> {
    let settings = iris_classifier::settings::Settings::load(&parse(&file))?;
    let policy = settings.classifier.commit_policy();
    check_wait(policy.commit_interval);
    check_wait(policy.linger);
    check_wait(policy.idle_timeout.unwrap_or_default());
    check_wait(settings.service.shutdown_grace());
    let _ = Vec::<u8>::with_capacity(settings.classifier.workers);
    Ok(())
}

fn dashboard(file: PathBuf) -> Result<(), UsageError> {
    let settings = iris_dashboard::settings::Settings::load(&parse(&file))?;
    let state = DashboardState {
        board: iris_dashboard::board::Board::new(settings.dashboard.history_s()),
        ..DashboardState::default()
    };
    let feedback = Feedback::new(&settings.dashboard.store().unwrap()).unwrap();
    let max_clients = settings.dashboard.max_clients;
    let _ = SharedState::new(
        state,
        feedback,
        Default::default(),
        max_clients,
        Default::default(),
        || 1_700_000_000_000,
    );
    Ok(())
}

fn feedback_sink(file: PathBuf) -> Result<(), UsageError> {
    iris_feedback_sink::settings::Settings::load(&parse(&file)).map(|_| ())
}

fn producer(file: PathBuf) -> Result<(), UsageError> {
    let settings = iris_producer::settings::Settings::load(&parse(&file))?;
    check_wait(settings.producer.interval());
    Ok(())
}

fn trainer(file: PathBuf) -> Result<(), UsageError> {
    let settings = iris_trainer::settings::Settings::load(&parse(&file))?;
    check_wait(settings.trainer.checkpoint_interval());
    Ok(())
}

/// Returns the keys of all numbers in the settings file that lists every setting, with their sections.
fn numbers() -> Vec<(String, String)> {
    let text = fs::read_to_string(workspace().join("config/iris.toml")).unwrap();
    let sections: toml::Table = text.parse().unwrap();
    let numbers = sections.iter().flat_map(|(section, keys)| {
        let keys = keys.as_table().unwrap().iter();
        let keys = keys.filter(|(_, value)| value.is_integer() || value.is_float());
        keys.map(move |(key, _)| (section.clone(), key.clone()))
    });
    numbers.collect()
}

#[test]
fn every_number_at_its_extremes_works_or_is_refused_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iris.toml");
    let numbers = numbers();
    assert!(numbers.len() > 30, "{numbers:?}");
    let (mut works, mut refused) = (0, 0);
    for (section, key) in &numbers {
        for number in EXTREMES {
            fs::write(&file, format!("[{section}]\n{key} = {number}\n")).unwrap();
            for (service, load) in SERVICES {
                let shown = format!("{service}: {section}.{key} = {number}");
                let path = file.clone();
                match catch_unwind(|| load(path)) {
                    Err(_) => panic!("{shown} panics"),
                    Ok(Ok(())) => works += 1,
                    Ok(Err(error)) => {
                        let error = error.to_string();
                        let expected = format!("{section}.{key} is ");
                        assert!(error.starts_with(&expected), "{shown}: {error}");
                        assert!(error.contains("iris.toml line 2"), "{shown}: {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    println!(
        "{} numbers: {works} work, {refused} are refused",
        numbers.len()
    );
    assert!(works > 100 && refused > 100);
}

/// Runs a service that shows its settings, with one variable in its environment.
fn print_config(service: &str, variable: &str, value: &str) -> Output {
    let mut command = Command::new(binary(service));
    command.arg("--print-config").env_remove("IRIS_CONFIG");
    command.env(variable, value).output().unwrap()
}

#[test]
fn every_number_in_the_environment_works_or_is_refused_with_its_key_and_variable() {
    let (mut works, mut refused) = (0, 0);
    for (service, _) in SERVICES {
        let shown = print_config(service, "UNUSED", "");
        let sections: toml::Table = String::from_utf8(shown.stdout).unwrap().parse().unwrap();
        let mut numbers = numbers();
        numbers.push(("classifier".to_owned(), "partitions".to_owned()));
        numbers.retain(|(section, _)| sections.contains_key(section));
        for (section, key) in numbers {
            let variable = format!("IRIS__{section}__{key}").to_uppercase();
            for value in EXTREME_TEXTS {
                let output = print_config(service, &variable, value);
                let error = String::from_utf8(output.stderr).unwrap();
                let shown = format!("{service}: {variable}={value}: {error}");
                match output.status.code() {
                    Some(0) => works += 1,
                    Some(2) => {
                        let expected = format!("error: {section}.{key}");
                        assert!(error.starts_with(&expected), "{shown}");
                        assert!(error.contains(&variable), "{shown}");
                        refused += 1;
                    }
                    _ => panic!("{shown}"),
                }
            }
        }
    }
    println!("{works} work, {refused} are refused");
    assert!(works > 20 && refused > 100);
}
