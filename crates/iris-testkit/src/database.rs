//! Databases for tests, on a PostgreSQL that runs already.

use std::time::Duration;

use anyhow::Context;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use crate::runtime::runtime;
use crate::wait::eventually;

/// The environment variable with the URL of a PostgreSQL for tests.
pub const POSTGRES_VARIABLE: &str = "IRIS_TEST_POSTGRES";

/// How long the server may take to accept connections.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates an empty database on a PostgreSQL. Returns its URL.
///
/// # Errors
/// If the server does not answer or refuses.
pub fn create_database(server: &str, name: &str) -> anyhow::Result<String> {
    sqlx::any::install_default_drivers();
    let runtime = runtime()?;
    // A server listens before it accepts connections.
    let mut admin = eventually("the database server to answer", CONNECT_TIMEOUT, || {
        runtime.block_on(AnyConnection::connect(server)).ok()
    })?;
    runtime.block_on(async {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        admin.execute(create).await.context("creating a database")
    })?;
    let (address, _) = server
        .rsplit_once('/')
        .context("the URL names no database")?;
    Ok(format!("{address}/{name}"))
}
