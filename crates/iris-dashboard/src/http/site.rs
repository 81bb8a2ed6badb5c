//! Where the page is served: the host names and the path.

use super::AllowedHosts;

/// The host names and the path under which the page is served.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The host names.
    pub(crate) hosts: AllowedHosts,
    /// The path before every route, such as `/iris`; empty for none.
    pub(crate) base_path: String,
}

impl Site {
    /// Returns the site of these settings: `dashboard.allowed_hosts` and `dashboard.base_path`.
    #[must_use]
    pub fn new(allowed_hosts: &[String], base_path: &str) -> Self {
        Self {
            hosts: AllowedHosts::new(allowed_hosts),
            base_path: base_path.trim_end_matches('/').to_owned(),
        }
    }
}
