//! Connections to the database, read-write or read-only.

use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::url::StoreUrl;

/// How long opening a connection may take. Shorter than the sink waits for an answer, so that the error names the cause.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The kind of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// Returns the kind of the database at an address.
    pub(crate) fn at(url: &StoreUrl) -> Self {
        if url.expose().starts_with("sqlite:") {
            Self::Sqlite
        } else {
            Self::Postgres
        }
    }
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read and write; a SQLite file is created if it does not exist.
    ReadWrite,
    /// To read only, each statement for at most this time, if any is set.
    ReadOnly(Option<Duration>),
}

/// Returns the options of a pool, and the address that it connects to.
pub(crate) fn pool(url: &StoreUrl, access: Access) -> (AnyPoolOptions, String) {
    install_default_drivers();
    let database = Database::at(url);
    let acquire_timeout = match access {
        Access::ReadOnly(Some(timeout)) => timeout,
        Access::ReadOnly(None) | Access::ReadWrite => CONNECT_TIMEOUT,
    };
    let options = AnyPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(acquire_timeout)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                let settings = AssertSqlSafe(session_settings(database, access));
                connection.execute(settings).await.map(|_| ())
            })
        });
    (options, address(url, access))
}

/// Returns the address with SQLite's mode, unless the address has parameters of its own.
fn address(url: &StoreUrl, access: Access) -> String {
    let url = StoreUrl::expose(url);
    let mode = match access {
        Access::ReadWrite => "rwc",
        Access::ReadOnly(_) => "ro",
    };
    if url.starts_with("sqlite:") && !url.contains('?') {
        format!("{url}?mode={mode}")
    } else {
        url.to_owned()
    }
}

/// Returns the statements that a new connection begins with.
fn session_settings(database: Database, access: Access) -> String {
    match (database, access) {
        // Readers do not block the writer. Transactions lost in a power failure are read from Kafka again.
        (Database::Sqlite, Access::ReadWrite) => {
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL".to_owned()
        }
        (Database::Sqlite, Access::ReadOnly(_)) => "PRAGMA query_only = TRUE".to_owned(),
        // As long as SQLite's driver waits for a lock, so that the error names the cause.
        (Database::Postgres, Access::ReadWrite) => "SET lock_timeout = '5s'".to_owned(),
        (Database::Postgres, Access::ReadOnly(timeout)) => {
            // 0 is no timeout.
            let timeout_ms = timeout.unwrap_or_default().as_millis();
            format!("SET default_transaction_read_only = on; SET statement_timeout = {timeout_ms}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_has_a_mode_unless_the_address_names_one() {
        let read_only = Access::ReadOnly(None);
        for (url, access, expected) in [
            ("sqlite://a.db", Access::ReadWrite, "sqlite://a.db?mode=rwc"),
            ("sqlite://a.db", read_only, "sqlite://a.db?mode=ro"),
            (
                "sqlite://a.db?cache=shared",
                read_only,
                "sqlite://a.db?cache=shared",
            ),
            ("postgres://db/a", Access::ReadWrite, "postgres://db/a"),
        ] {
            assert_eq!(address(&url.into(), access), expected);
        }
    }

    #[test]
    fn a_reader_cannot_write_and_has_the_timeout_it_was_given() {
        let settings = |database, timeout| session_settings(database, Access::ReadOnly(timeout));
        assert_eq!(settings(Database::Sqlite, None), "PRAGMA query_only = TRUE");
        assert_eq!(
            settings(Database::Postgres, Some(Duration::from_secs(3))),
            "SET default_transaction_read_only = on; SET statement_timeout = 3000"
        );
        assert!(settings(Database::Postgres, None).ends_with("statement_timeout = 0"));
    }
}
