//! TLS, client certificates and passwords: failures are named, and rotated files are used without a restart.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use iris_kafka::SecurityProtocol;
use iris_testkit::ledger::{FindingCounts, audit_rows};
use iris_testkit::{
    Authority, Fixture, Issued, Running, SecureBroker, SharedBroker, TIMEOUT, USER, dataset,
    eventually, free_port, get,
};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

/// Brokers make clients authenticate again after this time.
const REAUTHENTICATION: &str = "listener.name.secure.scram-sha-512.connections.max.reauth.ms=10000";

/// The pause between two records.
const INTERVAL_MS: &str = "20";

/// The settings and files of clients of a secure listener.
struct Client {
    fixture: Fixture,
}

impl Client {
    /// Creates the files of a client of the listener at `address`.
    fn new(address: &str, brokers: &Authority, identity: &Issued, password: &str) -> Self {
        let mut fixture = Fixture::for_broker(address).unwrap();
        let directory = fixture.directory().to_owned();
        Authority::write(&[brokers], &directory.join("ca.pem")).unwrap();
        identity.write(&directory, "client").unwrap();
        let security = &mut fixture.kafka.security;
        security.protocol = SecurityProtocol::SaslSsl;
        security.username = USER.to_owned();
        security.password_file = Some(directory.join("password"));
        security.ca = Some(directory.join("ca.pem"));
        security.certificate = Some(directory.join("client.pem"));
        security.key = Some(directory.join("client.key"));
        let client = Self { fixture };
        client.write("password", password);
        client.set("");
        client
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fixture.directory().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Writes the settings file with all security settings, and `more`.
    fn set(&self, more: &str) {
        let line = |key: &str, name: &str| format!("{key} = \"{}\"\n", self.path(name).display());
        let security = [
            format!("[kafka.security]\nprotocol = \"sasl_ssl\"\nusername = \"{USER}\"\n"),
            line("password_file", "password"),
            line("ca", "ca.pem"),
            line("certificate", "client.pem"),
            line("key", "client.key"),
        ];
        let security = security.concat();
        self.fixture.set(&format!("{security}{more}")).unwrap();
    }

    /// Returns the error of a service that exits at its start with code 2.
    fn refusal(&self, more: &str) -> String {
        self.set(more);
        let ended = self.fixture.run("iris-classifier", &[]).unwrap();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        self.shown(ended.stderr.trim())
    }

    /// Returns why a service that waits for a broker cannot connect.
    fn failure(&self) -> String {
        let process = self.fixture.start("iris-classifier", &[]).unwrap();
        let line = process
            .line_with("cannot connect to Kafka (attempt ", TIMEOUT)
            .unwrap();
        let (_, failure) = line.split_once("): ").unwrap();
        let (failure, _) = failure.split_once("; trying again").unwrap();
        self.shown(failure)
    }

    /// Returns a text with paths, names and alerts that are the same in every run: the broker's TLS library chooses the alert.
    fn shown(&self, text: &str) -> String {
        let directory = format!("{}/", self.fixture.directory().display());
        text.replace(&directory, "")
            .replace(&self.fixture.kafka.bootstrap_servers, "localhost:PORT")
            .replace(": certificate unknown", ": ALERT")
            .replace(": bad certificate", ": ALERT")
    }
}

/// A service with an endpoint.
struct Service {
    process: Running,
    port: u16,
}

impl Service {
    fn start(client: &Client, name: &str, args: &[&str]) -> Self {
        let port = free_port().unwrap();
        let mut command = client.fixture.command(name, args);
        command
            .env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"))
            // A broker that stops must not be writing the markers of a transaction: see `single_broker.rs`.
            .env("IRIS__CLASSIFIER__COMMIT_INTERVAL_MS", "2000")
            .env("IRIS__CLASSIFIER__COMMIT_LINGER_MS", "2000")
            // No other champion: the audit expects the predictions of the paper's model.
            .env("IRIS__TRAINER__RETRAIN_AFTER_ROWS", "1000000")
            .env("IRIS__TRAINER__RETRAIN_AFTER_MS", "3600000")
            .env("IRIS__TRAINER__ON_DRIFT", "log");
        let process = Running::start(name, command, false).unwrap();
        Self { process, port }
    }

    fn await_answer(&self, path: &str, wanted: &str, is_there: bool) {
        let lines = || self.process.lines().join("\n");
        let mut last = None;
        eventually(&format!("{wanted} at {path}"), TIMEOUT, || {
            last = get(self.port, path);
            let (_, body) = last.as_ref()?;
            (body.contains(wanted) == is_there).then_some(())
        })
        .unwrap_or_else(|error| panic!("{}: {error}: {last:?}\n{}", self.process.name(), lines()));
    }

