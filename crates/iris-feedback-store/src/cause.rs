//! The cause of a database's error in words, and whether retrying can help.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use sqlx::error::DatabaseError;

use crate::connection::Database;

/// The cause of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The cause, and the fix if there is one.
    pub(crate) text: String,
    /// Whether the same call can succeed later without a change of the settings or of the database by its administrator.
    pub(crate) may_clear: bool,
}

impl Cause {
    /// Returns the cause of an error.
    pub(crate) fn of(error: &sqlx::Error, database: Database) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or(Cow::Borrowed(""));
                match database {
                    Database::Sqlite => sqlite(&code, &**error),
                    Database::Postgres => postgres(&code, &**error),
                }
            }
            // The driver's text may repeat the address.
            sqlx::Error::Configuration(_) => Self {
                text: "its address cannot be used; check it".to_owned(),
                may_clear: false,
            },
            sqlx::Error::Tls(error) => tls(&**error),
            // With TLS 1.3, the server refuses the client's certificate after the handshake.
            sqlx::Error::Io(error) if is_alert(error) => tls(error),
            other => Self::temporary(other.to_string()),
        }
    }

    /// Returns a cause that may clear by itself.
    pub(crate) fn temporary(text: String) -> Self {
        Self {
            text,
            may_clear: true,
        }
    }
}

/// Returns the cause of an error of SQLite with its extended result code.
fn sqlite(code: &str, error: &dyn DatabaseError) -> Cause {
    let message = error.message();
    // The primary result code is the lowest byte.
    let primary = code.parse::<u32>().map_or(0, |code| code & 0xff);
    let (may_clear, fix) = match primary {
        // No memory, busy, locked, interrupted, I/O error, disk full, protocol of locks, schema changed.
        5 | 6 | 7 | 9 | 10 | 13 | 15 | 17 => (true, ""),
        3 | 8 | 23 => (
            false,
            "; give this user the right to write the file and its directory",
        ),
        11 => (false, "; restore the file from a copy, or name another one"),
        14 => (
            false,
            "; check that the file's directory exists and that this user may write in it (a reader needs an existing file)",
        ),
        26 => (false, "; name another file"),
        1 if message.starts_with("no such table: feedback") => {
            return missing_table();
        }
        _ => (false, ""),
    };
    Cause {
        text: format!("{message}{fix}"),
        may_clear,
    }
}

/// Returns the cause of an error of PostgreSQL with its SQLSTATE.
fn postgres(code: &str, error: &dyn DatabaseError) -> Cause {
    let message = error.message();
    let class = code.get(..2).unwrap_or_default();
    let fix = match (code, class) {
        (_, "28") => "; check the user and the password, and the server's pg_hba.conf",
        ("3D000", _) => "; create the database, or name another one",
        ("42501" | "3F000", _) => {
            "; grant the user its rights: to read, USAGE on the schema and SELECT on feedback; to store, also SELECT on \
             _sqlx_migrations, feedback_offsets and feedback_topics, INSERT on these two and feedback, and UPDATE on \
             feedback_offsets"
        }
        ("42P01", _) => {
            let Cause { text, may_clear } = missing_table();
            let text = format!("{text}; if it exists, grant this user USAGE on its schema");
            return Cause { text, may_clear };
        }
        _ => "",
    };
    // Read-only until a fail-over; lost connections, conflicts with others, locks, no resources, operators, the system, bugs.
    let may_clear = code == "25006" || ["08", "40", "53", "55", "57", "58", "XX"].contains(&class);
    Cause {
        text: format!("{message}{fix}"),
        may_clear,
    }
}

/// Returns the cause of an error of TLS. It may clear only if the connection was lost.
fn tls(error: &(dyn Error + 'static)) -> Cause {
    let text = error.to_string();
    if is_lost(error) {
        return Cause::temporary(format!("the connection was lost during TLS: {text}"));
    }
    let fix = if text.contains("does not support TLS") {
        "enable TLS on the server, or use an address without sslmode"
    } else if text.contains("certificate verify failed") {
        "set sslrootcert in the address to the certificate of the authority that signed the server's, and name the server as \
         its certificate does"
    } else {
        "check sslmode, sslrootcert, sslcert and sslkey in the address, and that the server speaks TLS"
    };
    Cause {
        text: format!("{text}; {fix}"),
        may_clear: false,
    }
}

/// Whether the connection was lost, according to an error of TLS or its sources.
fn is_lost(error: &(dyn Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |&error| error.source());
    errors.any(|error| {
        let is_io = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| !is_alert(error));
        is_io || error.to_string().to_lowercase().contains("unexpected eof")
    })
}

