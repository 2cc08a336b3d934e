//! SHA-256 of images, found when somebody wants it, on his own thread.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cordon_behavior::event::{FileIdentity, ProcessKey};
use sha2::{Digest as _, Sha256};

use crate::CacheUse;
use crate::cache::Bounded;
use crate::facts::{INIT_ROOT, identity_of};
use crate::living::is_alive;

/// How much is hashed at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestLimits {
    /// Largest file that is hashed, bytes.
    pub file_bytes: u64,
    /// Bytes a second over a long time. A file of the largest size may always be hashed after a rest.
    pub bytes_per_second: u64,
    /// Digests that are remembered.
    pub remembered: usize,
}

impl Default for DigestLimits {
    /// 64 MiB a file, 16 MiB a second, 4,096 digests.
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            bytes_per_second: 16 << 20,
            remembered: 4096,
        }
    }
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum NoDigest {
    /// The process has ended, and its image is not to be found by its path.
    #[error("the image is gone: the process has ended, and at its path is nothing or another file")]
    Gone,
    /// The file is larger than the limit.
    #[error("the image has {bytes} bytes, more than are hashed")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// More would be hashed than the limit of bytes a second allows.
    #[error("too much was hashed lately")]
    Busy,
    /// Somebody wrote to it meanwhile.
    #[error("the image was changed while it was read")]
    Changed,
    /// It could not be read.
    #[error("cannot read the image")]
    Read(#[from] io::Error),
}

/// Hashes images, remembers what it has hashed, and never does more than its limits allow.
#[derive(Debug)]
pub struct Digests {
    limits: DigestLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: HashMap<FileIdentity, [u8; 32]>,
    order: VecDeque<FileIdentity>,
    evicted: u64,
    /// Bytes that may be hashed now, as of `counted`.
    allowed: u64,
    counted: Instant,
}

/// An upper estimate of an entry with its places in the table and in the order.
const ENTRY_BYTES: usize = 3 * size_of::<FileIdentity>() + 48;

impl Digests {
    /// Nothing hashed yet.
    pub fn new(limits: DigestLimits) -> Self {
        let state = State {
            known: HashMap::new(),
            order: VecDeque::new(),
            evicted: 0,
            allowed: limits.file_bytes,
            counted: Instant::now(),
        };
        Self {
            limits,
            state: Mutex::new(state),
        }
    }

    /// The digest of the image that `process` runs, or ran: through `/proc`, so that unlinked images and those in containers
    /// are found while it lives, else by its path, where the same file must lie. `identity` is the image's
    /// as it was executed; without it only a living process that still runs the image at `path` has one.
    ///
    /// Reads the file in the calling thread. No lock is held meanwhile.
    pub fn sha256_of(
        &self,
        process: ProcessKey,
        path: &str,
        identity: Option<&FileIdentity>,
    ) -> Result<[u8; 32], NoDigest> {
        let (mut file, identity) = open(process, path, identity)?;
        if let Some(known) = self.state().known.get(&identity) {
            return Ok(*known);
        }
        if identity.size > self.limits.file_bytes {
            return Err(NoDigest::TooLarge {
                bytes: identity.size,
            });
        }
        self.take_allowance(identity.size)?;
        let digest = hash(&mut file, identity.size)?;
        if identity_of(&file.metadata()?) != identity {
            return Err(NoDigest::Changed);
        }
        self.remember(identity, digest);
        Ok(digest)
    }

    /// How full the memory of digests is.
    pub fn usage(&self) -> CacheUse {
        let state = self.state();
        CacheUse {
            name: "digests",
            bytes: (state.known.len() * ENTRY_BYTES) as u64,
            limit_bytes: (self.limits.remembered * ENTRY_BYTES) as u64,
            entries: state.known.len() as u64,
            evicted: state.evicted,
        }
    }

    fn take_allowance(&self, bytes: u64) -> Result<(), NoDigest> {
        let mut state = self.state();
        let now = Instant::now();
        let rested = now.duration_since(state.counted).as_micros() as u64;
        let earned = rested.saturating_mul(self.limits.bytes_per_second) / 1_000_000;
        let allowed = state
            .allowed
            .saturating_add(earned)
            .min(self.limits.file_bytes);
        (state.allowed, state.counted) = (allowed, now);
        state.allowed = allowed.checked_sub(bytes).ok_or(NoDigest::Busy)?;
        Ok(())
    }

    fn remember(&self, identity: FileIdentity, digest: [u8; 32]) {
        let mut state = self.state();
        if state.known.insert(identity, digest).is_some() {
            return;
        }
        state.order.push_back(identity);
        while state.order.len() > self.limits.remembered {
            if let Some(oldest) = state.order.pop_front() {
                state.known.remove(&oldest);
                state.evicted += 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Digests {
    fn default() -> Self {
        Self::new(DigestLimits::default())
    }
}

impl Bounded for Digests {
    fn usage(&self) -> CacheUse {
        Digests::usage(self)
    }
}

fn open(
    process: ProcessKey,
    path: &str,
    identity: Option<&FileIdentity>,
) -> Result<(File, FileIdentity), NoDigest> {
    let of_process = format!("/proc/{}/exe", process.pid);
    let still_runs = || {
        let link = std::fs::read_link(&of_process).unwrap_or_default();
        let link = link.to_string_lossy();
        is_alive(process) && link.strip_suffix(" (deleted)").unwrap_or(&link) == path
    };
    // An agent that systemd shields has a /tmp of its own: the host's is where its first process sees it.
    let of_host = format!("{INIT_ROOT}{path}");
    let places = [
        (of_process.as_str(), true),
        (of_host.as_str(), false),
        (path, false),
    ];
    for (place, is_proc) in places {
        let Some((file, found)) = regular(Path::new(place)) else {
            continue;
        };
        // The device that a file system shows is not always the one that the kernel knows it by.
        let is_it = match identity {
            Some(known) => {
                FileIdentity {
                    device: known.device,
                    ..found
                } == *known
            }
            None => is_proc && still_runs(),
        };
        if is_it {
            return Ok((file, found));
        }
    }
    Err(NoDigest::Gone)
}

/// Opens a regular file without waiting for whoever is at the other end of anything else.
fn regular(path: &Path) -> Option<(File, FileIdentity)> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let facts = file.metadata().ok()?;
    facts.is_file().then(|| (file, identity_of(&facts)))
}

/// Of `bytes` bytes: a file that grows is not followed.
fn hash(file: &mut File, bytes: u64) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut file = file.take(bytes);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Child, Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    const NOBODY: ProcessKey = ProcessKey {
        pid: 0,
        start_ns: 0,
    };

    fn facts(path: &Path) -> FileIdentity {
        identity_of(&fs::metadata(path).unwrap())
    }

    fn file(directory: &Path, name: &str, text: &str) -> (String, FileIdentity) {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        (path.to_str().unwrap().to_owned(), facts(&path))
    }

    /// A process that ends when its standard input does, running a copy of `cat`.
    struct Cat(Child);

    impl Drop for Cat {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            if let Err(error) = self.0.wait() {
                eprintln!("cannot wait for cat: {error}");
            }
        }
    }

    #[test]
    fn a_file_has_the_digest_that_sha256sum_tells() {
        let directory = tempfile::tempdir().unwrap();
        let (path, identity) = file(directory.path(), "abc", "abc");
        let digest = Digests::default()
            .sha256_of(NOBODY, &path, Some(&identity))
            .unwrap();
        assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(digest[28..], [0xf2, 0x00, 0x15, 0xad]);
    }

    #[test]
    fn an_unlinked_image_is_found_while_its_process_lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cat");
        fs::copy("/bin/cat", &path).unwrap();
        let identity = facts(&path);
        let child = Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
        let process = ProcessKey {
            pid: child.id(),
            start_ns: 0,
        };
        let cat = Cat(child);
        fs::remove_file(&path).unwrap();
        let path = path.to_str().unwrap();
        let digests = Digests::default();
        let digest = digests.sha256_of(process, path, Some(&identity)).unwrap();
        let original = fs::canonicalize("/bin/cat").unwrap();
        let same = digests.sha256_of(NOBODY, original.to_str().unwrap(), Some(&facts(&original)));
        assert_eq!(digest, same.unwrap());
        assert_eq!(digests.sha256_of(process, path, None).unwrap(), digest);
        let earlier = ProcessKey {
            start_ns: 1,
            ..process
        };
        assert!(matches!(
            digests.sha256_of(earlier, path, None),
            Err(NoDigest::Gone)
        ));
        drop(cat);
        let fresh = Digests::default();
        assert!(matches!(
            fresh.sha256_of(process, path, Some(&identity)),
            Err(NoDigest::Gone)
        ));
    }

    #[test]
    fn another_file_at_the_path_is_not_taken_for_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let (path, identity) = file(directory.path(), "x", "first");
        file(directory.path(), "x", "second");
        let answer = Digests::default().sha256_of(NOBODY, &path, Some(&identity));
        assert!(matches!(answer, Err(NoDigest::Gone)));
    }

    #[test]
    fn large_files_and_too_many_bytes_are_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let limits = DigestLimits {
            file_bytes: 10,
            bytes_per_second: 0,
            remembered: 2,
        };
        let digests = Digests::new(limits);
        let (path, identity) = file(directory.path(), "large", "eleven bytes");
        let answer = digests.sha256_of(NOBODY, &path, Some(&identity));
        assert!(matches!(answer, Err(NoDigest::TooLarge { bytes: 12 })));
        let (path, identity) = file(directory.path(), "a", "12345678");
        digests.sha256_of(NOBODY, &path, Some(&identity)).unwrap();
        digests.sha256_of(NOBODY, &path, Some(&identity)).unwrap();
        let (path, identity) = file(directory.path(), "b", "abcd");
        let answer = digests.sha256_of(NOBODY, &path, Some(&identity));
        assert!(matches!(answer, Err(NoDigest::Busy)));
    }

    proptest! {
        #[test]
        fn no_more_digests_are_remembered_than_allowed(inodes: Vec<u64>, remembered in 1..20usize) {
            let digests = Digests::new(DigestLimits { remembered, ..DigestLimits::default() });
            for inode in inodes {
                digests.remember(FileIdentity { inode, ..FileIdentity::default() }, [0; 32]);
                let usage = digests.usage();
                prop_assert!(usage.bytes <= usage.limit_bytes);
                let state = digests.state();
                prop_assert_eq!(state.known.len(), state.order.len());
            }
        }
    }
}
