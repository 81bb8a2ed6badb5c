//! The users of the store in PostgreSQL, with the statements of `docs/SECURITY.md`.

use iris_feedback_store::{FeedbackReader, FeedbackRow, FeedbackStore, Migrated, StoredOffsets};
use iris_testkit::{Fixture, workspace};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

/// A database with the three users.
struct Database {
    admin: String,
    /// The name in place of `iris`.
    name: String,
}

impl Database {
    fn new() -> Self {
        sqlx::any::install_default_drivers();
        let admin = Fixture::for_broker("nowhere:1")
            .unwrap()
            .postgres()
            .unwrap();
        let (_, name) = admin.rsplit_once('/').unwrap();
        Self {
            name: name.to_owned(),
            admin,
        }
    }

    /// Returns a text of the documentation with names that no other test uses.
    fn renamed(&self, text: &str) -> String {
        text.replace("iris_", &format!("{}_", self.name))
    }

    /// Returns the statements of a block of the documentation.
    fn statements(&self, block: usize) -> Vec<String> {
        let document = std::fs::read_to_string(workspace().join("docs/SECURITY.md")).unwrap();
        let sql = document.split("```sql\n").nth(block + 1).unwrap();
        let sql = sql.split("```").next().unwrap();
        let lines = sql.lines().filter(|line| !line.starts_with("--"));
        let statements: Vec<&str> = lines.collect();
        let statements = statements.join("\n");
        let statements = statements.split(';').map(str::trim);
        statements
            .filter(|statement| !statement.is_empty())
            .map(|statement| self.renamed(statement))
            .collect()
    }

    /// Returns the address of the database for a user: `owner`, `sink`, `page` or, for an administrator, an empty text.
    fn url(&self, user: &str) -> String {
        let (server, _) = self.admin.rsplit_once('/').unwrap();
        let server = match user {
            "" => server.to_owned(),
            user => {
                let host = server.rsplit(['@', '/']).next().unwrap();
                format!("postgres://{}_{user}:{user}-password@{host}", self.name)
            }
        };
        format!("{server}/{}_feedback", self.name)
    }

    /// Executes a statement as a user.
    async fn execute(&self, user: &str, statement: &str) -> Result<(), sqlx::Error> {
        execute(&self.url(user), statement).await
    }

    /// Does everything that the sink does.
    async fn store(&self, partition: i32) -> Result<(), String> {
        let text =
            |error: iris_feedback_store::StoreError| format!("{:#}", anyhow::Error::from(error));
        let url = self.url("sink").as_str().into();
        let store = FeedbackStore::open(&url).await.map_err(text)?;
        let row = |offset| FeedbackRow {
            source_topic: "t".to_owned(),
            source_partition: partition.into(),
            source_offset: offset,
            value: "{}".to_owned(),
            ..FeedbackRow::default()
        };
        let topic = format!("t{partition}");
        store.source_topic(&topic, "id").await.map_err(text)?;
        let mut before = StoredOffsets::new();
        for offset in 0..2 {
            let after = [(partition, offset + 1)].into();
            let stored = store.append("t", &[row(offset)], &before, &after).await;
            stored.map_err(text)?;
            before = after;
        }
        let offsets = store.offsets("t").await.map_err(text)?;
        assert_eq!(offsets[&partition], 2);
        let found = store.row("t", partition.into(), 1).await.map_err(text)?;
        assert_eq!(found, Some(row(1)));
        Ok(())
    }

