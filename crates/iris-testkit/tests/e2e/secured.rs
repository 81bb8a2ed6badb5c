//! `docker compose --profile secured up`.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use iris_testkit::{eventually, free_port, workspace};
use serde_json::Value;
use tempfile::TempDir;

use crate::compose::{Compose, TIMEOUT, text};
use crate::proxy::Proxy;

const CLASSIFIERS: usize = 2;

/// The services that run once. The others run until they are stopped.
const ONCE: [&str; 8] = [
    "secured-kafka-format",
    "secured-rights",
    "secured-kafka-grant",
    "secured-topics",
    "secured-models",
    "secured-tables",
    "secured-postgres-grant",
    "secured-producer",
];

/// The secured system, with secrets of its own.
struct Secured {
    compose: Compose,
    proxy: Proxy,
    secrets: TempDir,
}

impl Secured {
    fn start() -> Self {
        let secrets = tempfile::tempdir_in(workspace().join("target")).unwrap();
        create_secrets(secrets.path());
        let port = free_port().unwrap();
        let environment = vec![
            ("SECURED_SECRETS", secrets.path().display().to_string()),
            ("PROXY_PORT", port.to_string()),
            ("PRODUCER_INTERVAL_MS", "20".to_owned()),
        ];
        let compose = Compose::new("iris-e2e-secured", &["--profile", "secured"], environment);
        compose.run(&["up", "--detach", "--no-build"]);
        let password = fs::read_to_string(secrets.path().join("page-password")).unwrap();
        let proxy = Proxy {
            port,
            authority: secrets.path().join("ca.pem"),
            login: format!("iris:{}", password.trim()),
        };
        Self {
            compose,
            proxy,
            secrets,
        }
    }

    fn secret(&self, name: &str) -> String {
        let text = fs::read_to_string(self.secrets.path().join(name)).unwrap();
        text.trim().to_owned()
    }

    /// Runs a command in a new container of a service, with these variables.
    fn once(&self, variables: &[(&str, &str)], service_and_command: &[&str]) -> Output {
        let variables: Vec<String> = variables
            .iter()
            .flat_map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")])
            .collect();
        let mut args = vec!["run", "--rm", "--no-TTY", "--no-deps"];
        args.extend(variables.iter().map(String::as_str));
        args.extend(service_and_command);
        self.output(&args)
    }

    /// Adds or removes the right of a user on a topic.
    fn change_right(&self, change: &[&str], user: &str, operation: &str, topic: &str) {
        let user = format!("User:{user}");
        let mut command = vec![
            "--entrypoint",
            "/etc/iris/admin.sh",
            "secured-kafka-grant",
            "kafka-acls.sh",
        ];
        command.extend(change);
        command.extend(["--allow-principal", &user]);
        command.extend(["--operation", operation, "--topic", topic]);
        text(self.once(&[], &command), &command);
    }

    fn sql(&self, query: &str) -> String {
        let psql = [
            "exec",
            "--no-TTY",
            "secured-postgres",
            "psql",
            "-U",
            "postgres",
            "-d",
            "iris_feedback",
            "-Atc",
            query,
        ];
        self.run(&psql).trim().to_owned()
    }
}

impl Deref for Secured {
    type Target = Compose;

    fn deref(&self) -> &Compose {
        &self.compose
    }
}

/// Runs the script of `make secrets`.
fn create_secrets(directory: &Path) {
    let mut script = Command::new(workspace().join("deploy/secured/secrets.sh"));
    script.env("SECURED_SECRETS", directory);
    text(script.output().unwrap(), &["secrets.sh"]);
}

/// Returns the names and contents of the files below a directory.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    all.sort();
    all
}

/// Returns the output of a command that failed.
#[track_caller]
fn refused(output: &Output) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success(), "{text}");
    text
}

