//! The bytes of a connection, plain or encrypted.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use iris_kafka::Identity;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};

use crate::address::Address;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a broker may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream of bytes in both directions.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// The TLS configuration of encrypted connections.
pub(crate) struct Encryption {
    connector: SslConnector,
}

impl Encryption {
    /// Trusts the authorities in a file or a directory, and presents the client's certificate.
    pub(crate) fn new(
        trusted: Option<&Path>,
        identity: Option<&Identity>,
    ) -> Result<Self, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        match trusted {
            Some(path) if path.is_dir() => {
                let mut store = X509StoreBuilder::new()?;
                let lookup = store.add_lookup(X509Lookup::hash_dir())?;
                lookup.add_dir(&path.to_string_lossy(), SslFiletype::PEM)?;
                builder.set_cert_store(store.build());
            }
            Some(path) => builder.set_ca_file(path)?,
            None => {}
        }
        if let Some(identity) = identity {
            builder.set_certificate(&identity.certificate)?;
            for certificate in &identity.chain {
                builder.add_extra_chain_cert(certificate.clone())?;
            }
            builder.set_private_key(&identity.key)?;
        }
        Ok(Self {
            connector: builder.build(),
        })
    }
}

/// Connects to a broker.
pub(crate) fn connect(
    address: &Address,
    encryption: Option<&Encryption>,
) -> io::Result<Box<dyn Stream>> {
    let stream = connect_plain(address)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    match encryption {
        None => Ok(Box::new(stream)),
        Some(encryption) => {
            let encrypted = encryption.connector.connect(&address.host, stream);
            Ok(Box::new(encrypted.map_err(|error| {
                io::Error::other(format!("the TLS handshake failed: {error}"))
            })?))
        }
    }
}

/// Tries each address of the host.
fn connect_plain(address: &Address) -> io::Result<TcpStream> {
    let mut problem = io::Error::other("the host has no address");
    for found in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&found, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}
