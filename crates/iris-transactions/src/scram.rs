//! SCRAM (RFC 5802), the client's side.

use openssl::base64::{decode_block, encode_block};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::memcmp;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::sign::Signer;

/// The least number of iterations that a server may ask for, so that a false one cannot learn the password easily.
const MIN_ITERATIONS: usize = 4096;

/// The header of a client without channel binding, as text and in Base64.
const HEADER: (&str, &str) = ("n,,", "biws");

/// A login as it proceeds.
pub(crate) struct Scram {
    digest: MessageDigest,
    nonce: String,
    first: String,
}

/// The client's last message, and the signature that the server must send.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) message: String,
    signature: Vec<u8>,
}

impl Scram {
    /// Starts a login with a random nonce.
    pub(crate) fn start(digest: MessageDigest, user: &str) -> Result<Self, ErrorStack> {
        let mut random = [0; 24];
        rand_bytes(&mut random)?;
        Ok(Self::with_nonce(digest, user, encode_block(&random)))
    }

    fn with_nonce(digest: MessageDigest, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={user},r={nonce}");
        Self {
            digest,
            nonce,
            first,
        }
    }

    /// Returns the first message.
    pub(crate) fn first_message(&self) -> String {
        format!("{}{}", HEADER.0, self.first)
    }

    /// Returns the proof that the client knows the password, for the server's first message.
    pub(crate) fn prove(&self, server_first: &str, password: &str) -> Result<Proof, String> {
        let field = |name| field(server_first, name);
        let nonce = field("r").ok_or("its first message has no nonce")?;
        let salt = field("s").and_then(|salt| decode_block(salt).ok());
        let salt = salt.ok_or("its first message has no salt")?;
        let iterations = field("i").and_then(|count| count.parse::<usize>().ok());
        let iterations = iterations.ok_or("its first message has no number of iterations")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("its nonce does not continue the client's".to_owned());
        }
        if iterations < MIN_ITERATIONS {
            return Err(format!(
                "it asks for {iterations} iterations, fewer than {MIN_ITERATIONS}"
            ));
        }
        let without_proof = format!("c={},r={nonce}", HEADER.1);
        let message = format!("{},{server_first},{without_proof}", self.first);
        self.sign(password, &salt, iterations, &message, &without_proof)
            .map_err(|error| error.to_string())
    }

    fn sign(
        &self,
        password: &str,
        salt: &[u8],
        iterations: usize,
        message: &str,
        without_proof: &str,
    ) -> Result<Proof, ErrorStack> {
        let mut salted = vec![0; self.digest.size()];
        pbkdf2_hmac(
            password.as_bytes(),
            salt,
            iterations,
            self.digest,
            &mut salted,
        )?;
        let client_key = self.hmac(&salted, b"Client Key")?;
        let stored_key = hash(self.digest, &client_key)?;
        let client_signature = self.hmac(&stored_key, message.as_bytes())?;
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&client_signature)
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = self.hmac(&salted, b"Server Key")?;
        Ok(Proof {
            message: format!("{without_proof},p={}", encode_block(&proof)),
            signature: self.hmac(&server_key, message.as_bytes())?,
        })
    }

    fn hmac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let key = PKey::hmac(key)?;
        Signer::new(self.digest, &key)?.sign_oneshot_to_vec(data)
    }
}

impl Proof {
    /// Checks that the server knows the password, too.
    pub(crate) fn verify(&self, server_final: &str) -> Result<(), String> {
        if let Some(error) = field(server_final, "e") {
            return Err(error.to_owned());
        }
        let signature = field(server_final, "v").and_then(|text| decode_block(text).ok());
        let is_right = |found: &Vec<u8>| {
            found.len() == self.signature.len() && memcmp::eq(found, &self.signature)
        };
        match signature.filter(is_right) {
            Some(_) => Ok(()),
            None => Err("it does not know the user's password itself".to_owned()),
        }
    }
}

/// Returns the value of a field of a message.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = message.split(',').filter_map(|field| field.split_once('='));
    fields
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn example() -> Scram {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        Scram::with_nonce(MessageDigest::sha256(), "user", nonce)
    }

    #[test]
    fn the_messages_are_those_of_the_standard() {
        let scram = example();
        assert_eq!(scram.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram.prove(SERVER_FIRST, "pencil").unwrap();
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        proof
            .verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
            .unwrap();
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_refused() {
        let proof = example().prove(SERVER_FIRST, "pencil").unwrap();
        for (answer, expected) in [
            ("v=AAAA", "it does not know the user's password itself"),
            ("", "it does not know the user's password itself"),
            ("e=invalid-proof", "invalid-proof"),
        ] {
            assert_eq!(proof.verify(answer).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_server_that_weakens_the_login_is_refused() {
        let refused = |message: &str| example().prove(message, "pencil").unwrap_err();
        let few = SERVER_FIRST.replace("i=4096", "i=1");
        assert_eq!(refused(&few), "it asks for 1 iterations, fewer than 4096");
        let foreign = SERVER_FIRST.replace("r=rOpr", "r=other");
        assert_eq!(
            refused(&foreign),
            "its nonce does not continue the client's"
        );
        assert_eq!(refused("r=x"), "its first message has no salt");
    }

    #[test]
    fn separators_in_a_name_are_escaped() {
        let scram = Scram::with_nonce(MessageDigest::sha512(), "a=b,c", "x".to_owned());
        assert_eq!(scram.first_message(), "n,,n=a=3Db=2Cc,r=x");
    }
}
