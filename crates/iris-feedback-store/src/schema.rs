//! The schema of the database, as migrations.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The migrations by version and description. A migration that has shipped never changes.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "feedback",
        include_str!("../migrations/0001_feedback.sql"),
    ),
    (2, "topics", include_str!("../migrations/0002_topics.sql")),
];

/// The table in which migrations are recorded, by this store and by other programs that use the same library.
pub(crate) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// The version of the schema of this program.
pub(crate) const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Returns the migrator that brings a database up to date.
pub(crate) fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.into())
}
