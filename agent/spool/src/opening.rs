//! Finding, making and replacing the database.
//!
//! Nothing here may bring a sequence back into use within one boot, for the controller takes a
//! second record of the same (host, boot, sequence) for a repetition and throws it away. The next
//! sequence is in the database; where that is lost (damaged, deleted, cut to nothing) the new one
//! begins at the time since boot in tenths of a microsecond. No disk takes ten million records a
//! second, so that number is above every sequence used before; a wall clock that is set back does
//! not touch it; and it stays exact in a JavaScript number for 28 years.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use redb::Builder;

use crate::error::SpoolError;
use crate::record::Stats;
use crate::store::Store;

const DATABASE: &str = "outbox.redb";
/// A new database until it is whole: an empty or half-made one never has the real name.
const UNFINISHED: &str = "outbox.redb.new";
const LOCK: &str = "outbox.lock";
/// Most memory that the store keeps pages in.
const CACHE_BYTES: usize = 2 * 1024 * 1024;
/// A file this much larger than twice its content is compacted when it is opened.
const SLACK_BYTES: u64 = 4 * 1024 * 1024;

/// What was found when the database was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none.
    Created,
    /// Whole, with what was in it.
    Existing,
    /// Damaged: it was set aside and a new one begun. Also kept as [`crate::Gap::Damaged`].
    Replaced {
        /// Where the damaged one is now.
        set_aside: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

/// The outbox's directory, held by this process alone.
pub(crate) struct Home {
    dir: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) boot_id: String,
    /// The kernel lets go of it when the process ends, however it ends.
    _lock: File,
}

impl Home {
    /// Makes the directory where it is missing, readable by its owner only, and locks it.
    pub(crate) fn claim(dir: &Path, boot_id: &str) -> Result<Self, SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(SpoolError::disk("make directory", dir))?;
        let path = dir.join(LOCK);
        let lock = private_file(&path).map_err(SpoolError::disk("open", &path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::InUse {
                path: dir.to_owned(),
            },
            TryLockError::Error(source) => SpoolError::disk("lock", &path)(source),
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            database: dir.join(DATABASE),
            boot_id: boot_id.to_owned(),
            _lock: lock,
        })
    }

    /// Opens the database, or a new one where there is none or none that is whole.
    pub(crate) fn open(&self) -> Result<(Store, Stats, Opened), SpoolError> {
        let is_there = self.database.try_exists();
        let opened = if is_there.map_err(SpoolError::disk("find", &self.database))? {
            match self.take_up() {
                Ok((store, stats)) => return Ok((store, stats, Opened::Existing)),
                Err(error) if is_damage(&error) => self.replace(error.to_string())?,
                Err(error) => return Err(self.failed(error)),
            }
        } else {
            self.begin(None)?;
            Opened::Created
        };
        let (store, stats) = self.take_up().map_err(|error| self.failed(error))?;
        Ok((store, stats, opened))
    }

    fn take_up(&self) -> Result<(Store, Stats), redb::Error> {
        let file_bytes = fs::metadata(&self.database)?.len();
        // Never `create`, which would make a database of an empty file, from sequence 1 and without a word.
        let database = builder().open(&self.database)?;
        let (mut store, stats) = Store::open(database, &self.boot_id)?;
        if file_bytes > 2 * stats.bytes + SLACK_BYTES {
            store.compact()?;
        }
        Ok((store, stats))
    }

    fn failed(&self, error: redb::Error) -> SpoolError {
        SpoolError::store("open", &self.database, error)
    }

    /// The damaged file keeps its content under another name; the new one takes its place in one
    /// step, so that no crash leaves a moment with neither.
    fn replace(&self, why: String) -> Result<Opened, SpoolError> {
        let set_aside = self.free_name()?;
        fs::hard_link(&self.database, &set_aside)
            .map_err(SpoolError::disk("set aside", &self.database))?;
        let name = set_aside.file_name().unwrap_or_default().to_string_lossy();
        self.begin(Some((&name, &why)))?;
        Ok(Opened::Replaced { set_aside, why })
    }

    fn begin(&self, set_aside: Option<(&str, &str)>) -> Result<(), SpoolError> {
        let unfinished = self.dir.join(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(SpoolError::disk("remove", &unfinished)(error));
            }
            _ => {}
        }
        drop(private_file(&unfinished).map_err(SpoolError::disk("make", &unfinished))?);
        let first = first_sequence()?;
        self.fill(&unfinished, first, set_aside)
            .map_err(|error| SpoolError::store("make", &unfinished, error))?;
        fs::rename(&unfinished, &self.database).map_err(SpoolError::disk("rename", &unfinished))?;
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(SpoolError::disk("sync directory", &self.dir))
    }

    fn fill(
        &self,
        path: &Path,
        first: u64,
        set_aside: Option<(&str, &str)>,
    ) -> Result<(), redb::Error> {
        let database = builder().create(path)?;
        Store::create(&database, &self.boot_id, first, set_aside)?;
        Ok(database.close()?)
    }

    /// The first name of its kind that nothing has.
    fn free_name(&self) -> Result<PathBuf, SpoolError> {
        let mut names =
            (1u32..).map(|number| self.dir.join(format!("{DATABASE}.damaged-{number}")));
        let free = names.find_map(|path| match path.try_exists() {
            Ok(true) => None,
            Ok(false) => Some(Ok(path)),
            Err(error) => Some(Err(SpoolError::disk("read", &path)(error))),
        });
        free.expect("there are more numbers than files")
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // A plain open trusts the file, and a flipped bit in it can panic much later.
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    builder
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// The file is not what this crate wrote; trying again gives the same.
fn is_damage(error: &redb::Error) -> bool {
    use redb::Error as E;
    match error {
        E::Corrupted(_)
        | E::UpgradeRequired(_)
        | E::RepairAborted
        | E::TableTypeMismatch { .. }
        | E::TableIsMultimap(_)
        | E::TypeDefinitionChanged { .. } => true,
        E::Io(error) => matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

/// Tenths of a microsecond since boot, sleep included.
fn first_sequence() -> Result<u64, SpoolError> {
    let clock = Path::new("CLOCK_BOOTTIME");
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_err(|errno| SpoolError::disk("read", clock)(errno.into()))?;
    Ok((Duration::from(now).as_nanos() / 100) as u64)
}
