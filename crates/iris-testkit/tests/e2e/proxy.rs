//! The proxy in front of the page, with TLS and a login.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use iris_testkit::get;
use openssl::base64::encode_block;
use openssl::ssl::{SslConnector, SslMethod, SslStream};

/// The time limit for a part of a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A proxy on this machine.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The authority of its certificate, as a PEM file.
    pub(crate) authority: PathBuf,
    /// The user and the password, separated by a colon.
    pub(crate) login: String,
}

impl Proxy {
    /// Returns the status and the body of the response to a GET with the login.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.get_as(Some(&self.login), "localhost", path)
    }

    fn get_as(&self, login: Option<&str>, host: &str, path: &str) -> (u16, String) {
        let mut response = String::new();
        let mut stream = self.send(login, host, path).unwrap();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Sends a GET. Fails if the certificate is not valid for `localhost`.
    fn send(
        &self,
        login: Option<&str>,
        host: &str,
        path: &str,
    ) -> anyhow::Result<SslStream<TcpStream>> {
        let mut connector = SslConnector::builder(SslMethod::tls())?;
        connector.set_ca_file(&self.authority)?;
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = connector.build().connect("localhost", stream)?;
        let login = login.map_or_else(String::new, |login| {
            let credentials = encode_block(login.as_bytes());
            format!("Authorization: Basic {credentials}\r\n")
        });
        let port = self.port;
        let head = format!("GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n{login}\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    /// Checks that the page needs TLS and a login, that its events arrive, and that other hosts are refused.
    pub(crate) fn check(&self) {
        for path in ["/", "/api/v1/figures", "/events"] {
            for login in [None, Some("iris:wrong"), Some("nobody:")] {
                assert_eq!(self.get_as(login, "localhost", path).0, 401, "{path}");
            }
        }
        let (status, page) = self.get("/");
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("data-figure"), "{page}");
        let events = self
            .send(Some(&self.login), "localhost", "/events")
            .unwrap();
        let mut lines = BufReader::new(events).lines();
        let data = lines.find_map(|line| line.unwrap().strip_prefix("data:").map(str::to_owned));
        assert!(data.is_some(), "no event");
        let login = Some(self.login.as_str());
        assert_eq!(self.get_as(login, "other.example", "/").0, 421);
        let (status, _) = get(self.port, "/").unwrap();
        assert_eq!(status, 400, "http on the port of https");
    }
}
