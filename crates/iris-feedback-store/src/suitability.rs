//! Checks that a database can be this store, and migrates its schema.

use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::cause::Cause;
use crate::connection::Database;
use crate::row::FeedbackRow;
use crate::schema::migrator;

/// The table in which migrations are recorded, by this store and by other programs that use the same library.
const MIGRATIONS: &str = "_sqlx_migrations";

/// The store's own tables.
const TABLES: [&str; 3] = ["feedback", "feedback_offsets", "feedback_topics"];

/// Migrates the schema of a database that is empty or has an older schema of this store. Another program's database stays
/// unchanged.
///
/// # Errors
/// Why the database cannot be used, or not now.
pub(crate) async fn migrate(
    connection: &mut AnyConnection,
    database: Database,
) -> Result<(), Cause> {
    check_encoding(connection, database).await?;
    let mut existing = Vec::new();
    for table in TABLES {
        if exists(connection, database, table).await? {
            existing.push(table);
        }
    }
    let is_migrated = exists(connection, database, MIGRATIONS).await?;
    if let (Some(table), false) = (existing.first(), is_migrated) {
        return Err(foreign(format!(
            "it has a table `{table}` that another program created"
        )));
    }
    let migrated = migrator().run(&mut *connection).await;
    migrated.map_err(|error| of_migration(&error, database, existing.is_empty()))?;
    check_columns(connection, database).await
}

/// Returns the cause of an error of the migrations. `is_foreign` is whether the database has no table of this store.
fn of_migration(error: &MigrateError, database: Database, is_foreign: bool) -> Cause {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Cause::of(error, database)
        }
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) if is_foreign => {
            foreign(format!(
                "its table `{MIGRATIONS}` has migrations of another program"
            ))
        }
        MigrateError::VersionMissing(version) => permanent(format!(
            "its schema has version {version}, which is newer than this program; start the version of the program that \
             migrated it, or a later one"
        )),
        other => foreign(format!("its schema is not one of this program ({other})")),
    }
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
