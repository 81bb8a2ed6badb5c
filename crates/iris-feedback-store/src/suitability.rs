//! Checks that a database can be this store, and migrates its schema.

use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::cause::Cause;
use crate::connection::Database;
use crate::rights;
use crate::row::FeedbackRow;
use crate::schema::{MIGRATIONS_TABLE, VERSION, migrator};

/// The store's own tables.
const TABLES: [&str; 3] = ["feedback", "feedback_offsets", "feedback_topics"];

/// Migrates the schema of a database that is empty or has an older schema of this store. Another program's database stays
/// unchanged. If the schema is up to date, nothing is written, so that a user who may not create tables suffices. Returns the
/// version that the schema had; 0 if there was none.
///
/// # Errors
/// Why the database cannot be used, or not now.
pub(crate) async fn migrate(
    connection: &mut AnyConnection,
    database: Database,
) -> Result<i64, Cause> {
    check_encoding(connection, database).await?;
    let mut existing = Vec::new();
    for table in TABLES {
        if exists(connection, database, table).await? {
            existing.push(table);
        }
    }
    let is_migrated = exists(connection, database, MIGRATIONS_TABLE).await?;
    if let (Some(table), false) = (existing.first(), is_migrated) {
        return Err(foreign(format!(
            "it has a table `{table}` that another program created"
        )));
    }
    let applied = if is_migrated {
        applied(connection, database).await?
    } else {
        Vec::new()
    };
    let from = applied.last().map_or(0, |(version, _)| *version);
    if !is_current(&applied) {
        let migrated = migrator().run(&mut *connection).await;
        migrated.map_err(|error| of_migration(&error, database, existing.is_empty(), from))?;
    }
    rights::check(connection, database).await?;
    check_columns(connection, database).await?;
    Ok(from)
}

/// Returns the version and the checksum of each migration that was applied; none if the table is of another program and has other
/// columns.
async fn applied(
    connection: &mut AnyConnection,
    database: Database,
) -> Result<Vec<(i64, Vec<u8>)>, Cause> {
    let select =
        format!("SELECT version, checksum FROM {MIGRATIONS_TABLE} WHERE success ORDER BY version");
    let applied = sqlx::query_as(AssertSqlSafe(select)).fetch_all(connection);
    match applied.await {
        Err(sqlx::Error::ColumnDecode { .. }) => Ok(Vec::new()),
        Err(error) if is_denied(&error) || Cause::of(&error, database).may_clear => {
            Err(Cause::of(&error, database))
        }
        other => Ok(other.unwrap_or_default()),
    }
}

/// Whether all migrations of this program were applied, and no others.
fn is_current(applied: &[(i64, Vec<u8>)]) -> bool {
    let migrator = migrator();
    let own = migrator
        .iter()
        .map(|migration| (migration.version, &*migration.checksum));
    own.eq(applied
        .iter()
        .map(|(version, checksum)| (*version, checksum.as_slice())))
}

/// Returns the cause of an error of the migrations from version `from` of the schema. `is_foreign` is whether the database has
/// no table of this store.
fn of_migration(error: &MigrateError, database: Database, is_foreign: bool, from: i64) -> Cause {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if is_denied(error) =>
        {
            let state = if from == 0 {
                "this user sees no tables of this program in it".to_owned()
            } else {
                format!(
                    "its schema has version {from}, this program needs version {VERSION}, this user"
                )
            };
            permanent(format!(
                "{state}, and may not create tables; run `iris-feedback-sink migrate` as a user who may, and grant this user its \
                 rights"
            ))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Cause::of(error, database)
        }
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) if is_foreign => {
            foreign(format!(
                "its table `{MIGRATIONS_TABLE}` has migrations of another program"
            ))
        }
        MigrateError::VersionMissing(version) => permanent(format!(
            "its schema has version {version}, which is newer than this program; start the version of the program that \
             migrated it, or a later one"
        )),
        other => foreign(format!("its schema is not one of this program ({other})")),
    }
}

/// Whether the user lacks a right in PostgreSQL.
fn is_denied(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let code = error.and_then(|error| error.code());
    code.is_some_and(|code| ["42501", "3F000"].contains(&&*code))
}

/// Checks that the tables have the columns that this program reads and writes.
async fn check_columns(connection: &mut AnyConnection, database: Database) -> Result<(), Cause> {
    let columns = FeedbackRow::COLUMNS.join(", ");
    let offsets = "source_topic, source_partition, next_offset";
    let topics = "source_topic, topic_id";
    for (table, columns) in TABLES.into_iter().zip([columns.as_str(), offsets, topics]) {
        let select = AssertSqlSafe(format!("SELECT {columns} FROM {table} WHERE 1 = 0"));
        if let Err(error) = sqlx::query(select).fetch_optional(&mut *connection).await {
            let cause = Cause::of(&error, database);
            if cause.may_clear {
                return Err(cause);
            }
            return Err(foreign(format!(
                "its table `{table}` is not one of this program ({})",
                cause.text
            )));
        }
    }
    Ok(())
}

/// Checks that the database can store every text. `SQL_ASCII` can: it stores bytes without conversion.
async fn check_encoding(connection: &mut AnyConnection, database: Database) -> Result<(), Cause> {
    if database == Database::Sqlite {
        return Ok(());
    }
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(connection)
        .await
        .map_err(|error| Cause::of(&error, database))?;
    if matches!(encoding.as_str(), "UTF8" | "SQL_ASCII") {
        return Ok(());
    }
    Err(permanent(format!(
        "its encoding is {encoding}, which cannot store every text; create a database with ENCODING 'UTF8', and name that"
    )))
}

/// Returns whether the database has a table or a view of this name.
async fn exists(
    connection: &mut AnyConnection,
    database: Database,
    table: &str,
) -> Result<bool, Cause> {
    let count = match database {
        Database::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE name = $1",
        Database::Postgres => "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass($1)",
    };
    let count: i64 = sqlx::query_scalar(count)
        .bind(table)
        .fetch_one(connection)
        .await
        .map_err(|error| Cause::of(&error, database))?;
    Ok(count > 0)
}

fn foreign(problem: String) -> Cause {
    permanent(format!("{problem}; name another database"))
}

fn permanent(text: String) -> Cause {
    Cause {
        text,
        may_clear: false,
    }
}
