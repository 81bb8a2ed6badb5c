//! Secrets in settings, files and the environment: none appears in a log line, an error, an endpoint, the page or
//! `--print-config`, whether the configuration works or not.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iris_testkit::{
    Authority, Fixture, Running, SharedBroker, TIMEOUT, USER, dataset, eventually, free_port, get,
};

const SERVICES: [&str; 6] = [
    "iris-admin",
    "iris-classifier",
    "iris-dashboard",
    "iris-feedback-sink",
    "iris-producer",
    "iris-trainer",
];

/// The services that use a store, with the section of its settings.
const STORES: [(&str, &str); 2] = [
    ("iris-dashboard", "dashboard"),
    ("iris-feedback-sink", "feedback_sink"),
];

/// How long a service that waits for something is observed.
const OBSERVED: Duration = Duration::from_millis(1_500);

/// The number of processes that are observed at the same time.
const AT_ONCE: usize = 10;

/// Returns a secret that occurs nowhere else.
fn canary() -> String {
    let letter = |_| fastrand::lowercase();
    let letters: String = (0..16).map(letter).collect();
    format!("{letters}{}", fastrand::u32(100_000..1_000_000))
}

/// A service and a configuration with a secret.
struct Case {
    service: &'static str,
    /// The settings file; the secret is planted at `CANARY`, and the directory of the files at `DIR`.
    settings: String,
    variable: Option<(String, String)>,
    /// The content of the file `secret`.
    file: Option<String>,
    flags: Vec<String>,
}

impl Case {
    fn new(service: &'static str, settings: &str) -> Self {
        Self {
            service,
            settings: settings.to_owned(),
            variable: None,
            file: None,
            flags: Vec::new(),
        }
    }

    fn describe(&self) -> String {
        format!(
            "{} with {:?} {:?} {:?} {:?}",
            self.service, self.settings, self.variable, self.file, self.flags
        )
    }

