//! Requests with TLS to a port on this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use openssl::base64::encode_block;
use openssl::ssl::{SslConnector, SslMethod};

/// A server with a certificate for `localhost`.
pub(crate) struct Https<'a> {
    pub(crate) port: u16,
    /// The authority of the certificate, as a PEM file.
    pub(crate) authority: &'a Path,
}

impl Https<'_> {
    /// Returns the status and the body of the response to a GET, with a login if there is one. Fails if the server does not
    /// answer or its certificate is not valid.
    pub(crate) fn get(&self, path: &str, login: Option<&str>) -> anyhow::Result<(u16, String)> {
        let mut connector = SslConnector::builder(SslMethod::tls())?;
        connector.set_ca_file(self.authority)?;
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut stream = connector.build().connect("localhost", stream)?;
        let login = login.map_or_else(String::new, |login| {
            let credentials = encode_block(login.as_bytes());
            format!("Authorization: Basic {credentials}\r\n")
        });
        let head = format!(
            "GET {path} HTTP/1.0\r\nHost: localhost:{}\r\n{login}\r\n",
            self.port
        );
        stream.write_all(head.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        Ok((status.parse()?, body.to_owned()))
    }
}
