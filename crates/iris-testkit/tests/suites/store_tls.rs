//! Verified connections to PostgreSQL.

use std::path::Path;

use iris_feedback_store::{FeedbackReader, FeedbackStore, StoreError};
use iris_testkit::{Authority, Fixture, TIMEOUT, eventually, runtime};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

/// Executes statements as the administrator of the server.
fn execute(url: &str, statements: &[String]) {
    sqlx::any::install_default_drivers();
    runtime().unwrap().block_on(async {
        let mut connection = AnyConnection::connect(url).await.unwrap();
        for statement in statements {
            let statement = AssertSqlSafe(statement.as_str());
            connection.execute(statement).await.unwrap();
        }
        connection.close().await.unwrap();
    });
}

/// Has the server write a file that only itself may read, as the server requires of a key.
fn write_on_server(url: &str, text: &str, name: &str) {
    let lines = text.lines().map(|line| format!("('{line}')"));
    let lines: Vec<String> = lines.collect();
    let copy = format!(
        "COPY (VALUES {}) TO PROGRAM 'umask 077; cat > {name}'",
        lines.join(", ")
    );
    execute(url, &[copy]);
}

/// Turns TLS of the server on, with a certificate for `localhost`. Turns it off when it is dropped.
struct Tls<'a>(&'a str);

impl<'a> Tls<'a> {
    fn start(url: &'a str, authority: &Authority, directory: &Path) -> Self {
        let issued = authority.issue("localhost").unwrap();
        issued.write(directory, "server").unwrap();
        for name in ["server.pem", "server.key"] {
            let text = std::fs::read_to_string(directory.join(name)).unwrap();
            write_on_server(url, &text, name);
        }
        let settings = [
            "ALTER SYSTEM SET ssl_cert_file = 'server.pem'",
            "ALTER SYSTEM SET ssl_key_file = 'server.key'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ];
        execute(url, &settings.map(str::to_owned));
        Self(url)
    }
}

impl Drop for Tls<'_> {
    fn drop(&mut self) {
        let settings = ["ALTER SYSTEM RESET ssl", "SELECT pg_reload_conf()"];
        execute(self.0, &settings.map(str::to_owned));
    }
}

/// Opens a store to write and to read. Returns the cause if it is refused.
fn open(url: &str) -> Result<(), String> {
    let url = url.into();
    runtime().unwrap().block_on(async {
        let written = FeedbackStore::open(&url).await;
        let read = FeedbackReader::new(&url, None).unwrap().count().await;
        match written {
            Ok(_) => {
                read.unwrap();
                Ok(())
            }
            Err(StoreError::Unusable { cause, .. }) => {
                assert!(read.unwrap_err().to_string().contains(&cause));
                Err(cause)
            }
            Err(other) => panic!("{other}"),
        }
    })
}

#[test]
fn the_certificate_and_the_name_of_the_server_are_verified_as_sslmode_says() {
    let fixture = Fixture::for_broker("nowhere:1").unwrap();
    let url = fixture.postgres().unwrap();
    let directory = fixture.directory();
    let authorities = ["own", "other"].map(|name| {
        let authority = Authority::new(name).unwrap();
        let file = directory.join(format!("{name}.pem"));
        Authority::write(&[&authority], &file).unwrap();
        authority
    });
    let _tls = Tls::start(&url, &authorities[0], directory);
    let with = |host: &str, parameters: &str| {
        let url = url.replace("localhost", host);
        let root = |name: &str| format!("sslrootcert={}", directory.join(name).display());
        let parameters = parameters
            .replace("OWN", &root("own.pem"))
            .replace("OTHER", &root("other.pem"));
        format!("{url}?{parameters}")
    };
    // The server reloads its settings a moment later.
    eventually("the server to offer TLS", TIMEOUT, || {
        open(&with("localhost", "sslmode=require")).ok()
    })
    .unwrap();
    for (host, parameters, is_accepted) in [
        ("localhost", "sslmode=verify-full&OWN", true),
        ("127.0.0.1", "sslmode=verify-ca&OWN", true),
        ("127.0.0.1", "sslmode=verify-full&OWN", false),
        ("localhost", "sslmode=verify-full&OTHER", false),
        ("localhost", "sslmode=verify-ca&OTHER", false),
        ("localhost", "sslmode=verify-full", false),
        ("127.0.0.1", "sslmode=require&OTHER", true),
    ] {
        let outcome = open(&with(host, parameters));
        println!("{host} {parameters}: {outcome:?}");
        match outcome {
            Ok(()) => assert!(is_accepted, "{host} {parameters}"),
            Err(cause) => {
                assert!(!is_accepted, "{host} {parameters}: {cause}");
                assert!(cause.contains("certificate verify failed"), "{cause}");
            }
        }
    }
}
