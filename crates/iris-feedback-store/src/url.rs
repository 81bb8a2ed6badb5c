//! The address of a feedback store. Its password is never shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

/// The address of a database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`. Neither `Debug`, `Display` nor
/// `Serialize` shows a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoreUrl(String);

/// The supported addresses, by prefix.
const SCHEMES: [&str; 3] = ["sqlite:", "postgres://", "postgresql://"];

impl StoreUrl {
    /// Returns the address with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the address is empty: no store is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns why the address cannot be used, as a predicate of the setting's key; `None` if it can.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let is_known = SCHEMES.iter().any(|scheme| self.0.starts_with(scheme));
        (!is_known).then(|| {
            format!(
                "is `{self}`: allowed are sqlite://FILE and postgres://USER:PASSWORD@HOST/DATABASE"
            )
        })
    }
}

impl From<&str> for StoreUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.0) {
            Ok(mut url) if url.password().is_some() => match url.set_password(Some("hidden")) {
                Ok(()) => f.write_str(url.as_str()),
                Err(()) => f.write_str("hidden"),
            },
            _ => f.write_str(&self.0),
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
    use super::*;

    #[test]
    fn a_password_is_hidden() {
        let store = StoreUrl::from("postgres://iris:swordfish@db.example:5432/feedback");
        assert_eq!(store.problem(), None);
        let shown = format!(
            "{store:?} {store} {}",
            serde_json::to_string(&store).unwrap()
        );
        assert!(!shown.contains("swordfish"), "{shown}");
        assert!(
            shown.contains("postgres://iris:hidden@db.example:5432/feedback"),
            "{shown}"
        );
    }

    #[test]
    fn an_address_of_another_database_is_rejected() {
        assert_eq!(
            StoreUrl::from("mysql://x").problem().unwrap(),
            "is `mysql://x`: allowed are sqlite://FILE and postgres://USER:PASSWORD@HOST/DATABASE"
        );
        assert!(StoreUrl::default().is_empty());
    }
}
