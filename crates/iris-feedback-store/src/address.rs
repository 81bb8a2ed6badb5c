//! Reads the address of a database. The problems with an address do not repeat any part of it.

use std::fs;
use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Url, form_urlencoded};

/// The addresses that are allowed, in problems.
const ALLOWED: &str = "allowed are sqlite://FILE and postgres://USER:PASSWORD@HOST/DATABASE";

/// The advice for a user name or password with special characters.
const ENCODE: &str = "in an address, the characters / ? # @ : % of a user name or password are written as %2F %3F %23 %40 %3A \
     %25; or put the password into a file and set store_password_file";

/// The parameters of SQLite's driver.
const SQLITE_PARAMETERS: [&str; 4] = ["cache", "immutable", "mode", "vfs"];

/// The parameters of PostgreSQL's driver that an address may have.
const POSTGRES_PARAMETERS: [&str; 17] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Those of them that name a file of a certificate or a key.
const FILES: [&str; 7] = [
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslrootcert",
];

/// The address of a database.
#[derive(Clone)]
pub(crate) enum Address {
    /// A file, and parameters of the driver.
    Sqlite {
        file: String,
        parameters: Vec<(String, String)>,
    },
    /// A server.
    Postgres(Url),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// The problem, worded to follow the setting's key.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            return sqlite(rest.strip_prefix("//").unwrap_or(rest));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres(text).map(Self::Postgres);
        }
        Err(if text.is_empty() {
            format!("is empty: {ALLOWED}")
        } else {
            format!("is not the address of a SQLite file or a PostgreSQL database: {ALLOWED}")
        })
    }

    /// Returns the host of a PostgreSQL server on another machine whose certificate is not verified: the connection may be
    /// encrypted or not, and its other end may be anyone.
    pub(crate) fn unverified_host(&self) -> Option<String> {
        let Self::Postgres(url) = self else {
            return None;
        };
        let options: PgConnectOptions = url.as_str().parse().ok()?;
        let is_verified = matches!(
            options.get_ssl_mode(),
            PgSslMode::VerifyCa | PgSslMode::VerifyFull
        );
        let host = options.get_host();
        let is_local = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        (!is_verified && !is_local).then(|| host.to_owned())
    }

    /// Checks that the files of certificates and keys can be read.
    ///
    /// # Errors
    /// The problem, worded to follow the setting's key.
    pub(crate) fn check_files(&self) -> Result<(), String> {
        let Self::Postgres(url) = self else {
            return Ok(());
        };
        // The driver also accepts the content of a file.
        let is_content = |value: &str| value.trim_start().starts_with("-----BEGIN");
        for (key, value) in url.query_pairs() {
            if FILES.contains(&&*key)
                && !is_content(&value)
                && let Err(error) = fs::read(&*value)
            {
                return Err(format!(
                    "has the parameter `{key}` with a file that cannot be read: {error}"
                ));
            }
        }
        Ok(())
    }
}

/// Reads the address of a SQLite file, without its scheme.
fn sqlite(rest: &str) -> Result<Address, String> {
    let (file, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A `+` stands for itself in a path.
    let file: String = form_urlencoded::parse(format!("={}", escape_form(file)).as_bytes())
        .map(|(_, file)| file.into_owned())
        .collect();
    let parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if file.is_empty() || file.contains('\0') {
        return Err(
            "names no file: allowed is sqlite://FILE, such as sqlite://feedback.db".to_owned(),
        );
    }
    let is_server = file.contains("://")
        || file.to_lowercase().contains("password=")
        || file
            .split_once(':')
            .is_some_and(|(_, rest)| rest.contains('@'));
    if is_server {
        return Err(format!(
            "has a file name that looks like the address of a server: {ALLOWED}"
        ));
    }
    let is_mode = |mode| {
        parameters
            .iter()
            .any(|(key, value)| key == "mode" && value == mode)
    };
    if file == ":memory:" || file.starts_with("file:") || is_mode("memory") {
        return Err(
            "names a database in memory, which is lost when the process ends: allowed is sqlite://FILE"
                .to_owned(),
        );
    }
    let is_known = |(key, value): &(String, String)| match key.as_str() {
        "mode" => ["ro", "rw", "rwc"].contains(&value.as_str()),
        "cache" => ["private", "shared"].contains(&value.as_str()),
        "immutable" => ["true", "false", "1", "0"].contains(&value.as_str()),
        key => SQLITE_PARAMETERS.contains(&key),
    };
    if !parameters.iter().all(is_known) {
        return Err(
            "has an unknown parameter: allowed after `?` are mode=ro, mode=rw, mode=rwc, cache, immutable and vfs; in a \
             file's name, ? is written as %3F"
                .to_owned(),
        );
    }
    Ok(Address::Sqlite { file, parameters })
}

/// Escapes the characters of a path that would separate the fields of a form.
fn escape_form(path: &str) -> String {
    path.replace('+', "%2B").replace('&', "%26")
}

/// Reads the address of a PostgreSQL server.
fn postgres(text: &str) -> Result<Url, String> {
    let unreadable = || format!("cannot be read as an address: {ENCODE}");
    let url = Url::parse(text).map_err(|_| unreadable())?;
    // A `/`, `?` or `#` in a password ends the address's authority, so that its `@` is behind it.
    let is_cut = |part: &str| part.contains('@');
    if url.fragment().is_some() || is_cut(url.path()) || url.query().is_some_and(is_cut) {
        return Err(unreadable());
    }
    if !is_database_name(url.path()) {
        return Err(
            "has a database name with an unexpected character: the name is between the host and `?`, and parameters are \
             separated by `&`"
                .to_owned(),
        );
    }
    let mut keys = url.query_pairs().map(|(key, _)| key);
    if keys.clone().any(|key| key == "password") {
        return Err(
            "has the parameter `password`: write postgres://USER:PASSWORD@HOST/DATABASE, or put the password into a file and \
             set store_password_file"
                .to_owned(),
        );
    }
    let is_known = |key: &str| key.starts_with("options[") || POSTGRES_PARAMETERS.contains(&key);
    if !keys.all(|key| is_known(&key)) {
        return Err(format!(
            "has an unknown parameter: allowed after `?` are {} and options[NAME]",
            POSTGRES_PARAMETERS.join(", ")
        ));
    }
    // The driver's error would repeat the value.
    text.parse::<PgConnectOptions>().map_err(|_| {
        format!("has a parameter with an invalid value, or a name that is not UTF-8: {ENCODE}")
    })?;
    Ok(url)
}

/// Whether the path of an address is the name of a database, and not also parameters or a part of a password.
fn is_database_name(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    // A `+` stands for itself in a path.
    let decoded = form_urlencoded::parse(escape_form(path).as_bytes())
        .map(|(name, value)| format!("{name}{value}"))
        .collect::<String>();
    !path.contains('=') && !decoded.contains(|c: char| "/\\=&;".contains(c) || c.is_control())
}
