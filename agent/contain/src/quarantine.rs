//! Files taken out of reach: sealed into the state directory, and put back as they were when it was a mistake.
//!
//! A path is a promise of whoever may rename something there. So a file is named by its directory, which is opened
//! without following any link, and by device and inode, which are looked at before it is read, after, and once more when
//! it has been renamed to a name of ours; only then is it unlinked. What was swapped meanwhile is renamed back.

mod grip;
mod seal;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ContainError;
use crate::state::StateDir;
pub use grip::Facts;
use grip::Folder;

const FOLDER: &str = "quarantine";
/// Largest file that is taken.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most files that are held at once.
pub const MOST_FILES: usize = 256;

/// A file that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// 32 hex digits.
    pub id: String,
    /// Where it was, and where it is put back.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
    /// When it was taken.
    pub at: Timestamp,
    /// SHA-256 of its content, hex.
    pub sha256: String,
    /// What it was besides its content.
    pub facts: Facts,
}

/// A file that is to be held under a name.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// 32 hex digits, the same whenever this is asked for.
    pub id: &'a str,
    /// Its path, with no symbolic link in it.
    pub path: &'a Path,
    /// SHA-256 of the content that is meant, hex: another is refused.
    pub sha256: Option<&'a str>,
    /// Why.
    pub reason: &'a str,
}

/// On disk beside the sealed content.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    held: Held,
    /// Without it the content is noise: to remove this file is to destroy it.
    key: String,
}

/// Why a file is not taken, put back or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// It must stay where it is.
    #[error("{path} is not taken: {why}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file, or the state directory, cannot be used.
    #[error(transparent)]
    Disk(#[from] ContainError),
    /// No such file is held.
    #[error("nothing is held as {0}: `cordon-agent quarantine list` shows what is")]
    Unknown(String),
    /// What is held is not what was sealed.
    #[error("what is held as {0} is damaged: it is not put back")]
    Damaged(String),
}

type Result<T> = std::result::Result<T, QuarantineError>;

/// The held files of this host.
#[derive(Debug)]
pub struct Quarantine {
    state_dir: PathBuf,
    folder: PathBuf,
    /// With a lock of its own: an isolation waits for no large file.
    files: StateDir,
}

