//! Reads passwords and certificates again when their files change, and gives them to all clients of the process.
//!
//! Open connections stay open: brokers check credentials only when a connection starts and, with
//! `connections.max.reauth.ms`, from time to time. So neither a rebalance nor an aborted transaction follows from a rotation.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use openssl::ssl::SslContext;
use parking_lot::Mutex;
use secrecy::SecretString;
use tracing::{info, warn};

use crate::client::credentials::Credentials;
use crate::client::settings::KafkaSettings;
use crate::sys::client::Alive;
use crate::sys::password;
use crate::sys::tls::{self, Presented};

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many times in succession the files must be unusable before that is logged: a certificate and its key are usually
/// replaced one after the other.
const FAILURES: u32 = 5;

/// The credentials of the process: one entry for all clients with the same files.
static SOURCES: Mutex<Vec<Arc<Source>>> = Mutex::new(Vec::new());

/// The files that hold credentials, by their settings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    password: Option<PathBuf>,
    authorities: Option<PathBuf>,
    /// The certificate, its key, and the password of the key.
    identity: [Option<PathBuf>; 3],
}

impl Files {
    /// Returns the files that the protocol needs; `None` if it needs none.
    fn of(settings: &KafkaSettings) -> Option<Self> {
        let security = &settings.security;
        let (authenticates, encrypts) = (
            security.protocol.authenticates(),
            security.protocol.encrypts(),
        );
        let encrypted = |file: &Option<PathBuf>| file.clone().filter(|_| encrypts);
        let files = Self {
            password: security.password_file.clone().filter(|_| authenticates),
            authorities: encrypted(&security.ca).filter(|path| !path.is_dir()),
            identity: [
                encrypted(&security.certificate),
                encrypted(&security.key),
                encrypted(&security.key_password_file),
            ],
        };
        let is_any =
            files.password.is_some() || files.authorities.is_some() || files.identity[0].is_some();
        is_any.then_some(files)
    }

    /// Returns a fingerprint of the present content of each kind.
    fn fingerprints(&self) -> Fingerprints {
        let hash = |paths: &[Option<PathBuf>]| {
            let mut hasher = DefaultHasher::new();
            for path in paths.iter().flatten() {
                fs::read(path).ok().hash(&mut hasher);
            }
            hasher.finish()
        };
        Fingerprints {
            password: hash(std::slice::from_ref(&self.password)),
            authorities: hash(std::slice::from_ref(&self.authorities)),
            identity: hash(&self.identity),
        }
    }
}

/// A fingerprint of the content of each kind of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fingerprints {
    password: u64,
    authorities: u64,
    identity: u64,
}

/// The files of some settings, and the clients that use them.
struct Source {
    settings: KafkaSettings,
    files: Files,
    presented: &'static Presented,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The fingerprints of the files that the clients use.
    used: Option<Fingerprints>,
    password: Option<SecretString>,
    clients: BTreeMap<u64, (Alive, Vec<SslContext>)>,
    registered: u64,
    /// When the client certificate expires, as Unix time in seconds.
    expiry: Option<i64>,
    /// How many times in succession the changed files could not be used.
    failures: u32,
}

/// The registration of a client, which keeps the client alive.
pub(super) struct Registration {
    source: Arc<Source>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.source.state.lock().clients.remove(&self.number);
    }
}

/// Returns the time at which the first client certificate that is in use expires, as Unix time in seconds; `None` if none is.
pub(super) fn first_expiry() -> Option<i64> {
    let sources = SOURCES.lock();
    let expiry = |source: &Arc<Source>| source.state.lock().expiry;
    sources.iter().filter_map(expiry).min()
}

/// Registers a client until the registration is dropped. Returns `None` if no file holds its credentials.
pub(super) fn register(
    settings: &KafkaSettings,
    client: Alive,
    contexts: Vec<SslContext>,
) -> Option<Registration> {
    let source = source(settings, Files::of(settings)?);
    let mut state = source.state.lock();
    if source.files.identity[0].is_some() {
        for context in &contexts {
            tls::present(context, source.presented);
        }
    }
    state.registered += 1;
    let number = state.registered;
    state.clients.insert(number, (client.clone(), contexts));
    // The files may have changed since the client's settings were made.
    source.refresh(&mut state);
    if let Some(password) = &state.password {
        password::set(&client, &settings.security.username, password);
    }
    drop(state);
    Some(Registration { source, number })
}