    /// Runs the service at a level and in a format, and with `--print-config`. Returns all that it shows.
    fn observe(&self, secret: &str, level: &str, format: &str) -> String {
        let nowhere = format!("localhost:{}", free_port().unwrap());
        let fixture = Fixture::for_broker(&nowhere).unwrap();
        let directory = fixture.directory().display().to_string();
        let plant = |text: &str| text.replace("CANARY", secret).replace("DIR", &directory);
        if let Some(content) = &self.file {
            fs::write(fixture.directory().join("secret"), plant(content)).unwrap();
        }
        fixture.set(&plant(&self.settings)).unwrap();
        let command = |more: &[&str]| {
            let mut args: Vec<String> = match self.service {
                "iris-admin" => vec!["topics".to_owned(), "describe".to_owned()],
                _ => Vec::new(),
            };
            args.extend(self.flags.iter().map(|flag| plant(flag)));
            let args: Vec<&str> = args
                .iter()
                .map(String::as_str)
                .chain(more.iter().copied())
                .collect();
            let mut command = fixture.command(self.service, &args);
            command
                .env("IRIS__TELEMETRY__LOG", level)
                .env("IRIS__TELEMETRY__FORMAT", format)
                .env("IRIS__SERVICE__WAIT_FOR_BROKER", "false")
                .env("RUST_BACKTRACE", "1");
            if self.service == "iris-feedback-sink" && !self.settings.contains("store = ") {
                // Not the default, a file in the working directory.
                command.env("IRIS__FEEDBACK_SINK__STORE", fixture.sqlite());
            }
            if let Some((name, value)) = &self.variable {
                command.env(name, plant(value));
            }
            command
        };
        let printed = command(&["--print-config"]).output().unwrap();
        let mut shown = text(&printed.stdout) + &text(&printed.stderr);
        let port = free_port().unwrap();
        let mut command = command(&[]);
        command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
        shown += &watch(
            self.service,
            command,
            &[(port, "/readyz"), (port, "/metrics")],
        );
        shown
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a service until it ends, at most for a time. Returns its output and the last answer at each address.
fn watch(service: &str, command: Command, addresses: &[(u16, &str)]) -> String {
    let mut running = Running::start(service, command, false).unwrap();
    let started = Instant::now();
    let mut answers = vec![String::new(); addresses.len()];
    while running.is_running() && started.elapsed() < OBSERVED {
        for ((port, path), answer) in addresses.iter().zip(&mut answers) {
            if let Some((_, body)) = get(*port, path) {
                *answer = body;
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    if running.is_running() {
        let _ = running.terminate(Duration::from_secs(20));
    } else {
        let _ = running.wait(TIMEOUT);
    }
    running.lines().join("\n") + &answers.concat()
}

/// Returns the settings, each with the secret in another place, that every service reads.
fn kafka_settings() -> Vec<String> {
    let mut settings = vec![
        "[kafka.security]\npassword = \"CANARY\"\n".to_owned(),
        "[kafka.security]\npassword = \"CANARY\"\npassword_file = \"DIR/secret\"\nprotocol = \"sasl_ssl\"\n".to_owned(),
        "[kafka.security]\npassword = [\"CANARY\"]\n".to_owned(),
        "[kafka.security]\npassword = { value = \"CANARY\" }\n".to_owned(),
        "[kafka.security]\npasword = \"CANARY\"\n".to_owned(),
        "[kafka.security]\npassword = \"CANARY\n".to_owned(),
        "[kafka]\nsecurity = \"CANARY\"\n".to_owned(),
        "[kafka.security]\nprotocol = \"sasl_plaintext\"\nusername = \"iris\"\npassword = \"CANARY\"\n".to_owned(),
        "[kafka.security]\nprotocol = \"ssl\"\nca = \"DIR/secret\"\n".to_owned(),
        "[kafka.security]\nprotocol = \"ssl\"\ncertificate = \"DIR/secret\"\nkey = \"DIR/secret\"\n".to_owned(),
        "[kafka.security]\nprotocol = \"sasl_plaintext\"\nusername = \"iris\"\npassword_file = \"DIR/secret\"\n".to_owned(),
    ];
    let passed_through = [
        "sasl.password",
        "sasl.jaas.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "security.protocol",
        "ssl.ca.pem",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "fetch.wait.max.ms",
        "enable.idempotence",
        "enable.ssl.certificate.verification",
        "no.such.password",
    ];
    for name in passed_through {
        settings.push(format!("[kafka.librdkafka]\n\"{name}\" = \"CANARY\"\n"));
        settings.push(format!(
            "[kafka.librdkafka]\n\"{name}\" = \"CANARY\"\n[kafka.security]\nprotocol = \"ssl\"\n"
        ));
    }
    settings
}

/// Returns the addresses of a store with a secret.
const ADDRESSES: [&str; 9] = [
    "postgres://iris:CANARY@localhost:1/feedback",
    "postgres://iris@localhost:1/feedback?password=CANARY",
    "postgres://iris:CANARY@localhost:port/feedback",
    "postgres://iris:CANARY@[::1/feedback",
    "postgres://iris:CA/NARY#CANARY@localhost/feedback",
    "host=localhost user=iris password=CANARY",
    "mysql://iris:CANARY@localhost/feedback",
    "sqlite://DIR/feedback.db?key=CANARY",
    "iris:CANARY@localhost",
];

/// Variables with a secret, which every service reads.
const VARIABLES: [(&str, &str); 9] = [
    ("IRIS__KAFKA__SECURITY__PASSWORD", "CANARY"),
    ("IRIS_KAFKA_SECURITY_PASSWORD", "CANARY"),
    ("IRIS__KAFKA__SECURITY__PASWORD", "CANARY"),
    ("IRIS__KAFKA__LIBRDKAFKA__SASL__PASSWORD", "CANARY"),
    (
        "IRIS__TELEMETRY__OTLP_ENDPOINT",
        "http://iris:CANARY@localhost:1",
    ),
    (
        "IRIS__TELEMETRY__OTLP_ENDPOINT",
        "https://iris:CANARY@localhost:1",
    ),
    ("IRIS__TELEMETRY__OTLP_ENDPOINT", "iris:CANARY@localhost"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer CANARY"),
    (
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "authorization: Bearer CANARY",
    ),
];

/// Returns all configurations. The services read shared sections in the same way: one of them gets each, and another one, too.
fn cases() -> Vec<Case> {
    let others = SERVICES.len() - 1;
    let mut cases = Vec::new();
    for (number, service) in SERVICES.into_iter().enumerate() {
        let is_chosen = |index: usize| number == 0 || index % others == number - 1;
        for (index, settings) in kafka_settings().iter().enumerate() {
            if is_chosen(index) {
                let mut case = Case::new(service, settings);
                case.file = Some("CANARY".to_owned());
                cases.push(case);
            }
        }
        for (index, (name, value)) in VARIABLES.into_iter().enumerate() {
            if is_chosen(index) {
                let collector = "[telemetry]\notlp_endpoint = \"http://localhost:1\"\n";
                let settings = if name.starts_with("OTEL") {
                    collector
                } else {
                    ""
                };
                let mut case = Case::new(service, settings);
                case.variable = Some((name.to_owned(), value.to_owned()));
                cases.push(case);
            }
        }
    }
    cases.extend(store_cases());
    cases
}

/// Returns the configurations of stores. Each address is given in another way to each service.
fn store_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, (service, section)) in STORES.into_iter().enumerate() {
        for (index, address) in ADDRESSES.into_iter().enumerate() {
            let mut case = Case::new(service, "");
            match (number + index) % 3 {
                0 => case.settings = format!("[{section}]\nstore = \"{address}\"\n"),
                1 => {
                    let variable = format!("IRIS__{}__STORE", section.to_uppercase());
                    case.variable = Some((variable, address.to_owned()));
                }
                _ => case.flags = vec!["--store".to_owned(), address.to_owned()],
            }
            cases.push(case);
        }
        let settings = format!(
            "[{section}]\nstore = \"postgres://iris@localhost:1/feedback\"\nstore_password_file = \"DIR/secret\"\n"
        );
        let mut case = Case::new(service, &settings);
        case.file = Some("CANARY".to_owned());
        cases.push(case);
    }
    cases
}

#[test]
fn no_secret_of_a_configuration_that_fails_is_shown() {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let observe = || {
        let mut leaks = String::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else {
                return leaks;
            };
            let secret = canary();
            let format = ["text", "json"][number % 2];
            let shown = case.observe(&secret, "trace", format);
            for line in shown.lines().filter(|line| line.contains(&secret)) {
                let _ = writeln!(leaks, "{}: {line}", case.describe());
            }
        }
    };
    let leaks: String = thread::scope(|scope| {
        let observers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(observe)).collect();
        observers
            .into_iter()
            .map(|observer| observer.join().unwrap())
            .collect()
    });
    println!("{} configurations", cases.len());
    assert!(leaks.is_empty(), "{leaks}");
}

/// Secrets that work: a password, the password of a key, and headers for spans.
struct Working {
    password: String,
    key_password: String,
    token: String,
}

impl Working {
    fn new(password: &str) -> Self {
        Self {
            password: password.to_owned(),
            key_password: canary(),
            token: canary(),
        }
    }

    /// Writes the files and settings of a client of the broker.
    fn write(&self, fixture: &Fixture, authority: &Authority) {
        let directory = fixture.directory();
        Authority::write(&[authority], &directory.join("ca.pem")).unwrap();
        let identity = authority.issue("iris").unwrap();
        identity
            .write_encrypted(directory, "client", &self.key_password)
            .unwrap();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write("password", &self.password);
        write("key-password", &format!("{}\n", self.key_password));
        let settings = format!(
            "[kafka.security]\nprotocol = \"sasl_ssl\"\nusername = \"{USER}\"\npassword_file = \"DIR/password\"\n\
             ca = \"DIR/ca.pem\"\ncertificate = \"DIR/client.pem\"\nkey = \"DIR/client.key\"\n\
             key_password_file = \"DIR/key-password\"\n[kafka.librdkafka]\ndebug = \"conf,security,broker\"\n\
             [telemetry]\nlog = \"trace\"\notlp_endpoint = \"http://localhost:1\"\n"
        );
        let settings = settings.replace("DIR", &directory.display().to_string());
        fixture.set(&settings).unwrap();
    }

    fn check(&self, what: &str, shown: &str) {
        for secret in [&self.password, &self.key_password, &self.token] {
            let found = shown.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(found, None, "{what}");
        }
    }
}

/// Sends the rows of the dataset through all services. Returns what each service shows.
fn run_all(fixture: &Fixture, secrets: &Working, format: &str, page: u16) {
    let command = |service: &str, args: &[&str]| {
        let mut command = fixture.command(service, args);
        command.env("IRIS__TELEMETRY__FORMAT", format).env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("authorization={}", secrets.token),
        );
        command
    };
    let finish = |service: &str, args: &[&str]| {
        let output = command(service, args).output().unwrap();
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{service}: {shown}");
        secrets.check(service, &shown);
    };
    finish("iris-admin", &["topics", "create"]);
    let (store, page_address) = (fixture.sqlite(), format!("127.0.0.1:{page}"));
    let dashboard = ["--listen", &page_address, "--store", &store];
    let services: [(&str, &[&str]); 4] = [
        ("iris-classifier", &[]),
        ("iris-feedback-sink", &["--store", &store]),
        ("iris-trainer", &[]),
        ("iris-dashboard", &dashboard),
    ];
    let mut running = services.map(|(service, args)| {
        finish(service, &[args, &["--print-config"]].concat());
        let port = free_port().unwrap();
        let mut command = command(service, args);
        command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
        (Running::start(service, command, false).unwrap(), port)
    });
    for (service, port) in &running {
        eventually("a service to be ready", TIMEOUT, || {
            get(*port, "/readyz").filter(|(status, _)| *status == 200)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", service.last_lines()));
    }
    let file = dataset("iris.csv").display().to_string();
    finish("iris-producer", &["--file", &file, "--interval-ms", "0"]);
    for path in ["/", "/api/overview", "/api/feedback"] {
        if let Some((_, body)) = get(page, path) {
            secrets.check(path, &body);
        }
    }
    for (service, port) in &mut running {
        for path in ["/readyz", "/metrics"] {
            secrets.check(path, &get(*port, path).unwrap().1);
        }
        assert!(service.terminate(TIMEOUT).unwrap().success());
        let lines = service.lines();
        assert!(lines.len() > 100, "{}: {}", service.name(), lines.len());
        secrets.check(service.name(), &lines.join("\n"));
    }
}

#[test]
fn no_secret_of_a_configuration_that_works_is_shown() {
    let shared = SharedBroker::obtain().unwrap();
    let secrets = Working::new(&shared.password);
    thread::scope(|scope| {
        for format in ["text", "json"] {
            let (shared, secrets) = (&shared, &secrets);
            scope.spawn(move || {
                let fixture = Fixture::for_broker(&shared.broker.address()).unwrap();
                secrets.write(&fixture, &shared.authority);
                run_all(&fixture, secrets, format, free_port().unwrap());
            });
        }
    });
}
