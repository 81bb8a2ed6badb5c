//! The address of a feedback store. Neither its user nor its password is ever shown.

use std::fmt;
use std::fs;
use std::path::Path;

use iris_core::InvalidSetting;
use serde::{Deserialize, Serialize, Serializer};

use crate::address::Address;

/// The address of a database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`. `Debug`, `Display` and `Serialize`
/// show it without user, password and parameters, and show nothing of an address that cannot be read.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct StoreUrl {
    text: String,
    /// The password that was read from a file.
    password: Option<String>,
}

impl StoreUrl {
    /// Whether the address is empty: no store is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Checks the address, and adds the password of a file to it if one is given. The settings' keys are `store` and
    /// `store_password_file`.
    ///
    /// # Errors
    /// [`InvalidSetting`] if the address cannot be used, or the password's file cannot be read or is not needed.
    pub fn with_password_file(&self, file: Option<&Path>) -> Result<Self, InvalidSetting> {
        let invalid = |problem| InvalidSetting::new("store", problem);
        let address = self.address().map_err(invalid)?;
        address.check_files().map_err(invalid)?;
        let Some(file) = file else {
            return Ok(self.clone());
        };
        let refused = |problem: String| InvalidSetting::new("store_password_file", problem);
        match address {
            Address::Sqlite { .. } => {
                return Err(refused(
                    "is set, but the store is a SQLite file, which has no password".to_owned(),
                ));
            }
            Address::Postgres(url) if url.password().is_some() => {
                return Err(refused(
                    "is set, and the store's address has a password too: allowed is one of them"
                        .to_owned(),
                ));
            }
            Address::Postgres(_) => {}
        }
        let shown = file.display();
        let text = fs::read_to_string(file)
            .map_err(|error| refused(format!("is {shown}, which cannot be read: {error}")))?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(refused(format!("is {shown}, which is empty")));
        }
        Ok(Self {
            text: self.text.clone(),
            password: Some(password.to_owned()),
        })
    }

    /// Returns a warning if the store is a PostgreSQL server on another machine and the connection does not verify its
    /// certificate.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let host = self.address().ok()?.unverified_host()?;
        Some(format!(
            "the connection to PostgreSQL on {host} is not protected: it may be unencrypted, and the server's certificate is not \
             verified; add sslmode=verify-full to the address of the store, and sslrootcert=FILE if the server's certificate is \
             of a private authority"
        ))
    }

    /// Reads the address.
    pub(crate) fn address(&self) -> Result<Address, String> {
        Address::parse(&self.text)
    }

    /// Returns the password that was read from a file.
    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl From<String> for StoreUrl {
    fn from(text: String) -> Self {
        Self {
            text,
            password: None,
        }
    }
}