fn source(settings: &KafkaSettings, files: Files) -> Arc<Source> {
    let mut sources = SOURCES.lock();
    let is_same = |source: &&Arc<Source>| {
        source.files == files && source.settings.security.username == settings.security.username
    };
    if let Some(source) = sources.iter().find(is_same) {
        return Arc::clone(source);
    }
    let source = Arc::new(Source {
        settings: settings.clone(),
        files,
        // TLS contexts refer to it until they are freed, which this process does not observe.
        presented: Box::leak(Box::default()),
        state: Mutex::default(),
    });
    if sources.is_empty() {
        let watching = thread::Builder::new()
            .name("credentials".to_owned())
            .spawn(watch);
        if let Err(error) = watching {
            warn!("cannot start a thread that reads changed passwords and certificates: {error}");
        }
    }
    sources.push(Arc::clone(&source));
    source
}

/// Reads all files again and again.
fn watch() {
    loop {
        thread::sleep(INTERVAL);
        let sources: Vec<Arc<Source>> = SOURCES.lock().clone();
        for source in sources {
            source.refresh(&mut source.state.lock());
        }
    }
}

impl Source {
    /// Reads the files if they have changed, and gives their content to all clients.
    fn refresh(&self, state: &mut State) {
        let present = self.files.fingerprints();
        if state.used == Some(present) {
            state.failures = 0;
            return;
        }
        match Credentials::read(&self.settings) {
            Ok(credentials) => {
                self.apply(state, credentials, present);
                state.used = Some(present);
                state.failures = 0;
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures == FAILURES {
                    warn!(
                        "kafka.{error}; the previous content is used until the file is corrected"
                    );
                }
            }
        }
    }

    fn apply(&self, state: &mut State, credentials: Credentials, present: Fingerprints) {
        let used = state.used;
        let has_changed = |kind: fn(&Fingerprints) -> u64| {
            used.as_ref()
                .is_none_or(|used| kind(used) != kind(&present))
        };
        // When a process starts, nothing has changed.
        let log = |what: &str, path: Option<&Path>| {
            if let (true, Some(path)) = (used.is_some(), path) {
                info!(
                    "{what} in {} has changed: new connections use it",
                    path.display()
                );
            }
        };
        if has_changed(|prints| prints.password)
            && let Some(password) = credentials
                .password
                .filter(|_| self.files.password.is_some())
        {
            for (client, _) in state.clients.values() {
                password::set(client, &self.settings.security.username, &password);
            }
            state.password = Some(password);
            log("the Kafka password", self.files.password.as_deref());
        }
        if has_changed(|prints| prints.authorities) && !credentials.authorities.is_empty() {
            for context in state.clients.values().flat_map(|(_, contexts)| contexts) {
                tls::trust(context, &credentials.authorities);
            }
            log(
                "the list of certificate authorities",
                self.files.authorities.as_deref(),
            );
        }
        if has_changed(|prints| prints.identity)
            && let Some(identity) = credentials.identity
        {
            state.expiry = identity.expiry();
            self.presented.set(identity);
            log("the client certificate", self.files.identity[0].as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::settings::SecurityProtocol;

    #[test]
    fn only_files_that_the_protocol_needs_are_read_again() {
        let files = |protocol| {
            let mut settings = KafkaSettings::default();
            settings.security.protocol = protocol;
            settings.security.password_file = Some("password".into());
            settings.security.ca = Some("ca.pem".into());
            Files::of(&settings)
        };
        assert_eq!(files(SecurityProtocol::Plaintext), None);
        let needed = |protocol| {
            let files = files(protocol).unwrap();
            (files.password.is_some(), files.authorities.is_some())
        };
        assert_eq!(needed(SecurityProtocol::SaslPlaintext), (true, false));
        assert_eq!(needed(SecurityProtocol::Ssl), (false, true));
        assert_eq!(needed(SecurityProtocol::SaslSsl), (true, true));
    }

    #[test]
    fn a_changed_file_changes_the_fingerprint_of_its_kind() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(directory.path().join(name));
        let files = Files {
            password: path("password"),
            authorities: path("ca.pem"),
            identity: [path("client.pem"), path("client.key"), None],
        };
        let write = |name: &str, text: &str| fs::write(path(name).unwrap(), text).unwrap();
        let missing = files.fingerprints();
        write("password", "");
        let empty = files.fingerprints();
        assert_ne!(empty.password, missing.password);
        write("password", "swordfish");
        write("client.key", "key");
        let changed = files.fingerprints();
        assert_ne!(changed.password, empty.password);
        assert_ne!(changed.identity, empty.identity);
        assert_eq!(changed.authorities, empty.authorities);
    }
}
