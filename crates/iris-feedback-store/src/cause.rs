//! The cause of a database's error in words, and whether retrying can help.

use std::borrow::Cow;

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
            "; give the user the right to create and to write tables: GRANT CREATE, USAGE ON SCHEMA public TO ..."
        }
        ("42P01", _) => return missing_table(),
        _ => "",
    };
    // Read-only until a fail-over; lost connections, conflicts with others, locks, no resources, operators, the system, bugs.
    let may_clear = code == "25006" || ["08", "40", "53", "55", "57", "58", "XX"].contains(&class);
    Cause {
        text: format!("{message}{fix}"),
        may_clear,
    }
}

fn missing_table() -> Cause {
    Cause {
        text: "it has no table of feedback; iris-feedback-sink creates it when it is started with this store".to_owned(),
        may_clear: false,
    }
}