impl From<&str> for StoreUrl {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        match self.address() {
            Ok(Address::Sqlite { file, .. }) => write!(f, "sqlite://{file}"),
            Ok(Address::Postgres(url)) => {
                f.write_str("postgres://")?;
                f.write_str(url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
            Err(_) => f.write_str("an address that cannot be read"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn shown(store: &StoreUrl) -> String {
        let json = serde_json::to_string(store).unwrap();
        format!("{store} {store:?} {json}")
    }

    fn problem(address: &str, file: Option<&Path>) -> String {
        let refused = StoreUrl::from(address).with_password_file(file);
        refused.unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_shown_without_user_password_and_parameters() {
        let store = StoreUrl::from(
            "postgres://iris:sword%2Ffish@db.example:5432/feedback?user=other&sslmode=disable",
        );
        store.with_password_file(None).unwrap();
        let address = "postgres://db.example:5432/feedback";
        assert_eq!(shown(&store), format!("{address} {address} \"{address}\""));
        assert_eq!(
            StoreUrl::from("sqlite:a%3Fb.db?mode=ro").to_string(),
            "sqlite://a?b.db"
        );
        assert_eq!(StoreUrl::default().to_string(), "");
    }

    #[test]
    fn a_password_that_must_be_encoded_is_refused_and_not_shown() {
        for address in [
            "postgres://iris:pa/s3cr@db.example/feedback",
            "postgres://iris:12/s3cr@db.example/feedback",
            "postgres://iris:pa?s3cr@db.example/feedback",
            "postgres://iris:12?s3cr@db.example/feedback",
            "postgres://iris:pa#s3cr@db.example/feedback",
            "postgres://iris:12#s3cr@db.example/feedback",
            "postgres://iris:12#s3cr",
            "postgres://iris:pa[s3cr@db.example:s3cr/feedback",
            "postgres://iris:s3cr%ff@db.example/feedback",
            "postgres://db.example/feedback?password=s3cr",
            "postgres://db.example/feedback?sslmode=s3cr",
            "postgres://db.example/feedback?s3cr",
            "postgres://db.example/feedback&password=s3cr",
            "postgres://db.example/feedback;password=s3cr",
            "postgres://db.example/feedback password=s3cr",
            "postgres://db.example/feedback%20password%3Ds3cr",
            "postgres://iris:12\\s3cr",
            "host=db.example user=iris password=s3cr",
            "iris:s3cr@db.example/feedback",
            "jdbc:postgresql://db.example/feedback?password=s3cr",
            "s3cr://iris",
            "sqlite:postgres://iris:s3cr@db.example/feedback",
            "sqlite://iris:s3cr@db.example/feedback",
            "sqlite://feedback.db password=s3cr",
        ] {
            let problem = problem(address, None);
            assert!(problem.starts_with("store "), "{problem}");
            let shown = format!("{problem} {}", shown(&address.into()));
            assert!(!shown.contains("s3cr"), "{address}: {shown}");
        }
        let encoded = problem("postgres://iris:pa/s3cr@db.example/feedback", None);
        assert!(encoded.contains("are written as %2F"), "{encoded}");
        assert!(encoded.contains("store_password_file"), "{encoded}");
    }

    #[test]
    fn an_address_that_names_no_database_is_refused() {
        for (address, expected) in [
            ("", "store is empty: allowed are sqlite://FILE"),
            (
                "feedback.db",
                "store is not the address of a SQLite file or a PostgreSQL database: allowed are",
            ),
            ("mysql://root:secret@h/x", "store is not the address of a"),
            ("pa ss://x", "store is not the address of a"),
            ("sqlite:", "store names no file: allowed is sqlite://FILE"),
            ("sqlite://", "store names no file: "),
            ("sqlite://?mode=rwc", "store names no file: "),
            ("sqlite://a%00b", "store names no file: "),
            ("sqlite://:memory:", "store names a database in memory"),
            (
                "sqlite://a.db?mode=memory",
                "store names a database in memory",
            ),
            ("sqlite://a.db?mode=x", "store has an unknown parameter"),
            ("sqlite://a.db?colour=red", "store has an unknown parameter"),
        ] {
            let problem = problem(address, None);
            assert!(problem.starts_with(expected), "{address}: {problem}");
        }
    }

    #[test]
    fn the_password_of_a_file_is_read_without_its_line_break() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"p/w@ %41\r\n").unwrap();
        let store = StoreUrl::from("postgres://iris@db/feedback");
        let store = store.with_password_file(Some(file.path())).unwrap();
        assert_eq!(store.password(), Some("p/w@ %41"));
        assert!(!shown(&store).contains("p/w"));
    }

    #[test]
    fn a_password_file_that_is_not_needed_or_cannot_be_read_is_refused() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for (address, file, expected) in [
            (
                "sqlite://a.db",
                empty.path(),
                "is set, but the store is a SQLite file",
            ),
            (
                "postgres://a:b@h/d",
                empty.path(),
                "is set, and the store's address has a password",
            ),
            ("postgres://a@h/d", empty.path(), "is /"),
            (
                "postgres://a@h/d",
                Path::new("/no/such"),
                "is /no/such, which cannot be read: No such file",
            ),
        ] {
            let problem = problem(address, Some(file));
            let expected = format!("store_password_file {expected}");
            assert!(problem.starts_with(&expected), "{problem}");
        }
    }

    #[test]
    fn a_server_on_another_machine_that_is_not_verified_is_warned_of() {
        for (address, is_warned) in [
            ("postgres://u:s3cr@db.example/d", true),
            ("postgres://u:s3cr@10.0.0.1/d?sslmode=disable", true),
            ("postgres://u:s3cr@db.example/d?sslmode=require", true),
            ("postgres://u:s3cr@db.example/d?sslmode=verify-ca", false),
            ("postgres://u:s3cr@db.example/d?sslmode=verify-full", false),
            ("postgres://u:s3cr@localhost/d?host=db.example", true),
            ("postgres://u:s3cr@localhost/d", false),
            ("postgres://u:s3cr@127.0.0.2/d", false),
            ("postgres://u:s3cr@[::1]/d", false),
            ("postgres:///d?host=/run/postgresql", false),
            ("sqlite://feedback.db", false),
        ] {
            let warning = StoreUrl::from(address).warning();
            assert_eq!(warning.is_some(), is_warned, "{address}");
            assert!(!warning.unwrap_or_default().contains("s3cr"));
        }
    }

    #[test]
    fn an_address_with_an_unreadable_certificate_is_refused() {
        let check = |parameters: &str| {
            let url = StoreUrl::from(format!("postgres://u@h/d?{parameters}").as_str());
            url.with_password_file(None)
                .map_err(|error| error.to_string())
        };
        for key in ["sslrootcert", "sslcert", "ssl-key"] {
            let error = check(&format!("{key}=/no/such/file")).unwrap_err();
            let expected =
                format!("store has the parameter `{key}` with a file that cannot be read");
            assert!(error.starts_with(&expected), "{error}");
        }
        check("sslrootcert=-----BEGIN%20CERTIFICATE-----").unwrap();
        check("sslmode=require").unwrap();
    }
}
