//! The host names under which the page may be opened.
//!
//! A page of another site can have the browser request this server: by its address, or by a name of its own that resolves to
//! this server's address (DNS rebinding). Such a request has another `Origin` or another `Host`, and is refused.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;

/// The names of `dashboard.allowed_hosts`, in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(Arc<[String]>);

impl AllowedHosts {
    /// Allows these names, besides `localhost` and every IP address.
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_lowercase()).collect())
    }

    /// Whether the host is named in the settings.
    fn is_named(&self, authority: &Authority) -> bool {
        let host = name_of(authority);
        self.0.contains(&host)
    }

    /// Whether the page may be opened under this host. An IP address is allowed, because no other site can have it.
    fn allows(&self, authority: &Authority) -> bool {
        let host = name_of(authority);
        let is_ipv6 = || {
            let address = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'));
            address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok()
            || is_ipv6()
            || self.is_named(authority)
    }

    /// Checks the hosts that a request names.
    ///
    /// # Errors
    /// [`Problem`] if the request is for another host, or from the page of one.
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = only(headers, &header::HOST)?;
        let host = host.map(str::parse::<Authority>).transpose();
        let host = host.map_err(|_| invalid(&header::HOST))?;
        // A request with neither is from a program: every browser sends the host.
        let named = [host.as_ref(), uri.authority()].into_iter().flatten();
        for authority in named {
            if !self.allows(authority) {
                return Err(Problem::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "The page is not served under this host name. Open it as localhost or by its IP address, or add the name \
                     to dashboard.allowed_hosts.",
                ));
            }
        }
        let Some(origin) = only(headers, &header::ORIGIN)? else {
            return Ok(());
        };
        let origin = origin
            .parse::<Uri>()
            .ok()
            .filter(|origin| origin.scheme().is_some());
        let origin = origin.as_ref().and_then(Uri::authority);
        let is_same = |origin: &Authority| {
            let host = host.as_ref().or(uri.authority());
            // A proxy may replace the host, but not the origin.
            host.is_some_and(|host| host == origin) || self.is_named(origin)
        };
        if origin.is_some_and(is_same) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Pages of other sites may not request this server. If a proxy serves this page, add its host name to \
             dashboard.allowed_hosts.",
        ))
    }
}

/// Refuses a request for another host, or from the page of another site.
pub(super) async fn check(
    State(hosts): State<AllowedHosts>,
    request: Request,
    next: Next,
) -> Response {
    match hosts.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Returns the value of a header that may be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| invalid(name)),
        _ => Err(invalid(name)),
    }
}

fn invalid(name: &HeaderName) -> Problem {
    Problem::parameter(format!("The header {name} is not valid."))
}

/// Returns the host of an authority in lower case, without the dot that may end it.
fn name_of(authority: &Authority) -> String {
    let host = authority.host().to_lowercase();
    host.strip_suffix('.').map(str::to_owned).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn status(host: &str, origin: Option<&str>) -> u16 {
        let hosts = AllowedHosts::new(&["Iris.Example".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let checked = hosts.check(&Uri::from_static("/"), &headers);
        checked.map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn localhost_addresses_and_the_named_hosts_are_allowed_and_no_other_host() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.:8080",
            "iris.localhost:8080",
            "127.0.0.1:8080",
            "192.168.1.5",
            "[::1]:8080",
            "iris.example",
            "IRIS.example:443",
        ] {
            assert_eq!(status(host, None), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evillocalhost",
            "a.iris.example",
            "iris.example.evil",
            "127.0.0.1.evil.example",
            "2130706433",
        ] {
            assert!([400, 421].contains(&status(host, None)), "{host}");
        }
        assert_eq!(status("localhost@evil.example", None), 421);
        assert_eq!(status("a b", None), 400);
    }

    #[test]
    fn a_page_may_request_its_own_host_and_no_other_page_may() {
        assert_eq!(status("localhost:8080", Some("http://localhost:8080")), 200);
        assert_eq!(status("127.0.0.1:8080", Some("http://127.0.0.1:8080")), 200);
        assert_eq!(
            status("iris-dashboard.localhost", Some("https://iris.example")),
            200
        );
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "https://iris.example.evil",
            "null",
            "",
        ] {
            assert_eq!(status("localhost:8080", Some(origin)), 403, "{origin}");
        }
    }

    #[test]
    fn the_host_of_a_whole_address_is_checked_too_and_two_hosts_are_refused() {
        let hosts = AllowedHosts::default();
        let mut headers = HeaderMap::new();
        let evil = Uri::from_static("http://evil.example/");
        let refused =
            |headers: &HeaderMap, uri: &Uri| hosts.check(uri, headers).unwrap_err().status;
        assert_eq!(refused(&headers, &evil), 421);
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(refused(&headers, &evil), 421);
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(refused(&headers, &Uri::from_static("/")), 400);
        assert!(
            hosts
                .check(&Uri::from_static("/"), &HeaderMap::new())
                .is_ok()
        );
    }
}