#[test]
fn docker_compose_profile_secured_runs_the_pipeline_and_refuses_everybody_else() {
    check_statements();
    let started = Instant::now();
    let secured = Secured::start();
    for service in ONCE {
        secured.wait_until_done(service);
    }
    for (service, replicas) in [
        ("secured-kafka", 1),
        ("secured-postgres", 1),
        ("secured-classifier", CLASSIFIERS),
        ("secured-trainer", 1),
        ("secured-feedback-sink", 1),
        ("secured-dashboard", 1),
    ] {
        secured.wait_until_healthy(service, replicas);
    }
    println!("healthy after {:.1} s", started.elapsed().as_secs_f64());
    let step = |name: &str, check: fn(&Secured)| {
        check(&secured);
        println!("{name} after {:.1} s", started.elapsed().as_secs_f64());
    };
    step("150 rows", check_rows);
    step("secrets", check_secrets_are_kept);
    step("containers", check_containers);
    step("networks", check_networks);
    step("proxy", |secured| secured.proxy.check());
    step("Kafka", check_kafka_refuses);
    step("PostgreSQL", check_postgres_refuses);
    step("missing rights", check_missing_rights);
}

/// The statements for the database are those of the documentation.
fn check_statements() {
    let document = fs::read_to_string(workspace().join("docs/SECURITY.md")).unwrap();
    let statements = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with("--") && !line.starts_with('\\'))
            .map(str::to_owned)
            .collect()
    };
    let blocks: Vec<&str> = document
        .split("```sql\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    let mut roles = blocks[..2].concat();
    for user in ["owner", "sink", "page"] {
        roles = roles.replace(&format!("'{user}-password'"), &format!(":'{user}'"));
    }
    for (file, documented) in [("roles.sql", roles.as_str()), ("grants.sql", blocks[2])] {
        let path = workspace().join("deploy/secured/postgres").join(file);
        let used = fs::read_to_string(path).unwrap();
        assert_eq!(statements(&used), statements(documented), "{file}");
    }
}

/// Every row is classified, and the mispredicted ones are stored and on the page.
fn check_rows(secured: &Secured) {
    let figures = eventually("150 records on the page", TIMEOUT, || {
        let (_, body) = secured.proxy.get("/api/v1/figures");
        let figures: Value = serde_json::from_str(&body).unwrap_or_default();
        (figures["records"] == 150).then_some(figures)
    })
    .unwrap();
    assert_eq!(figures["mispredicted"], 4, "{figures}");
    assert_eq!(figures["dead_letters"], 0, "{figures}");
    eventually("the feedback in PostgreSQL", TIMEOUT, || {
        (secured.sql("SELECT COUNT(*) FROM feedback") == "4").then_some(())
    })
    .unwrap();
    let ids =
        "SELECT string_agg(record_id, ' ' ORDER BY length(record_id), record_id) FROM feedback";
    assert_eq!(secured.sql(ids), "71 73 84 107");
    let (status, body) = secured.proxy.get("/api/v1/feedback");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("107"), "{body}");
}

