//! The rights that the sink's user needs in PostgreSQL while the schema is up to date.

use sqlx::AnyConnection;

use crate::cause::Cause;
use crate::connection::Database;

/// The rights on each table. Rows are never changed and never deleted.
const RIGHTS: [(&str, &[&str]); 3] = [
    ("feedback", &["SELECT", "INSERT"]),
    ("feedback_offsets", &["SELECT", "INSERT", "UPDATE"]),
    ("feedback_topics", &["SELECT", "INSERT"]),
];

/// Checks that the user has the rights to store rows. The tables must exist.
///
/// # Errors
/// The first right that is missing, with the statement that grants it.
pub(crate) async fn check(connection: &mut AnyConnection, database: Database) -> Result<(), Cause> {
    if database == Database::Sqlite {
        return Ok(());
    }
    for (table, rights) in RIGHTS {
        for right in rights {
            let has_right: bool = sqlx::query_scalar("SELECT has_table_privilege($1, $2)")
                .bind(table)
                .bind(*right)
                .fetch_one(&mut *connection)
                .await
                .map_err(|error| Cause::of(&error, database))?;
            if !has_right {
                return Err(Cause {
                    text: format!(
                        "this user lacks the right {right} on the table `{table}`; as the owner of the table, run GRANT {} ON \
                         {table} TO this user",
                        rights.join(", ")
                    ),
                    may_clear: false,
                });
            }
        }
    }
    Ok(())
}