    /// Does everything that the page does.
    async fn read(&self) -> Result<(), String> {
        let reader = FeedbackReader::new(&self.url("page").as_str().into(), None).unwrap();
        reader.count().await.map_err(|error| error.to_string())?;
        reader.newest(5).await.map_err(|error| error.to_string())?;
        reader
            .search("a", 5)
            .await
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

async fn execute(url: &str, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect(url).await?;
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await
}

/// Splits `GRANT A, B ON TABLE TO USERS` into one revocation for each right and user, and the statement that undoes it.
fn revocations(grant: &str) -> Vec<(String, String, String)> {
    let (rights, rest) = grant
        .strip_prefix("GRANT ")
        .unwrap()
        .split_once(" ON ")
        .unwrap();
    let (object, users) = rest.split_once(" TO ").unwrap();
    let mut all = Vec::new();
    for right in rights.split(", ") {
        for user in users.split(", ") {
            let revoke = format!("REVOKE {right} ON {object} FROM {user}");
            let grant = format!("GRANT {right} ON {object} TO {user}");
            all.push((revoke, grant, user.to_owned()));
        }
    }
    all
}

#[tokio::test]
async fn each_user_of_the_documentation_has_the_rights_that_it_needs_and_no_others() {
    let database = tokio::task::spawn_blocking(Database::new).await.unwrap();
    for statement in database.statements(0) {
        execute(&database.admin, &statement).await.unwrap();
    }
    for statement in database.statements(1) {
        database.execute("", &statement).await.unwrap();
    }

    // Without tables.
    let refused = database.store(0).await.unwrap_err();
    assert!(
        refused.contains("may not create tables; run `iris-feedback-sink migrate`"),
        "{refused}"
    );
    database.read().await.unwrap_err();

    // With tables, and without rights on them.
    let owner = database.url("owner").as_str().into();
    let migrated = FeedbackStore::migrate(&owner).await.unwrap();
    assert!(migrated.from == 0 && migrated.to > 0, "{migrated:?}");
    let again = FeedbackStore::migrate(&owner).await.unwrap();
    assert_eq!(
        again,
        Migrated {
            from: migrated.to,
            ..migrated
        }
    );
    let refused = database.store(0).await.unwrap_err();
    assert!(refused.contains("permission denied for table"), "{refused}");
    let refused = database.read().await.unwrap_err();
    assert!(
        refused.contains("permission denied for table feedback;"),
        "{refused}"
    );

    let grants = database.statements(2);
    for statement in &grants {
        database.execute("owner", statement).await.unwrap();
    }
    database.store(1).await.unwrap();
    database.read().await.unwrap();

    // Each right is needed.
    let schema = database.statements(1);
    let mut partition = 1;
    for grant in grants
        .iter()
        .chain(&schema)
        .filter(|statement| statement.starts_with("GRANT"))
    {
        for (revoke, grant, user) in revocations(grant) {
            if user.ends_with("_owner") {
                continue;
            }
            database.execute("", &revoke).await.unwrap();
            partition += 1;
            let outcome = if user.ends_with("_sink") {
                database.store(partition).await
            } else {
                database.read().await
            };
            println!("{revoke}: {outcome:?}");
            assert!(outcome.is_err(), "{revoke}");
            database.execute("", &grant).await.unwrap();
        }
    }
    database.store(0).await.unwrap();
    database.read().await.unwrap();

    // A schema of an earlier version is not one that the sink may migrate.
    let earlier = "DELETE FROM _sqlx_migrations WHERE version > 1; DROP TABLE feedback_topics";
    database.execute("owner", earlier).await.unwrap();
    let refused = database.store(partition + 1).await.unwrap_err();
    assert!(refused.contains("its schema has version 1"), "{refused}");
    FeedbackStore::migrate(&owner).await.unwrap();

    // No other rights.
    for (user, statement) in [
        ("sink", "DELETE FROM feedback"),
        ("sink", "UPDATE feedback SET value = ''"),
        ("sink", "DELETE FROM feedback_offsets"),
        ("sink", "UPDATE feedback_topics SET topic_id = ''"),
        ("sink", "DELETE FROM _sqlx_migrations"),
        ("sink", "CREATE TABLE more (a INT)"),
        ("sink", "DROP TABLE feedback"),
        (
            "page",
            "INSERT INTO feedback (source_topic, source_partition, source_offset, value) VALUES ('t', 0, 9, '')",
        ),
        ("page", "DELETE FROM feedback"),
        ("page", "SELECT * FROM feedback_offsets"),
        ("page", "CREATE TABLE more (a INT)"),
    ] {
        let refused = database.execute(user, statement).await.unwrap_err();
        let error = refused.as_database_error().unwrap();
        assert_eq!(
            error.code().unwrap(),
            "42501",
            "{user}: {statement}: {error}"
        );
    }
}