/// Running the script again changes nothing, and only its user may enter the directory.
fn check_secrets_are_kept(secured: &Secured) {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = secured.secrets.path();
    let before = files(directory);
    create_secrets(directory);
    assert!(before == files(directory), "a secret has changed");
    let mode = fs::metadata(directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// Containers run as a numeric user without capabilities, cannot write to their root file systems, and have limits.
fn check_containers(secured: &Secured) {
    let listed = secured.run(&["ps", "--all", "--quiet"]);
    let mut command = Command::new("docker");
    command.arg("inspect").args(listed.lines());
    let inspected = text(command.output().unwrap(), &["inspect"]);
    let containers: Vec<Value> = serde_json::from_str(&inspected).unwrap();
    assert_eq!(containers.len(), ONCE.len() + 6 + CLASSIFIERS);
    for container in &containers {
        let (name, host) = (&container["Name"], &container["HostConfig"]);
        let user = container["Config"]["User"].as_str().unwrap();
        let (user, group) = user.split_once(':').unwrap();
        for id in [user, group] {
            assert!(id.parse::<u32>().is_ok_and(|id| id > 0), "{name}: {id}");
        }
        assert_eq!(host["ReadonlyRootfs"], true, "{name}");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(host["CapAdd"], Value::Null, "{name}");
        assert_eq!(host["Privileged"], false, "{name}");
        let options = host["SecurityOpt"].to_string();
        assert!(options.contains("no-new-privileges:true"), "{name}");
        for limit in ["Memory", "NanoCpus", "PidsLimit"] {
            let value = host[limit].as_i64();
            assert!(value.is_some_and(|value| value > 0), "{name}: {limit}");
        }
        let environment = container["Config"]["Env"].to_string();
        for (path, secret) in files(secured.secrets.path()) {
            let secret = String::from_utf8(secret).unwrap();
            assert!(!environment.contains(secret.trim()), "{name}: {path:?}");
        }
        if container["State"]["Running"] == true {
            check_inside(container["Id"].as_str().unwrap(), user);
        }
    }
}

/// Checks a running container from inside.
fn check_inside(id: &str, user: &str) {
    let run = |script: &str| {
        let args = ["exec", id, "sh", "-c", script];
        Command::new("docker").args(args).output().unwrap()
    };
    let status = text(run("cat /proc/1/status"), &["status"]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(field("Uid:"), user, "{status}");
    assert_eq!(field("CapEff:").trim_start_matches('0'), "", "{status}");
    assert_eq!(field("NoNewPrivs:"), "1", "{status}");
    let error = refused(&run("touch /etc/x"));
    assert!(error.contains("Read-only file system"), "{error}");
}

/// Only the proxy publishes a port, and services reach what they need alone.
fn check_networks(secured: &Secured) {
    let listed = secured.run(&["ps", "--format", "json"]);
    for line in listed.lines() {
        let container: Value = serde_json::from_str(line).unwrap();
        let publishers = container["Publishers"].as_array().unwrap();
        let published = publishers.iter().any(|port| port["PublishedPort"] != 0);
        assert_eq!(published, container["Service"] == "secured-proxy", "{line}");
    }
    for (service, host, port, is_reached) in [
        ("secured-dashboard", "kafka", 9092, true),
        ("secured-dashboard", "postgres", 5432, true),
        ("secured-classifier", "kafka", 9092, true),
        ("secured-classifier", "postgres", 5432, false),
        ("secured-proxy", "iris-dashboard", 8080, true),
        ("secured-proxy", "kafka", 9092, false),
        ("secured-proxy", "postgres", 5432, false),
        // Listeners of the broker for itself.
        ("secured-dashboard", "kafka", 9093, false),
        ("secured-dashboard", "kafka", 19092, false),
    ] {
        let connect = format!("timeout 3 bash -c '</dev/tcp/{host}/{port}'");
        let args = ["exec", "--no-TTY", service, "bash", "-c", &connect];
        let output = secured.output(&args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.success(),
            is_reached,
            "{service} {host}:{port}: {error}"
        );
    }
}

/// Kafka refuses connections without TLS, without a login and with a wrong one.
fn check_kafka_refuses(secured: &Secured) {
    let list = |variables: &[(&str, &str)]| {
        let mut all = vec![("IRIS__SERVICE__WAIT_FOR_BROKER", "false")];
        all.extend(variables);
        secured.once(&all, &["secured-models", "models", "list"])
    };
    let listed = text(list(&[]), &["models", "list"]);
    assert!(listed.contains("champion"), "{listed}");
    for (variables, cause) in [
        (
            &[("IRIS__KAFKA__SECURITY__PROTOCOL", "plaintext")][..],
            "no broker at kafka:9092",
        ),
        (
            &[("IRIS__KAFKA__SECURITY__PROTOCOL", "sasl_plaintext")],
            "no broker at kafka:9092",
        ),
        (
            &[("IRIS__KAFKA__SECURITY__USERNAME", "iris-classifier")],
            "does not authenticate user `iris-classifier`",
        ),
        (
            &[("IRIS__KAFKA__SECURITY__USERNAME", "somebody")],
            "does not authenticate user `somebody`",
        ),
        (
            &[(
                "IRIS__KAFKA__SECURITY__CA",
                "/etc/ssl/certs/ca-certificates.crt",
            )],
            "certificate",
        ),
    ] {
        let output = list(variables);
        let error = refused(&output);
        println!("{variables:?}: {error}");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(cause), "{variables:?}: {error}");
    }
    // Users have no right that was not granted.
    let output = secured.once(&[], &["secured-models", "topics", "create"]);
    let error = refused(&output);
    assert!(error.contains("lacks the right"), "{error}");
}

/// PostgreSQL refuses connections without TLS, wrong passwords, other users and other databases.
fn check_postgres_refuses(secured: &Secured) {
    let (owner, page) = (
        secured.secret("postgres-owner"),
        secured.secret("postgres-page"),
    );
    let query = |variables: &[(&str, &str)], statement: &str| {
        let psql = ["--entrypoint", "psql", "secured-postgres-grant", "-wAtc"];
        let command: Vec<&str> = psql.into_iter().chain([statement]).collect();
        secured.once(variables, &command)
    };
    let count = "SELECT COUNT(*) FROM feedback";
    let as_page = [("PGUSER", "iris_page"), ("PGPASSWORD", page.as_str())];
    assert_eq!(text(query(&as_page, count), &[count]).trim(), "4");
    let with = |variable| [&as_page[..], &[variable]].concat();
    for (variables, statement, cause) in [
        (with(("PGSSLMODE", "disable")), count, "no encryption"),
        (
            with(("PGPASSWORD", owner.as_str())),
            count,
            "password authentication failed",
        ),
        (
            with(("PGDATABASE", "postgres")),
            count,
            "no pg_hba.conf entry",
        ),
        (with(("PGUSER", "postgres")), count, "no pg_hba.conf entry"),
        (
            as_page.to_vec(),
            "DELETE FROM feedback",
            "permission denied",
        ),
    ] {
        let error = refused(&query(&variables, statement));
        assert!(error.contains(cause), "{error}");
    }
}

/// A service that loses a right names it, and works again once it has the right.
fn check_missing_rights(secured: &Secured) {
    let (topic, remove) = ("feedback_topic_demo2", ["--remove", "--force"]);
    let missing = |user: &str, operation: &str| {
        format!("user `{user}` lacks the right {operation} on topic `{topic}`")
    };
    // A service that only reads reports it on /readyz.
    secured.change_right(&remove, "iris-dashboard", "Read", topic);
    let ready = ["exec", "--no-TTY", "secured-dashboard", "healthcheck"];
    let wanted = missing("iris-dashboard", "Read");
    eventually("/readyz to name the right", TIMEOUT, || {
        let answer = String::from_utf8_lossy(&secured.output(&ready).stdout).into_owned();
        answer.contains(&wanted).then_some(())
    })
    .unwrap();
    assert!(secured.log("secured-dashboard").contains(&wanted));
    secured.change_right(&["--add"], "iris-dashboard", "Read", topic);
    eventually("/readyz to be ready", TIMEOUT, || {
        secured.output(&ready).status.success().then_some(())
    })
    .unwrap();

    // A service that writes does not start.
    secured.change_right(&remove, "iris-classifier", "Write", topic);
    let output = secured.once(&[], &["secured-classifier"]);
    let (error, wanted) = (refused(&output), missing("iris-classifier", "Write"));
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&wanted), "{error}");
    eventually("the log to name the right", TIMEOUT, || {
        let log = secured.log("secured-classifier");
        log.contains(&wanted).then_some(())
    })
    .unwrap();
    secured.change_right(&["--add"], "iris-classifier", "Write", topic);
    secured.wait_until_healthy("secured-classifier", CLASSIFIERS);
}
