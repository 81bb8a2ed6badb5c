//! A name that distinguishes this process from others of its group and survives a restart.
//!
//! Transactional ids contain it, so that a restarted process fences its predecessor's open transactions. In a container the
//! host's name is enough. If several processes run on one host, each locks the lowest free number; the operating system
//! releases the lock when the process ends, however it does.

use std::fs::{File, TryLockError};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tracing::debug;

/// The most processes of one group on one host that get different names.
const MAX_PROCESSES: u32 = 1_000;

/// The name of this process. It is reserved as long as this value lives.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    _lock: Option<File>,
}

impl Instance {
    /// Returns the configured name or, if that is empty, the host's name with a number that is reserved by a lock in
    /// `directory`.
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
        for number in 0..MAX_PROCESSES {
            let path = directory.join(format!("iris-classifier-{group}-{number}.lock"));
            match lock(&path) {
                Ok(file) => {
                    return Self {
                        name: format!("{host}-{number}"),
                        _lock: Some(file),
                    };
                }
                Err(TryLockError::WouldBlock) => {}
                // The file belongs to another user, or no file can be created, as on a read-only file system.
                Err(TryLockError::Error(error)) => debug!("{}: {error}", path.display()),
            }
        }
        Self {
            name: host,
            _lock: None,
        }
    }
}

/// Opens or creates a file and locks it. A symbolic link is refused: in a directory that all users share, it could lead to a file
/// that this user must not change.
fn lock(path: &Path) -> Result<File, TryLockError> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| TryLockError::Error(error.into()))?;
    let file = File::from(file);
    file.try_lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn processes_on_one_host_get_the_lowest_free_number() {
        let directory = tempfile::tempdir().unwrap();
        let claim = |group| Instance::claim("", group, directory.path());
        let (first, second) = (claim("a"), claim("a"));
        assert!(first.name.ends_with("-0") && second.name.ends_with("-1"));
        assert_eq!(claim("b").name, first.name);
        let name = first.name.clone();
        drop(first);
        // A process that another test is starting has the lock, too, until it runs its own program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while claim("a").name != name {
            assert!(Instant::now() < deadline, "{name} is not free");
            thread::yield_now();
        }
    }

    #[test]
    fn a_link_is_not_followed_and_its_number_is_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        fs::write(&target, "kept").unwrap();
        symlink(&target, directory.path().join("iris-classifier-a-0.lock")).unwrap();
        let instance = Instance::claim("", "a", directory.path());
        assert!(instance.name.ends_with("-1"), "{}", instance.name);
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn a_configured_name_is_used_unchanged() {
        assert_eq!(
            Instance::claim("pod-3", "a", Path::new("/nowhere")).name,
            "pod-3"
        );
    }

    #[test]
    fn without_a_directory_for_locks_the_name_is_the_hosts() {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        assert_eq!(
            Instance::claim("", "a", Path::new("/nowhere/at/all")).name,
            host
        );
    }
}
