use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::symm::Cipher;
use openssl::x509::{X509Builder, X509NameBuilder};

use super::*;
use crate::client::settings::SecurityProtocol;

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// Returns a certificate that is valid between two times, in days from now.
fn certificate(key: &PKey<Private>, from: i64, to: i64) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "iris").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let at = |days: i64| {
        let now = Timestamp::now().as_second();
        Asn1Time::from_unix(now + days * 86_400).unwrap()
    };
    builder.set_not_before(&at(from)).unwrap();
    builder.set_not_after(&at(to)).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A directory with a valid certificate, its key and an encrypted copy of the key, and settings that use them.
struct Prepared {
    directory: tempfile::TempDir,
    key: PKey<Private>,
    settings: KafkaSettings,
}

impl Prepared {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = new_key();
        let mut settings = KafkaSettings::default();
        settings.security.protocol = SecurityProtocol::Ssl;
        settings.security.certificate = Some(directory.path().join("certificate.pem"));
        settings.security.key = Some(directory.path().join("key.pem"));
        let prepared = Self {
            directory,
            key,
            settings,
        };
        let pem = certificate(&prepared.key, -1, 30).to_pem().unwrap();
        prepared.write("certificate.pem", &pem);
        prepared.write("key.pem", &prepared.key.private_key_to_pem_pkcs8().unwrap());
        prepared
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the error, with the directory's name left out.
    fn refusal(&self) -> String {
        let refused = Credentials::read(&self.settings).err().unwrap().to_string();
        refused.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

#[test]
fn a_certificate_and_its_key_are_read_with_the_time_of_expiry() {
    let read = Credentials::read(&Prepared::new().settings).unwrap();
    let expiry = read.identity.unwrap().expiry().unwrap();
    let days = (expiry - Timestamp::now().as_second()) as f64 / 86_400.0;
    assert!((29.9..30.1).contains(&days), "{days}");
}

#[test]
fn files_that_the_protocol_does_not_use_are_not_read() {
    let mut settings = KafkaSettings::default();
    settings.security.ca = Some("/no/such/file".into());
    settings.security.password_file = Some("/no/such/file".into());
    Credentials::read(&settings).unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_setting_its_path_and_the_reason() {
    let mut prepared = Prepared::new();
    prepared.write("text.pem", b"not a certificate");
    prepared.settings.security.ca = Some(prepared.path("text.pem"));
    insta::assert_snapshot!(prepared.refusal(), @"security.ca is `text.pem`, which contains no certificate in PEM format");
    prepared.settings.security.ca = Some(prepared.path("missing.pem"));
    insta::assert_snapshot!(prepared.refusal(), @"security.ca is `missing.pem`, which cannot be read: No such file or directory (os error 2)");
    prepared.settings.security.ca = None;

    prepared.write("key.pem", b"not a key");
    insta::assert_snapshot!(prepared.refusal(), @"security.key is `key.pem`, which contains no private key in PEM format");
    prepared.write("key.pem", &new_key().private_key_to_pem_pkcs8().unwrap());
    insta::assert_snapshot!(prepared.refusal(), @"security.key is `key.pem`, which does not belong to the certificate `certificate.pem`");
}

#[test]
fn a_certificate_that_is_not_valid_now_is_refused_with_the_time() {
    let prepared = Prepared::new();
    let expired = certificate(&prepared.key, -30, -1);
    prepared.write("certificate.pem", &expired.to_pem().unwrap());
    let day = |days: i64| {
        let time = Asn1Time::from_unix(Timestamp::now().as_second() + days * 86_400).unwrap();
        shown(&time)[..10].to_owned()
    };
    let refusal = prepared.refusal();
    let expected = format!(
        "security.certificate is `certificate.pem`, which expired on {}T",
        day(-1)
    );
    assert!(refusal.starts_with(&expected), "{refusal}");

    let early = certificate(&prepared.key, 2, 30);
    prepared.write("certificate.pem", &early.to_pem().unwrap());
    let refusal = prepared.refusal();
    let expected = format!(
        "security.certificate is `certificate.pem`, which is not valid before {}T",
        day(2)
    );
    assert!(refusal.starts_with(&expected), "{refusal}");
}

#[test]
fn an_encrypted_key_needs_the_right_password() {
    let mut prepared = Prepared::new();
    let pem = prepared
        .key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"swordfish")
        .unwrap();
    prepared.write("key.pem", &pem);
    insta::assert_snapshot!(prepared.refusal(), @"security.key is `key.pem`, which is encrypted: set `key_password_file`");
    prepared.settings.security.key_password_file = Some(prepared.path("password"));
    prepared.write("password", b"marlin\n");
    insta::assert_snapshot!(prepared.refusal(), @"security.key is `key.pem`, which cannot be decrypted: the password in `key_password_file` is wrong");
    prepared.write("password", b"\n");
    insta::assert_snapshot!(prepared.refusal(), @"security.key_password_file is `password`, which is empty");
    prepared.write("password", b"swordfish\n");
    let read = Credentials::read(&prepared.settings).unwrap();
    assert!(read.identity.is_some());
}

#[test]
fn the_authorities_of_the_system_are_those_of_a_usual_place() {
    // Set in the environment of tests on a system without any.
    if let Some(path) = system_authorities() {
        assert!(Path::new(&path).exists(), "{}", path.display());
    }
}