    fn await_ready(&self) {
        self.await_answer("/readyz", "not ready", false);
    }

    fn await_line(&self, text: &str) {
        self.process.line_with(text, TIMEOUT).unwrap();
    }
}

/// Returns the number of records that a producer has sent until it was stopped.
fn sent_by(producer: &Service) -> usize {
    let line = producer
        .process
        .line_with("stopped after ", TIMEOUT)
        .unwrap();
    let (_, count) = line.split_once("stopped after ").unwrap();
    count.split(' ').next().unwrap().parse().unwrap()
}

/// Checks that every record has its outcome and every feedback record its row.
fn audit(client: &Client, store: &str, sent: usize) {
    let fixture = &client.fixture;
    let end = fixture.await_processed().unwrap();
    let (records, mut findings) = fixture.audit(&end).unwrap();
    let rows: Vec<(i32, i64)> = eventually("all feedback to be stored", TIMEOUT, || {
        let list = ["list", "--json", "--limit", "100000", "--store", store];
        let shown = fixture.run("iris-feedback-sink", &list).unwrap();
        let rows: Vec<serde_json::Value> =
            serde_json::from_str(&shown.stdout).expect(&shown.stderr);
        let place = |row: &serde_json::Value| {
            let number = |key: &str| row[key].as_i64().unwrap_or_else(|| panic!("{row}"));
            (
                i32::try_from(number("source_partition")).unwrap(),
                number("source_offset"),
            )
        };
        (rows.len() >= records.feedback.len()).then(|| rows.iter().map(place).collect())
    })
    .unwrap();
    assert_eq!(records.input.len(), sent);
    findings.extend(audit_rows(&records.feedback, &rows));
    assert_eq!(findings.counts(), FindingCounts::default(), "{findings}");
}

#[test]
fn passwords_and_certificates_are_rotated_under_load_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Authority::new(name).unwrap());
    let server = old.issue("localhost").unwrap();
    let mut broker =
        SecureBroker::start(directory.path(), &old, &server, REAUTHENTICATION).unwrap();
    broker.set_password("marlin").unwrap();
    let identity = old.issue("iris").unwrap();
    let client = Client::new(&broker.address(), &old, &identity, "marlin\n");
    client.fixture.create_topics().unwrap();

    let store = client.fixture.sqlite();
    let page = format!("127.0.0.1:{}", free_port().unwrap());
    let file = dataset("iris.csv").display().to_string();
    let classifier = Service::start(&client, "iris-classifier", &[]);
    let sink = Service::start(&client, "iris-feedback-sink", &["--store", &store]);
    let trainer = Service::start(&client, "iris-trainer", &[]);
    let dashboard = Service::start(
        &client,
        "iris-dashboard",
        &["--listen", &page, "--store", &store],
    );
    let mut services = [classifier, sink, trainer, dashboard];
    services.iter().for_each(Service::await_ready);
    let send = [
        "--file",
        &file,
        "--rounds",
        "100000",
        "--interval-ms",
        INTERVAL_MS,
    ];
    let mut producer = Service::start(&client, "iris-producer", &send);
    producer.await_ready();

    // The password. Until the file has changed, brokers refuse to authenticate again.
    broker.set_password("swordfish").unwrap();
    let refused = format!("does not authenticate user `{USER}` with SCRAM-SHA-512");
    services[0].await_answer("/readyz", &refused, true);
    client.write("password", "swordfish\n");
    for service in services.iter().chain([&producer]) {
        service.await_line("the Kafka password in ");
        service.await_ready();
    }

    // The authority of the brokers, and then their certificates and those of the clients.
    Authority::write(&[&old, &new], &client.path("ca.pem")).unwrap();
    let identity = new.issue_for("iris", (-60, 3 * 86_400)).unwrap();
    identity
        .write(client.fixture.directory(), "client")
        .unwrap();
    for service in services.iter().chain([&producer]) {
        service.await_line("the list of certificate authorities in ");
        service.await_line("the client certificate in ");
    }
    broker
        .set_certificates(&new, &new.issue("localhost").unwrap())
        .unwrap();
    broker.restart().unwrap();
    services.iter().for_each(Service::await_ready);
    services[0].await_answer(
        "/metrics",
        "iris_kafka_certificate_expiry_timestamp_seconds ",
        true,
    );

    assert!(producer.process.terminate(TIMEOUT).unwrap().success());
    audit(&client, &store, sent_by(&producer));
    for service in services.iter_mut().chain([&mut producer]) {
        let lines = service.process.lines().join("\n");
        assert!(
            !lines.contains("marlin") && !lines.contains("swordfish"),
            "{lines}"
        );
    }
    for service in &mut services {
        assert!(service.process.terminate(TIMEOUT).unwrap().success());
    }
}

