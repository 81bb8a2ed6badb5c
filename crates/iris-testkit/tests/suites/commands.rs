//! The command lines, exit codes and error texts of the binaries.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::thread;

use iris_feedback_store::FeedbackStore;
use iris_testkit::{Ended, Fixture, binary, free_port, runtime, workspace};

const SERVICES: [&str; 6] = [
    "iris-admin",
    "iris-producer",
    "iris-classifier",
    "iris-trainer",
    "iris-feedback-sink",
    "iris-dashboard",
];

/// Returns the error of a failed run, with paths and names that are the same in every run.
#[track_caller]
fn error(fixture: &Fixture, ended: &Ended, code: i32) -> String {
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.stdout, ended.stderr);
    let errors: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    let directory = fixture.directory().display().to_string();
    errors
        .join("\n")
        .replace(&directory, "DIR")
        .replace(fixture.name(), "NAME")
        .replace(&fixture.kafka.bootstrap_servers, "BROKER")
}

/// Creates a fixture without a broker: errors of usage must occur before the first connection.
fn without_broker() -> Fixture {
    Fixture::for_broker(&format!("localhost:{}", free_port().unwrap())).unwrap()
}

#[test]
fn help_shows_an_example_and_version_shows_the_version() {
    let fixture = without_broker();
    for service in SERVICES {
        let help = fixture.run(service, &["--help"]).unwrap();
        assert_eq!(help.code, Some(0));
        assert!(
            help.stdout.contains("Example") && help.stdout.contains("--print-config"),
            "{}",
            help.stdout
        );
        let version = fixture.run(service, &["--version"]).unwrap();
        assert_eq!(
            version.stdout.trim(),
            format!("{service} {}", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn print_config_shows_the_effective_settings_without_secrets() {
    let fixture = without_broker();
    fixture
        .set("[kafka.security]\nprotocol = \"sasl_ssl\"\nusername = \"iris\"\npassword = \"swordfish\"\n[producer]\nrounds = 7\n")
        .unwrap();
    for service in SERVICES {
        let shown = fixture.run(service, &["--print-config"]).unwrap();
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        assert!(
            shown.stdout.contains("protocol = \"sasl_ssl\""),
            "{}",
            shown.stdout
        );
        assert!(!format!("{}{}", shown.stdout, shown.stderr).contains("swordfish"));
    }
    let shown = fixture
        .run("iris-producer", &["--print-config", "--interval-ms", "5"])
        .unwrap();
    assert!(
        shown.stdout.contains("interval_ms = 5") && shown.stdout.contains("rounds = 7"),
        "{}",
        shown.stdout
    );
}

#[test]
fn invalid_usage_and_settings_exit_with_code_2() {
    let fixture = without_broker();
    let mut errors = Vec::new();
    let mut refuse = |service: &str, settings: &str, args: &[&str]| {
        fixture.set(settings).unwrap();
        let ended = fixture.run(service, args).unwrap();
        errors.push(format!(
            "{service} {}\n{}",
            args.join(" "),
            error(&fixture, &ended, 2)
        ));
    };
    refuse("iris-producer", "[producer]\ninterval = 5\n", &[]);
    refuse("iris-producer", "[producer]\nrounds = 0\n", &[]);
    refuse("iris-producer", "", &["--rounds", "0"]);
    refuse("iris-producer", "", &["--interval-ms", "soon"]);
    refuse("iris-producer", "", &["--intervall-ms", "5"]);
    refuse("iris-producer", "[producer]\nkey = \"Name\"\n", &[]);
    refuse("iris-classifier", "", &["--partition", "-1"]);
    refuse(
        "iris-classifier",
        "",
        &["--partition", "1", "--partition", "1"],
    );
    refuse("iris-classifier", "[model]\nneighbors = 500\n", &[]);
    refuse("iris-classifier", "[model]\ntest_size = 1.5\n", &[]);
    refuse("iris-classifier", "[telemetry]\nformat = \"xml\"\n", &[]);
    refuse("iris-classifier", "[clasifier]\nworkers = 2\n", &[]);
    refuse("iris-trainer", "[trainer]\npolicy = \"all\"\n", &[]);
    refuse("iris-trainer", "[trainer]\npromotion_margin = 2\n", &[]);
    refuse(
        "iris-feedback-sink",
        "",
        &["--store", "mysql://root:secret@localhost/iris"],
    );
    for store in [
        "feedback.db",
        "sqlite://",
        "sqlite://:memory:",
        "postgres://iris:sec/ret@localhost/iris",
        "postgres://localhost/iris?password=secret",
    ] {
        refuse("iris-feedback-sink", "", &["--store", store]);
    }
    refuse(
        "iris-feedback-sink",
        "[feedback_sink]\nstore = postgres://iris:secret@localhost/iris\n",
        &["list"],
    );
    refuse(
        "iris-dashboard",
        "",
        &["--store", "postgres://iris:sec#ret@localhost/iris"],
    );
    refuse(
        "iris-dashboard",
        "[dashboard]\nmax_clients = 9223372036854775808\n",
        &[],
    );
    refuse("iris-admin", "", &[]);
    refuse("iris-admin", "", &["topics", "delete"]);
    refuse(
        "iris-admin",
        "[kafka.librdkafka]\n\"enable.auto.commit\" = true\n",
        &["topics", "describe"],
    );
    insta::assert_snapshot!(errors.join("\n\n"));
}

#[test]
fn the_error_of_an_invalid_setting_in_the_environment_names_the_variable() {
    let fixture = without_broker();
    let run = |name: &str, value: &OsStr| {
        let output = fixture
            .command("iris-producer", &[])
            .env(name, value)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, error) = run("IRIS__PRODUCER__INTERVAL_MS", "soon".as_ref());
    assert_eq!(code, Some(2));
    assert_eq!(
        error.trim_end(),
        "error: producer.interval_ms is string \"soon\": allowed is a whole number (set by the environment variable \
         IRIS__PRODUCER__INTERVAL_MS)"
    );
    let (code, error) = run("IRIS__PRODUCER__KEY", OsStr::from_bytes(b"a\xff"));
    assert_eq!(code, Some(2));
    assert_eq!(
        error.trim_end(),
        "error: the environment variable IRIS__PRODUCER__KEY is not UTF-8"
    );
    let (code, error) = run("IRIS_PRODUCER__KEY", "Id".as_ref());
    assert_eq!(code, Some(2));
    assert_eq!(
        error.trim_end(),
        "error: the environment variable IRIS_PRODUCER__KEY is not a setting; did you mean IRIS__PRODUCER__KEY?"
    );
}

#[test]
fn commands_that_exit_run_beside_a_service_with_the_same_settings() {
    let fixture = without_broker();
    let running = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = running.local_addr().unwrap();
    fixture
        .set(&format!(
            "[telemetry]\nhttp_addr = \"{address}\"\n[feedback_sink]\nstore = \"{}\"\n",
            fixture.sqlite()
        ))
        .unwrap();
    let url = fixture.sqlite().as_str().into();
    runtime()
        .unwrap()
        .block_on(FeedbackStore::open(&url))
        .unwrap();
    for service in SERVICES {
        let shown = fixture.run(service, &["--print-config"]).unwrap();
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    }
    for command in [&["list"][..], &["export", "--format", "json"]] {
        let ended = fixture.run("iris-feedback-sink", command).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let described = ["topics", "describe", "--no-wait"];
    let ended = fixture.run("iris-admin", &described).unwrap();
    assert!(ended.stderr.contains("no broker at"), "{}", ended.stderr);
    let refused = fixture.run("iris-feedback-sink", &[]).unwrap();
    let error = error(&fixture, &refused, 1);
    assert!(
        error.contains("telemetry.http_addr: cannot listen on"),
        "{error}"
    );
}

#[test]
fn a_store_that_cannot_work_is_refused_without_a_broker() {
    let fixture = without_broker();
    fs::write(
        fixture.directory().join("feedback.db"),
        "Id\n".repeat(1_000),
    )
    .unwrap();
    let store = fixture.sqlite();
    let ended = fixture
        .run("iris-feedback-sink", &["--store", &store])
        .unwrap();
    assert_eq!(
        error(&fixture, &ended, 1),
        "error: the feedback store sqlite://DIR/feedback.db cannot be used: file is not a database; name another file"
    );
}

#[test]
fn reading_commands_do_not_create_a_store() {
    let fixture = without_broker();
    let store = fixture.sqlite();
    for command in [&["list"][..], &["export", "--format", "csv"]] {
        let args = [command, &["--store", &store]].concat();
        let ended = fixture.run("iris-feedback-sink", &args).unwrap();
        let error = error(&fixture, &ended, 1);
        assert!(
            error.starts_with("error: the feedback store sqlite://DIR/feedback.db cannot be read: unable to open database file"),
            "{error}"
        );
        assert!(!fixture.directory().join("feedback.db").exists());
    }
}

#[test]
fn an_error_in_a_csv_file_names_file_line_and_column_before_anything_is_sent() {
    let fixture = without_broker();
    let header = "Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species";
    let good = "1,5.1,3.5,1.4,0.2,Iris-setosa";
    let files = [
        (
            "no-column.csv",
            "Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,Species\n1,5.1,3.5,1.4,x\n".to_owned(),
        ),
        (
            "not-a-number.csv",
            format!("{header}\n{good}\n2,4.9,wide,1.4,0.2,Iris-setosa\n"),
        ),
        (
            "ragged.csv",
            format!("{header}\n{good}\n2,4.9,3.0,1.4,0.2\n"),
        ),
        (
            "unclosed-quote.csv",
            format!("{header}\n1,5.1,3.5,1.4,0.2,\"Iris-setosa\n{good}\n"),
        ),
        (
            "stray-quotes.csv",
            format!("{header}\n1,5.1,3.5,1.4,0.2,\"Iris-setosa\n{good}\n{good}\"\n"),
        ),
        (
            "semicolons.csv",
            format!("{header}\n{good}\n").replace(',', ";"),
        ),
        ("header-only.csv", format!("{header}\n")),
        ("empty.csv", String::new()),
    ];
    let mut errors = Vec::new();
    let mut refuse = |file: &str| {
        let path = fixture.directory().join(file).display().to_string();
        for (service, setting) in [("iris-producer", "file"), ("iris-classifier", "settings")] {
            let ended = if setting == "file" {
                fixture.run(service, &["--file", &path]).unwrap()
            } else {
                fixture
                    .set(&format!("[dataset]\npath = \"{path}\"\n"))
                    .unwrap();
                fixture.run(service, &[]).unwrap()
            };
            let message = error(&fixture, &ended, 2);
            if service == "iris-producer" {
                errors.push(message);
            } else {
                assert_eq!(
                    errors.last(),
                    Some(&message),
                    "both services report the same"
                );
            }
        }
    };
    refuse("missing.csv");
    for (file, content) in &files {
        fs::write(fixture.directory().join(file), content).unwrap();
        refuse(file);
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_csv_file_with_a_byte_order_mark_crlf_and_quotes_is_sent() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let path = fixture.directory().join("excel.csv");
    let csv = "\u{feff}Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species\r\n1,\"5.1\",3.5,1.4,0.2,\"Iris, \"\"wild\"\"\"\r\n";
    fs::write(&path, csv).unwrap();
    let sent = fixture
        .run(
            "iris-producer",
            &["--file", &path.display().to_string(), "--interval-ms", "0"],
        )
        .unwrap();
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let records = fixture.records(&fixture.topics.input).unwrap();
    let value = String::from_utf8(records[0].value.clone().unwrap()).unwrap();
    assert_eq!(
        value,
        r#"{"Id":1,"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris, \"wild\""}"#
    );
}

#[test]
fn without_a_broker_services_that_must_not_wait_exit_with_code_1() {
    let fixture = without_broker();
    let store = fixture.sqlite();
    let services = [
        ("iris-admin", vec!["topics", "create", "--no-wait"]),
        ("iris-producer", vec!["--no-wait"]),
        ("iris-classifier", vec!["--no-wait"]),
        ("iris-trainer", vec!["--no-wait"]),
        ("iris-feedback-sink", vec!["--no-wait", "--store", &store]),
    ];
    let check = |(service, args): (&str, Vec<&str>)| {
        let ended = fixture.run(service, &args).unwrap();
        let message = error(&fixture, &ended, 1);
        assert!(
            message.starts_with("error: no broker at BROKER: BROKER/bootstrap: Connect to "),
            "{message}"
        );
        assert!(
            message.ends_with("start one, or name another with --bootstrap-servers"),
            "{message}"
        );
    };
    // Each of them tries for seconds.
    thread::scope(|scope| {
        for service in services {
            scope.spawn(|| check(service));
        }
    });
}

#[test]
fn errors_of_missing_topics_and_partitions_name_the_command_that_creates_them() {
    let mut fixture = Fixture::new().unwrap();
    let mut errors = Vec::new();
    let mut refuse = |fixture: &Fixture, service: &str, args: &[&str]| {
        errors.push(format!(
            "{service}: {}",
            error(fixture, &fixture.run(service, args).unwrap(), 1)
        ));
    };
    refuse(&fixture, "iris-producer", &[]);
    refuse(&fixture, "iris-classifier", &[]);
    refuse(&fixture, "iris-trainer", &[]);
    refuse(
        &fixture,
        "iris-feedback-sink",
        &["--store", &fixture.sqlite()],
    );
    fixture.topics.partitions = 2;
    fixture.create_topics().unwrap();
    refuse(&fixture, "iris-classifier", &["--partition", "4"]);
    refuse(&fixture, "iris-admin", &["topics", "create"]);
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn topics_are_created_described_and_deleted_repeatedly() {
    let fixture = Fixture::new().unwrap();
    let run = |args: &[&str]| {
        let ended = fixture.run("iris-admin", args).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.replace(fixture.name(), "NAME")
    };
    let steps = [
        run(&["topics", "create", "--dry-run"]),
        run(&["topics", "create"]),
        run(&["topics", "create"]),
        run(&["topics", "describe"])
            .lines()
            .take(4)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("\n"),
        run(&["topics", "delete", "--yes"]),
        run(&["topics", "delete", "--yes"]),
        run(&["topics", "create", "--dry-run", "--json"])
            .lines()
            .take(5)
            .collect::<Vec<_>>()
            .join("\n"),
    ];
    insta::assert_snapshot!(steps.join("\n---\n"));
}

#[test]
fn the_shipped_settings_file_lists_every_setting_with_its_default() {
    let path = workspace().join("config/iris.toml");
    let shipped: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let mut defaults = toml::Table::new();
    for service in SERVICES {
        let mut command = Command::new(binary(service));
        let shown = command
            .arg("--print-config")
            .env_remove("IRIS_CONFIG")
            .output()
            .unwrap();
        defaults.extend(
            String::from_utf8(shown.stdout)
                .unwrap()
                .parse::<toml::Table>()
                .unwrap(),
        );
    }
    assert_eq!(shipped, defaults);
    let wine = workspace().join("config/wine.toml").display().to_string();
    let output = Command::new(binary("iris-classifier"))
        .args(["--print-config", "--config", &wine])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
