//! Certificate authorities and certificates for tests.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// The validity of an authority, and of certificates unless a test says otherwise, in seconds from now.
const VALIDITY: (i64, i64) = (-86_400, 30 * 86_400);

/// A certificate authority.
pub struct Authority {
    name: X509Name,
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its key.
pub struct Issued {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    /// Creates an authority with this common name.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn new(name: &str) -> Result<Self, ErrorStack> {
        let (name, key) = (common_name(name)?, new_key()?);
        let mut builder = certificate(&name, &name, &key, VALIDITY)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self {
            name,
            certificate: builder.build(),
            key,
        })
    }

    /// Issues a certificate for a host, or for a client of this name.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn issue(&self, host: &str) -> Result<Issued, ErrorStack> {
        self.issue_for(host, VALIDITY)
    }

    /// Issues a certificate with a validity, in seconds from now.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn issue_for(&self, host: &str, validity: (i64, i64)) -> Result<Issued, ErrorStack> {
        let key = new_key()?;
        let mut builder = certificate(&common_name(host)?, &self.name, &key, validity)?;
        let host = SubjectAlternativeName::new()
            .dns(host)
            .build(&builder.x509v3_context(Some(&self.certificate), None))?;
        builder.append_extension(host)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(Issued {
            certificate: builder.build(),
            key,
        })
    }

    /// Writes the certificates of authorities to one file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(authorities: &[&Self], path: &Path) -> anyhow::Result<()> {
        let mut pem = Vec::new();
        for authority in authorities {
            pem.extend(authority.certificate.to_pem()?);
        }
        Ok(replace(path, &pem)?)
    }
}

impl Issued {
    /// Writes the certificate and its key to `NAME.pem` and `NAME.key`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        let (certificate, key) = paths(directory, name);
        replace(&key, &self.key.private_key_to_pem_pkcs8()?)?;
        Ok(replace(&certificate, &self.certificate.to_pem()?)?)
    }

    /// Writes the certificate and its key, encrypted with a password.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_encrypted(
        &self,
        directory: &Path,
        name: &str,
        password: &str,
    ) -> anyhow::Result<()> {
        let (certificate, key) = paths(directory, name);
        let cipher = Cipher::aes_256_cbc();
        let pem = self
            .key
            .private_key_to_pem_pkcs8_passphrase(cipher, password.as_bytes())?;
        replace(&key, &pem)?;
        Ok(replace(&certificate, &self.certificate.to_pem()?)?)
    }

    /// Writes the key and the certificate to one file, as Kafka's key stores have them.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_store(&self, path: &Path) -> anyhow::Result<()> {
        let mut pem = self.key.private_key_to_pem_pkcs8()?;
        pem.extend(self.certificate.to_pem()?);
        Ok(replace(path, &pem)?)
    }
}

fn paths(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let path = |extension| directory.join(format!("{name}.{extension}"));
    (path("pem"), path("key"))
}

/// Replaces a file in one step.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn certificate(
    subject: &X509Name,
    issuer: &X509Name,
    key: &PKey<Private>,
    (from, to): (i64, i64),
) -> Result<X509Builder, ErrorStack> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs().cast_signed());
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::ONE, false)?;
    let serial = serial.to_asn1_integer()?;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    let (from, to) = (
        Asn1Time::from_unix(now + from)?,
        Asn1Time::from_unix(now + to)?,
    );
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    Ok(builder)
}