impl Quarantine {
    /// Uses (and makes, where missing) `state_dir`, and finishes what a crash left half done.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let quarantine = Self::at(state_dir)?;
        let lock = quarantine.files.lock()?;
        for held in quarantine.list()? {
            // A folder that is gone or unreadable has nothing that could be finished.
            if let Ok(folder) = Folder::of(&held.path) {
                drop(folder.finish(&held.facts, &held.id));
            }
        }
        drop(lock);
        Ok(quarantine)
    }

    fn at(state_dir: &Path) -> Result<Self> {
        let folder = state_dir.join(FOLDER);
        Ok(Self {
            files: StateDir::open(&folder)?,
            state_dir: state_dir.to_owned(),
            folder,
        })
    }

    /// What is held by this name. Waits for nobody who takes or puts back another.
    pub fn held(state_dir: &Path, id: &str) -> Result<Held> {
        Ok(Self::at(state_dir)?.read(id)?.held)
    }

    /// What is held, the oldest first.
    pub fn list(&self) -> Result<Vec<Held>> {
        let entries = fs::read_dir(&self.folder).map_err(disk("list", &self.folder))?;
        let names = entries.flatten().map(|entry| entry.file_name());
        let ids = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".json")?.to_owned()));
        let mut held = Vec::new();
        for id in ids {
            match self.read(&id) {
                Ok(entry) => held.push(entry.held),
                // One that is damaged must not hide the others.
                Err(QuarantineError::Damaged(_) | QuarantineError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        held.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
        Ok(held)
    }

    /// Takes the file. `must_stay` says why one must not be, by its path and facts.
    pub fn take(
        &self,
        path: &Path,
        reason: &str,
        must_stay: &dyn Fn(&Path, &Facts) -> Option<String>,
        now: Timestamp,
    ) -> Result<Held> {
        let id = hex::encode(random::<16>(path)?);
        let wanted = Wanted {
            id: &id,
            path,
            sha256: None,
            reason,
        };
        self.take_as(&wanted, must_stay, now)
    }

    /// Takes the file under a name. What is held by this name already is not taken again, and what a crash left half done
    /// of it is finished.
    pub fn take_as(
        &self,
        wanted: &Wanted<'_>,
        must_stay: &dyn Fn(&Path, &Facts) -> Option<String>,
        now: Timestamp,
    ) -> Result<Held> {
        let _lock = self.files.lock()?;
        let Wanted {
            id,
            path,
            sha256,
            reason,
        } = *wanted;
        match self.read(id) {
            Ok(Entry { held, .. }) => return Self::finish(held),
            Err(QuarantineError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
        let refused = |why: String| QuarantineError::Refused {
            path: path.to_owned(),
            why,
        };
        if path.starts_with(&self.state_dir) {
            return Err(refused("it belongs to the agent".to_owned()));
        }
        if self.list()?.len() >= MOST_FILES {
            return Err(refused(format!("{MOST_FILES} files are held already")));
        }
        let folder = Folder::of(path).map_err(disk("open the folder of", path))?;
        let mut file = folder.file().map_err(disk("open", path))?;
        let facts = Facts::read(&file).map_err(disk("read", path))?;
        let why = unfit(&file, path).map_err(disk("read", path))?;
        if let Some(why) = why.or_else(|| must_stay(path, &facts)) {
            return Err(refused(why));
        }
        let key = random::<32>(path)?;
        let sealed = self.sealed(id);
        // Of one that was not finished: without its key it is noise.
        drop(fs::remove_file(&sealed));
        let taken = self
            .seal(&folder, &mut file, &facts, (id, &key))
            .and_then(|found| {
                if let Some(wanted) = sha256.filter(|wanted| *wanted != found) {
                    return Err(refused(format!(
                        "its content has SHA-256 {found}, and {wanted} was meant"
                    )));
                }
                let held = Held {
                    id: id.to_owned(),
                    path: path.to_owned(),
                    reason: reason.to_owned(),
                    at: now,
                    sha256: found,
                    facts,
                };
                let entry = Entry {
                    held: held.clone(),
                    key: hex::encode(key),
                };
                self.files.write_file(&entry_name(id), &entry)?;
                folder
                    .remove(&held.facts, id)
                    .map_err(disk("remove", path))?;
                Ok(held)
            });
        if taken.is_err() {
            // It is where it was, so nothing is held.
            drop(fs::remove_file(self.folder.join(entry_name(id))));
            drop(fs::remove_file(sealed));
        }
        taken
    }

    /// What is held is on disk before the file is removed: after a crash between the two it is removed now.
    fn finish(held: Held) -> Result<Held> {
        let Ok(folder) = Folder::of(&held.path) else {
            return Ok(held);
        };
        let now = folder.file().and_then(|file| Facts::read(&file));
        if now.is_ok_and(|now| now.is_same_content(&held.facts)) {
            let removed = folder.remove(&held.facts, &held.id);
            removed.map_err(disk("remove", &held.path))?;
        }
        Ok(held)
    }

    /// Puts a file back as it was, where nothing has its name now, but what a crash left of having put it back.
    pub fn restore(&self, id: &str) -> Result<Held> {
        let _lock = self.files.lock()?;
        let Entry { held, key } = self.read(id)?;
        let damaged = || QuarantineError::Damaged(id.to_owned());
        let key: [u8; 32] = hex::decode(key)
            .ok()
            .and_then(|key| key.try_into().ok())
            .ok_or_else(damaged)?;
        let folder = Folder::of(&held.path).map_err(disk("open the folder of", &held.path))?;
        let sealed = self.sealed(id);
        let mut from = File::open(&sealed).map_err(disk("open", &sealed))?;
        let put_back = folder.put_back(&held.facts, id, |to| {
            let sha256 = seal::open(&mut from, to, &key)?;
            if sha256 == held.sha256 {
                Ok(())
            } else {
                Err(ErrorKind::InvalidData.into())
            }
        });
        match put_back {
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(damaged()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_back(&folder, &held) => {}
            put_back => put_back.map_err(disk("put back", &held.path))?,
        }
        self.forget(id)?;
        Ok(held)
    }

    /// Destroys what is held.
    pub fn delete(&self, id: &str) -> Result<Held> {
        let _lock = self.files.lock()?;
        let entry = self.read(id)?;
        self.forget(id)?;
        Ok(entry.held)
    }

    /// What was read is what is there: else it is refused.
    fn seal(
        &self,
        folder: &Folder,
        file: &mut File,
        facts: &Facts,
        (id, key): (&str, &[u8; 32]),
    ) -> Result<String> {
        let path = folder.path();
        let sealed = self.sealed(id);
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&sealed)
            .map_err(disk("make", &sealed))?;
        let sha256 = seal::seal(file, &mut to, key, MAX_FILE_BYTES).map_err(disk("seal", path))?;
        to.sync_all().map_err(disk("write", &sealed))?;
        let after = Facts::read(file).map_err(disk("read", path))?;
        if !after.is_same_content(facts) {
            return Err(QuarantineError::Refused {
                path: path.to_owned(),
                why: "somebody wrote to it meanwhile: try again".to_owned(),
            });
        }
        Ok(sha256)
    }

    fn read(&self, id: &str) -> Result<Entry> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unknown = || QuarantineError::Unknown(id.to_owned());
        if !is_id {
            return Err(unknown());
        }
        match self.files.read_file(&entry_name(id)) {
            Ok(entry) => entry.ok_or_else(unknown),
            Err(ContainError::Damaged { .. }) => Err(QuarantineError::Damaged(id.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// The key first.
    fn forget(&self, id: &str) -> Result<()> {
        self.files.remove_file(&entry_name(id))?;
        let sealed = self.sealed(id);
        fs::remove_file(&sealed).map_err(disk("remove", sealed))
    }

    fn sealed(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.sealed"))
    }
}

/// The file is there, as it was.
fn is_back(folder: &Folder, held: &Held) -> bool {
    let same = |file: &mut File| -> io::Result<bool> {
        let Facts {
            bytes,
            uid,
            gid,
            mode,
            ..
        } = Facts::read(file)?;
        let facts = &held.facts;
        let is_alike = (bytes, uid, gid, mode) == (facts.bytes, facts.uid, facts.gid, facts.mode);
        Ok(is_alike && seal::sha256(file)? == held.sha256)
    };
    folder
        .file()
        .and_then(|mut file| same(&mut file))
        .unwrap_or(false)
}

fn entry_name(id: &str) -> String {
    format!("{id}.json")
}

/// Why no such file is taken, whoever's it is.
fn unfit(file: &File, path: &Path) -> io::Result<Option<String>> {
    let is = file.metadata()?;
    Ok(if !path.is_absolute() {
        Some("the path does not begin with a slash".to_owned())
    } else if !is.is_file() {
        Some("it is no regular file".to_owned())
    } else if is.nlink() > 1 {
        let others = is.nlink() - 1;
        Some(format!(
            "{others} more names lead to it (hard links): it would stay in reach"
        ))
    } else if is.len() > MAX_FILE_BYTES {
        Some(format!("{} bytes are more than {MAX_FILE_BYTES}", is.len()))
    } else {
        None
    })
}

fn random<const N: usize>(path: &Path) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let drawn =
        File::open("/dev/urandom").and_then(|mut from| io::Read::read_exact(&mut from, &mut bytes));
    drawn.map_err(disk("draw a key for", path))?;
    Ok(bytes)
}

fn disk(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> QuarantineError {
    let of = ContainError::disk(act, path);
    move |source| of(source).into()
}
