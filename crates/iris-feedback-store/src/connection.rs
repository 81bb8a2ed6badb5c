//! Connections to the database, read-write or read-only.

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Executor as _};
use url::Url;

use crate::address::Address;
use crate::url::StoreUrl;

/// How long to wait for a connection of a pool.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement of the writer waits for a lock. The limit makes the error name the lock as the cause. Tests do not wait
/// that long.
const LOCK_TIMEOUT_MS: u32 = if cfg!(test) { 200 } else { 5_000 };

/// The kind of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read and write; a SQLite file is created if it does not exist.
    ReadWrite,
    /// To read only; with a time limit, if there is one, for each statement.
    ReadOnly(Option<Duration>),
}

/// A database, and how to connect to it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) database: Database,
    pub(crate) access: Access,
    pub(crate) options: AnyConnectOptions,
}

impl Target {
    /// Returns the database at an address.
    ///
    /// # Errors
    /// The problem with the address, worded to follow the setting's key.
    pub(crate) fn new(url: &StoreUrl, access: Access) -> Result<Self, String> {
        install_default_drivers();
        let (database, url) = match url.address()? {
            Address::Sqlite { file, parameters } => {
                let url = sqlite(&file, parameters, access);
                (Database::Sqlite, url.map_err(|error| error.to_string())?)
            }
            Address::Postgres(mut address) => {
                if let Some(password) = url.password() {
                    address.query_pairs_mut().append_pair("password", password);
                }
                (Database::Postgres, address)
            }
        };
        // A slow store is a problem that is logged once, not once per statement.
        let options = AnyConnectOptions::from_url(&url)
            .map_err(|error| error.to_string())?
            .disable_statement_logging();
        Ok(Self {
            database,
            access,
            options,
        })
    }

    /// Opens one connection. Its error names the cause, which the error of a pool does not.
    ///
    /// # Errors
    /// The error of the database.
    pub(crate) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        connection.execute(AssertSqlSafe(self.session())).await?;
        Ok(connection)
    }

    /// Returns the options of a pool.
    pub(crate) fn pool(&self) -> AnyPoolOptions {
        let acquire_timeout = match self.access {
            // The rest of the time is for finding the cause.
            Access::ReadOnly(Some(timeout)) => timeout * 2 / 3,
            Access::ReadOnly(None) | Access::ReadWrite => CONNECT_TIMEOUT,
        };
        let session = self.session();
        let options = AnyPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(acquire_timeout)
            .after_connect(move |connection, _| {
                let session = AssertSqlSafe(session.clone());
                Box::pin(async move { connection.execute(session).await.map(|_| ()) })
            });
        match self.database {
            // The connection is kept, because the file may be locked when it is opened again.
            Database::Sqlite => options.max_lifetime(None).idle_timeout(None),
            Database::Postgres => options,
        }
    }

    /// Returns the statements that are executed on each new connection.
    fn session(&self) -> String {
        match (self.database, self.access) {
            // Readers do not block the writer. Transactions lost in a power failure are read from Kafka again.
            (Database::Sqlite, Access::ReadWrite) => {
                format!(
                    "PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
                )
            }
            (Database::Sqlite, Access::ReadOnly(_)) => "PRAGMA query_only = TRUE".to_owned(),
            (Database::Postgres, Access::ReadWrite) => {
                format!("SET lock_timeout = {LOCK_TIMEOUT_MS}")
            }
            (Database::Postgres, Access::ReadOnly(timeout)) => {
                // 0 is no timeout.
                let timeout_ms = timeout.unwrap_or_default().as_millis();
                format!(
                    "SET default_transaction_read_only = on; SET statement_timeout = {timeout_ms}"
                )
            }
        }
    }
}

/// Returns the driver's address of a SQLite file. It creates the file only if it is opened to write and no mode is set.
fn sqlite(
    file: &str,
    parameters: Vec<(String, String)>,
    access: Access,
) -> Result<Url, url::ParseError> {
    // Every byte is escaped, because `Url` would shorten `..` in a path and reject some names of hosts.
    let mut url = String::from("sqlite:");
    for byte in file.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(url, "%{byte:02X}");
    }
    let mut url = Url::parse(&url)?;
    let (modes, others): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(key, _)| key == "mode");
    let mode = match (access, modes.last()) {
        (Access::ReadOnly(_), _) => "ro",
        (Access::ReadWrite, Some((_, mode))) => mode,
        (Access::ReadWrite, None) => "rwc",
    };
    url.query_pairs_mut()
        .append_pair("mode", mode)
        .extend_pairs(others);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgConnectOptions;

    use super::*;

    fn target(url: &str, access: Access) -> Target {
        Target::new(&url.into(), access).unwrap()
    }

    #[test]
    fn a_reader_never_creates_a_file_and_a_writer_does_unless_its_mode_forbids_it() {
        let read_only = Access::ReadOnly(None);
        for (url, access, expected) in [
            ("sqlite://a", Access::ReadWrite, "sqlite:%61?mode=rwc"),
            ("sqlite:a?mode=rw", Access::ReadWrite, "sqlite:%61?mode=rw"),
            ("sqlite://a", read_only, "sqlite:%61?mode=ro"),
            (
                "sqlite://a?mode=rwc&cache=shared",
                read_only,
                "sqlite:%61?mode=ro&cache=shared",
            ),
            ("postgres://db/a", Access::ReadWrite, "postgres://db/a"),
        ] {
            let target = target(url, access);
            assert_eq!(target.options.database_url.as_str(), expected);
        }
    }

    #[tokio::test]
    async fn a_file_may_have_any_name() {
        let directory = tempfile::tempdir().unwrap();
        for (name, written) in [
            ("a b+c&d=e#f.db", "a b+c&d=e%23f.db"),
            ("50%.db", "50%25.db"),
            ("wer?.db", "wer%3F.db"),
            ("schön.db", "schön.db"),
        ] {
            let url = format!("sqlite://{}/{written}", directory.path().display());
            target(&url, Access::ReadWrite).connect().await.unwrap();
            assert!(directory.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn the_driver_receives_the_password_of_a_file_as_it_is() {
        let password = "s/w?o#r@d:f%41i s&h+=ü";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{password}\n")).unwrap();
        let url = StoreUrl::from("postgres://iris@db/feedback?sslmode=disable");
        let url = url.with_password_file(Some(file.path())).unwrap();
        let address = Target::new(&url, Access::ReadWrite).unwrap().options;
        let options = PgConnectOptions::from_url(&address.database_url).unwrap();
        let received = options.to_url_lossy();
        let received = received.password().unwrap().replace('+', "%2B");
        let received: Vec<_> = url::form_urlencoded::parse(received.as_bytes()).collect();
        assert_eq!(received[0].0, password);
    }

    #[test]
    fn a_reader_cannot_write_and_has_the_timeout_it_was_given() {
        let session = |url, timeout| target(url, Access::ReadOnly(timeout)).session();
        assert_eq!(session("sqlite://a", None), "PRAGMA query_only = TRUE");
        assert_eq!(
            session("postgres://db/a", Some(Duration::from_secs(3))),
            "SET default_transaction_read_only = on; SET statement_timeout = 3000"
        );
        assert!(session("postgres://db/a", None).ends_with("statement_timeout = 0"));
    }
}
