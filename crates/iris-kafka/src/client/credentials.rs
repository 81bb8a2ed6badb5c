//! Reads and checks the files of `kafka.security`: passwords, certificates and the key.
//!
//! librdkafka reports a wrong file with OpenSSL's code alone. Here each error names the setting, the file and the reason.

use std::fs;
use std::path::{Path, PathBuf};

use iris_core::InvalidSetting;
use jiff::Timestamp;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::settings::KafkaSettings;

/// The librdkafka setting of the key's password, which a user may also pass through.
pub(super) const KEY_PASSWORD: &str = "ssl.key.password";

/// The name and key that a client presents to brokers.
pub struct Identity {
    /// The client's certificate.
    pub certificate: X509,
    /// The certificates of intermediate authorities.
    pub chain: Vec<X509>,
    /// The key of the client's certificate.
    pub key: PKey<Private>,
}

impl Identity {
    /// Returns the time at which the certificate expires, as Unix time in seconds.
    pub(super) fn expiry(&self) -> Option<i64> {
        unix_time(self.certificate.not_after())
    }
}

/// The content of all files.
pub struct Credentials {
    /// The user's password, for a `sasl_` protocol.
    pub password: Option<SecretString>,
    /// The password of the key.
    pub(super) key_password: Option<SecretString>,
    /// The certificates to trust, if `ca` names a file.
    pub(super) authorities: Vec<X509>,
    /// The client's certificate and key.
    pub identity: Option<Identity>,
}

impl Credentials {
    /// Reads the files that the protocol needs.
    ///
    /// # Errors
    /// [`InvalidSetting`] if a file cannot be read or used.
    pub fn read(settings: &KafkaSettings) -> Result<Self, InvalidSetting> {
        let security = &settings.security;
        let password = match &security.password_file {
            Some(path) if security.protocol.authenticates() => {
                Some(password("security.password_file", path)?)
            }
            _ => security.password.clone(),
        };
        let mut read = Self {
            password: password.filter(|_| security.protocol.authenticates()),
            key_password: None,
            authorities: Vec::new(),
            identity: None,
        };
        if !security.protocol.encrypts() {
            return Ok(read);
        }
        if let Some(path) = security.ca.as_deref().filter(|path| !path.is_dir()) {
            read.authorities = certificates("security.ca", path)?;
        }
        if let Some(path) = &security.key_password_file {
            read.key_password = Some(self::password("security.key_password_file", path)?);
        }
        if let (Some(certificate), Some(key)) = (&security.certificate, &security.key) {
            let passed = settings.librdkafka.get(KEY_PASSWORD);
            let passed = passed.map(|password| SecretString::from(password.as_str()));
            let password = passed.as_ref().or(read.key_password.as_ref());
            read.identity = Some(identity(certificate, key, password)?);
        }
        Ok(read)
    }
}

/// Returns the error about the file of a setting.
fn refused(key: &str, path: &Path, problem: &str) -> InvalidSetting {
    InvalidSetting::new(key, format!("is `{}`, which {problem}", path.display()))
}

fn content(key: &str, path: &Path) -> Result<Vec<u8>, InvalidSetting> {
    fs::read(path).map_err(|error| refused(key, path, &format!("cannot be read: {error}")))
}

/// Reads a password, without the line break at its end.
fn password(key: &str, path: &Path) -> Result<SecretString, InvalidSetting> {
    let text = String::from_utf8(content(key, path)?)
        .map_err(|_| refused(key, path, "is not text in UTF-8"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refused(key, path, "is empty")),
        password => Ok(password.into()),
    }
}

/// Reads all certificates of a file.
fn certificates(key: &str, path: &Path) -> Result<Vec<X509>, InvalidSetting> {
    let found = X509::stack_from_pem(&content(key, path)?).unwrap_or_default();
    if found.is_empty() {
        return Err(refused(key, path, "contains no certificate in PEM format"));
    }
    Ok(found)
}

/// Reads a certificate and its key, and checks that they can be used now.
fn identity(
    certificate_path: &Path,
    key_path: &Path,
    password: Option<&SecretString>,
) -> Result<Identity, InvalidSetting> {
    const CERTIFICATE: &str = "security.certificate";
    let mut chain = certificates(CERTIFICATE, certificate_path)?;
    let certificate = chain.remove(0);
    let key = private_key(key_path, password)?;
    if !certificate
        .public_key()
        .is_ok_and(|public| public.public_eq(&key))
    {
        let problem = format!(
            "does not belong to the certificate `{}`",
            certificate_path.display()
        );
        return Err(refused("security.key", key_path, &problem));
    }
    if let Some(problem) = outside_validity(&certificate) {
        return Err(refused(CERTIFICATE, certificate_path, &problem));
    }
    Ok(Identity {
        certificate,
        chain,
        key,
    })
}

fn private_key(
    path: &Path,
    password: Option<&SecretString>,
) -> Result<PKey<Private>, InvalidSetting> {
    const KEY: &str = "security.key";
    let pem = content(KEY, path)?;
    let mut is_encrypted = false;
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        is_encrypted = true;
        let secret = password.map_or("", |password| password.expose_secret());
        let length = secret.len().min(buffer.len());
        buffer[..length].copy_from_slice(&secret.as_bytes()[..length]);
        Ok(length)
    });
    key.map_err(|_| match (is_encrypted, password) {
        (false, _) => refused(KEY, path, "contains no private key in PEM format"),
        (true, None) => refused(KEY, path, "is encrypted: set `key_password_file`"),
        (true, Some(_)) => refused(
            KEY,
            path,
            "cannot be decrypted: the password in `key_password_file` is wrong",
        ),
    })
}

/// Returns why a certificate is not valid at present, worded to follow "which"; `None` if it is.
pub(super) fn outside_validity(certificate: &openssl::x509::X509Ref) -> Option<String> {
    let now = Asn1Time::days_from_now(0).ok()?;
    if certificate.not_after() < now {
        return Some(format!("expired on {}", shown(certificate.not_after())));
    }
    if certificate.not_before() > now {
        let from = shown(certificate.not_before());
        return Some(format!("is not valid before {from}"));
    }
    None
}

/// Returns a time in ISO format.
pub(super) fn shown(time: &Asn1TimeRef) -> String {
    let timestamp = unix_time(time).and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| time.to_string(), |timestamp| timestamp.to_string())
}

fn unix_time(time: &Asn1TimeRef) -> Option<i64> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(i64::from(since.days) * 86_400 + i64::from(since.secs))
}

/// Returns the file or directory of the system's certificate authorities: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or the first that
/// exists of those that Linux distributions use. OpenSSL itself searches only below the prefix that it was built with, which
/// is another one if it is linked statically.
pub(super) fn system_authorities() -> Option<PathBuf> {
    let found = openssl_probe::probe();
    found
        .cert_file
        .or_else(|| found.cert_dir.into_iter().next())
}

#[cfg(test)]
mod tests;
