//! Finds out why the certificate of a broker is refused.
//!
//! librdkafka reports only that the verification failed. This module repeats the handshake on a connection of its own, on
//! which it sends nothing else, and asks OpenSSL for the reason.

use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref, X509VerifyResult};
use parking_lot::Mutex;

use crate::client::config::authorities;
use crate::client::credentials::outside_validity;
use crate::client::settings::KafkaSettings;

/// How long connecting, and then each step of the handshake, may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// OpenSSL's codes for a name or an address that the certificate does not have.
const HOST_MISMATCH: i32 = 62;
const ADDRESS_MISMATCH: i32 = 64;

/// OpenSSL's codes for an issuer that is not trusted.
const UNTRUSTED: [i32; 5] = [2, 18, 19, 20, 21];

/// The first error of a verification, with the certificate that it is about and its depth.
type Finding = (X509VerifyResult, Option<X509>, u32);

/// Returns why the certificate of a broker, given as `host:port`, is refused; `None` if that cannot be found out.
pub(super) fn diagnose(settings: &KafkaSettings, broker: &str) -> Option<String> {
    let (host, _) = broker.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let passed = settings.librdkafka.get("ssl.ca.location");
    let authorities = passed
        .map(PathBuf::from)
        .or_else(|| authorities(settings).ok().flatten())?;
    let finding = Arc::<Mutex<Option<Finding>>>::default();
    let context = context(&authorities, Arc::clone(&finding)).ok()?;
    handshake(&context, host, broker)?;
    let (error, certificate, depth) = finding.lock().take()?;
    let certificate = certificate.as_deref();
    let subject = match certificate {
        Some(issuer) if depth > 0 => format!(
            "the authority `{}` of the certificate of broker {broker}",
            name(issuer.subject_name())
        ),
        _ => format!("the certificate of broker {broker}"),
    };
    Some(match (error.as_raw(), certificate) {
        (HOST_MISMATCH | ADDRESS_MISMATCH, Some(certificate)) => {
            format!("{subject} is for {}, not for `{host}`", hosts(certificate))
        }
        (code, Some(certificate)) if UNTRUSTED.contains(&code) => {
            let setting = match &settings.security.ca {
                Some(_) => "`kafka.security.ca`",
                None => "the system's certificate authorities; see `kafka.security.ca`",
            };
            format!(
                "{subject} is signed by `{}`, which is not in `{}` ({setting})",
                name(certificate.issuer_name()),
                authorities.display()
            )
        }
        (_, certificate) => match certificate.and_then(outside_validity) {
            Some(problem) => format!("{subject} {problem}"),
            None => format!("{subject} is refused: {}", error.error_string()),
        },
    })
}

/// Creates a context that accepts every certificate, and notes the first error.
fn context(
    authorities: &Path,
    finding: Arc<Mutex<Option<Finding>>>,
) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
    if authorities.is_dir() {
        builder.load_verify_locations(None, Some(authorities))?;
    } else {
        builder.set_ca_file(authorities)?;
    }
    builder.set_verify_callback(SslVerifyMode::PEER, move |is_valid, verification| {
        if !is_valid {
            let certificate = verification.current_cert().map(ToOwned::to_owned);
            let error = (
                verification.error(),
                certificate,
                verification.error_depth(),
            );
            finding.lock().get_or_insert(error);
        }
        true
    });
    Ok(builder.build())
}

/// Makes a handshake. Returns `None` if the broker cannot be reached.
fn handshake(context: &SslContext, host: &str, broker: &str) -> Option<()> {
    let stream = broker
        .to_socket_addrs()
        .ok()?
        .find_map(|address| TcpStream::connect_timeout(&address, TIMEOUT).ok())?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    let mut ssl = Ssl::new(context).ok()?;
    match host.parse::<IpAddr>() {
        Ok(address) => ssl.param_mut().set_ip(address).ok()?,
        Err(_) => {
            ssl.set_hostname(host).ok()?;
            ssl.param_mut().set_host(host).ok()?;
        }
    }
    // The broker may end the handshake, because it wants a certificate of the client. Its own has been verified by then.
    let _ = ssl.connect(stream);
    Some(())
}

/// Returns the hosts that a certificate is for.
fn hosts(certificate: &X509Ref) -> String {
    let names = certificate.subject_alt_names();
    let mut hosts: Vec<String> = names
        .iter()
        .flatten()
        .filter_map(|name| match (name.dnsname(), name.ipaddress()) {
            (Some(name), _) => Some(name.to_owned()),
            (None, Some(bytes)) => match *bytes {
                [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
                _ => <[u8; 16]>::try_from(bytes)
                    .ok()
                    .map(|bytes| IpAddr::from(bytes).to_string()),
            },
            (None, None) => None,
        })
        .map(|host| format!("`{host}`"))
        .collect();
    if hosts.is_empty() {
        hosts.push(format!("`{}`", name(certificate.subject_name())));
    }
    hosts.join(" and ")
}

/// Returns a name as text, such as `CN=broker, O=Example`.
fn name(name: &X509NameRef) -> String {
    let part = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid();
        let key = if key == Nid::UNDEF {
            "?"
        } else {
            key.short_name().unwrap_or("?")
        };
        let value = entry.data().to_string().unwrap_or_else(|_| "?".to_owned());
        format!("{key}={value}")
    };
    let parts: Vec<String> = name.entries().map(part).collect();
    parts.join(", ")
}