/// Whether the peer has ended TLS with an alert, which says why.
fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.to_string().contains("alert"))
}

fn missing_table() -> Cause {
    Cause {
        text: "it has no table of feedback; iris-feedback-sink creates it when it is started with this store".to_owned(),
        may_clear: false,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use sqlx::error::ErrorKind;

    use super::*;

    /// An error of a database with this code.
    #[derive(Debug)]
    struct Coded(&'static str);

    impl fmt::Display for Coded {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("failed")
        }
    }

    impl Error for Coded {}

    impl DatabaseError for Coded {
        fn message(&self) -> &str {
            "failed"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.0))
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn may_clear(database: Database, code: &'static str) -> bool {
        let error = sqlx::Error::Database(Box::new(Coded(code)));
        Cause::of(&error, database).may_clear
    }

    #[test]
    fn a_server_that_is_busy_starting_or_full_may_recover_and_a_refusal_does_not() {
        // Too many connections, starting, shut down, lock timeout, disk full, deadlock, connection failure, standby.
        for code in [
            "53300", "57P03", "57P01", "55P03", "53100", "40P01", "08006", "25006",
        ] {
            assert!(may_clear(Database::Postgres, code), "{code}");
        }
        // Password, role, database, rights, schema, table, column, syntax.
        for code in [
            "28P01", "28000", "3D000", "42501", "3F000", "42P01", "42703", "42601", "",
        ] {
            assert!(!may_clear(Database::Postgres, code), "{code}");
        }
    }

    #[test]
    fn a_file_that_is_locked_or_on_a_full_disk_may_recover_and_another_file_does_not() {
        // Busy and its extended codes, locked, I/O error, full.
        for code in ["5", "261", "517", "6", "10", "778", "13"] {
            assert!(may_clear(Database::Sqlite, code), "{code}");
        }
        // Not a database, corrupt, cannot open, read-only and its extended codes, no rights, missing column.
        for code in ["26", "11", "14", "8", "264", "1032", "3", "23", "1", ""] {
            assert!(!may_clear(Database::Sqlite, code), "{code}");
        }
    }

    #[test]
    fn the_text_of_an_invalid_address_is_not_repeated() {
        let error = sqlx::Error::Configuration("postgres://iris:secret@db".into());
        let cause = Cause::of(&error, Database::Postgres);
        assert!(!cause.text.contains("secret") && !cause.may_clear);
        assert!(Cause::of(&sqlx::Error::PoolTimedOut, Database::Postgres).may_clear);
    }

    /// An error with this text and source.
    #[derive(Debug)]
    struct Failed(&'static str, Option<io::Error>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|error| error as _)
        }
    }

    #[test]
    fn an_error_of_tls_is_permanent_unless_the_connection_was_lost() {
        let of = |error| Cause::of(&error, Database::Postgres);
        let tls = |text, source| of(sqlx::Error::Tls(Box::new(Failed(text, source))));
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let alert = || io::Error::other("error:0A000418:ssl/tls alert unknown ca");
        for (text, fix) in [
            ("server does not support TLS", "enable TLS on the server"),
            ("certificate verify failed: self-signed", "set sslrootcert"),
            ("wrong version number", "check sslmode"),
        ] {
            let cause = tls(text, None);
            assert!(!cause.may_clear, "{text}");
            assert!(cause.text.starts_with(&format!("{text}; {fix}")), "{text}");
        }
        assert!(!tls("handshake", Some(alert())).may_clear);
        assert!(!of(sqlx::Error::Io(alert())).may_clear);
        for lost in [
            tls("handshake", Some(reset())),
            tls("Unexpected EOF while reading", None),
            of(sqlx::Error::Io(reset())),
            of(sqlx::Error::Io(refused())),
        ] {
            assert!(lost.may_clear, "{}", lost.text);
        }
    }
}
