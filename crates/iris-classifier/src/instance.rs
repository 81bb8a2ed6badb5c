//! A name that tells this process from others of its group, and survives its restart.
//!
//! Workers' transactional ids are made of it: a restarted process fences what its predecessor left open. The host's
//! name will do in a container. Where several processes run on one host, each holds the lock of the lowest free number;
//! the system releases it when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use tracing::debug;

/// The most processes of one group on one host that are told apart.
const MOST: u32 = 1_000;

/// The name of this process, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    _lock: Option<File>,
}

impl Instance {
    /// The configured name or, if that is empty, the host's and a number from the locks in `directory`.
    pub(crate) fn claim(configured: &str, group_id: &str, directory: &Path) -> Self {
        if !configured.is_empty() {
            return Self {
                name: configured.to_owned(),
                _lock: None,
            };
        }
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let group: String = group_id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        for number in 0..MOST {
            let path = directory.join(format!("iris-classifier-{group}-{number}.lock"));
            // Where no lock can be made, as on a read-only file system, the host's name has to do.
            let Ok(file) =
                File::create(&path).inspect_err(|error| debug!("{}: {error}", path.display()))
            else {
                break;
            };
            match file.try_lock() {
                Ok(()) => {
                    return Self {
                        name: format!("{host}-{number}"),
                        _lock: Some(file),
                    };
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    debug!("{}: {error}", path.display());
                    break;
                }
            }
        }
        Self {
            name: host,
            _lock: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_on_one_host_take_the_lowest_free_number() {
        let directory = tempfile::tempdir().unwrap();
        let claim = |group| Instance::claim("", group, directory.path());
        let (first, second) = (claim("a"), claim("a"));
        assert!(first.name.ends_with("-0") && second.name.ends_with("-1"));
        assert_eq!(claim("b").name, first.name);
        let name = first.name.clone();
        drop(first);
        assert_eq!(claim("a").name, name);
    }

    #[test]
    fn a_configured_name_is_taken_as_it_is() {
        assert_eq!(
            Instance::claim("pod-3", "a", Path::new("/nowhere")).name,
            "pod-3"
        );
    }

    #[test]
    fn without_a_place_for_locks_it_is_the_hosts_name() {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        assert_eq!(
            Instance::claim("", "a", Path::new("/nowhere/at/all")).name,
            host
        );
    }
}