#[test]
fn the_failure_of_a_refused_client_names_the_setting_to_check() {
    let shared = SharedBroker::obtain().unwrap();
    let (authority, password) = (&shared.authority, shared.password.as_str());
    let address = &shared.broker.address();
    let other = &Authority::new("theirs").unwrap();
    let [identity, untrusted] = [authority, other].map(|issuer| issuer.issue("iris").unwrap());
    let errors = thread::scope(|scope| {
        let cases = [
            (authority, &identity, "swordfish"),
            (authority, &untrusted, password),
            (other, &identity, password),
        ];
        let running = cases.map(|(brokers, identity, password)| {
            scope.spawn(move || Client::new(address, brokers, identity, password).failure())
        });
        running.map(|running| running.join().unwrap())
    });
    insta::assert_snapshot!(errors.join("\n"));

    // Without `ca`, the authorities of the system are trusted, wherever OpenSSL itself would look for them.
    let client = Client::new(address, authority, &identity, password);
    let settings = fs::read_to_string(client.path("iris.toml")).unwrap();
    let is_kept = |line: &&str| !line.starts_with("ca = ");
    let lines: Vec<&str> = settings.lines().filter(is_kept).collect();
    client.write("iris.toml", &lines.join("\n"));
    let mut command = client.fixture.command("iris-admin", &["topics", "create"]);
    command.env("SSL_CERT_FILE", client.path("ca.pem"));
    let created = command.output().unwrap();
    let error = String::from_utf8_lossy(&created.stderr).into_owned();
    assert!(created.status.success(), "{error}");
}

/// Accepts TLS connections with a certificate, and ends them.
fn accept_with(server: &Issued) -> String {
    let directory = tempfile::tempdir().unwrap();
    server.write(directory.path(), "server").unwrap();
    let path = |name| directory.path().join(name);
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor
        .set_certificate_chain_file(path("server.pem"))
        .unwrap();
    acceptor
        .set_private_key_file(path("server.key"), SslFiletype::PEM)
        .unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = acceptor.accept(stream);
        }
    });
    address
}

#[test]
fn a_certificate_of_a_broker_that_cannot_be_trusted_is_named_with_the_reason() {
    let authority = Authority::new("ours").unwrap();
    let identity = authority.issue("iris").unwrap();
    let hour = 3_600;
    let servers = [
        authority.issue("kafka.example").unwrap(),
        authority
            .issue_for("localhost", (-2 * hour, -hour))
            .unwrap(),
        authority.issue_for("localhost", (hour, 2 * hour)).unwrap(),
    ];
    let errors = servers.map(|server| {
        let address = accept_with(&server);
        let error = Client::new(&address, &authority, &identity, "marlin").failure();
        // The time of a certificate.
        let date = error.find("20");
        date.map_or(error.clone(), |start| {
            error.replace(&error[start..start + "2026-01-01T00:00:00Z".len()], "TIME")
        })
    });
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_setting_at_the_start() {
    let [authority, other] = ["ours", "theirs"].map(|name| Authority::new(name).unwrap());
    let identity = authority.issue("iris").unwrap();
    let nowhere = format!("localhost:{}", free_port().unwrap());
    let client = || Client::new(&nowhere, &authority, &identity, "marlin");
    let mut errors = Vec::new();
    let mut refuse = |change: &dyn Fn(&Client), more: &str| {
        let client = client();
        change(&client);
        errors.push(client.refusal(more));
    };
    refuse(
        &|client| fs::remove_file(client.path("password")).unwrap(),
        "",
    );
    refuse(
        &|client| fs::remove_file(client.path("ca.pem")).unwrap(),
        "",
    );
    refuse(&|client| client.write("ca.pem", "no certificate"), "");
    refuse(&|client| client.write("client.pem", "no certificate"), "");
    refuse(&|client| client.write("client.key", "no key"), "");
    let directory = |client: &Client| client.fixture.directory().to_owned();
    let foreign = other.issue("iris").unwrap();
    refuse(
        &|client| {
            let own = fs::read(client.path("client.pem")).unwrap();
            foreign.write(&directory(client), "client").unwrap();
            fs::write(client.path("client.pem"), own).unwrap();
        },
        "",
    );
    let encrypt = |client: &Client| {
        foreign
            .write_encrypted(&directory(client), "client", "swordfish")
            .unwrap();
    };
    refuse(&encrypt, "");
    refuse(
        &encrypt,
        "[kafka.librdkafka]\n\"ssl.key.password\" = \"marlin\"\n",
    );
    insta::assert_snapshot!(errors.join("\n"));
}
