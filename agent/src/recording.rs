//! Files of JSON lines, compressed, rotated by size.
//!
//! What is flushed is one whole zstd frame, written at once: a file is good zstd up to its last flush, however the process
//! ends. Files are named by the time at which they were begun, so that their names' order is theirs.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use zstd::bulk::Compressor;

use crate::durable::{self, DiskError};

/// Lines are held back until there are this many bytes of them, or until [`Recording::flush`].
const FRAME_BYTES: usize = 256 * 1024;
const LEVEL: i32 = 3;
const ENDING: &str = ".jsonl.zst";
const STICKY: u32 = 0o1000;
/// As finely as names tell the time.
const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);
const WRITABLE_BY_ALL: u32 = 0o002;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// A file that has this many bytes is followed by another; it has at most one flush more.
    pub file_bytes: u64,
    /// Files of this kind kept in the folder, at least one; the oldest go first.
    pub files: usize,
}

/// Why a recording cannot be begun or goes no further.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file or the folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Anybody could put files in the way of the recording, or take it away.
    #[error("refused to record into {path}: anybody may write there; give a folder of your own, or `chmod o-w` it", path = path.display())]
    OpenToAll {
        /// The folder.
        path: PathBuf,
    },
    /// Not a folder.
    #[error("cannot record into {path}: it is not a folder", path = path.display())]
    NoFolder {
        /// What was given.
        path: PathBuf,
    },
    /// The compressor did not take the lines.
    #[error("cannot compress a recording")]
    Compress(#[source] io::Error),
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Lines, those that wait for a flush included.
    pub lines: u64,
    /// Files begun.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// A recording that is being written.
pub struct Recording {
    folder: PathBuf,
    kind: &'static str,
    keep: Keep,
    current: Option<Current>,
    /// When the newest file was begun.
    begun: Timestamp,
    waiting: Vec<u8>,
    compressor: Compressor<'static>,
    written: Written,
}

struct Current {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Recording {
    /// Begins one of `kind` (`stories`, `events`) in a folder, which is made when it is missing. The first file is made with
    /// the first flush.
    pub fn begin(folder: &Path, kind: &'static str, keep: Keep) -> Result<Self, RecordingError> {
        durable::make_folder(folder)?;
        let meta = fs::metadata(folder).map_err(DiskError::of("read", folder))?;
        let path = folder.to_owned();
        if !meta.is_dir() {
            return Err(RecordingError::NoFolder { path });
        }
        let mode = meta.permissions().mode();
        if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 {
            return Err(RecordingError::OpenToAll { path });
        }
        let mut compressor = Compressor::new(LEVEL).map_err(RecordingError::Compress)?;
        compressor
            .include_checksum(true)
            .map_err(RecordingError::Compress)?;
        Ok(Self {
            folder: path,
            kind,
            keep,
            current: None,
            begun: Timestamp::UNIX_EPOCH,
            waiting: Vec::with_capacity(FRAME_BYTES),
            compressor,
            written: Written::default(),
        })
    }

    /// Adds a line.
    pub fn line(&mut self, object: &impl Serialize, now: Timestamp) -> Result<(), RecordingError> {
        let written = serde_json::to_writer(&mut self.waiting, object);
        written.map_err(|error| RecordingError::Compress(error.into()))?;
        self.waiting.push(b'\n');
        self.written.lines += 1;
        if self.waiting.len() >= FRAME_BYTES {
            return self.flush(now);
        }
        Ok(())
    }

    /// Writes what waits. When the disk does not take it, the file ends as it was before.
    pub fn flush(&mut self, now: Timestamp) -> Result<(), RecordingError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let frame = self.compressor.compress(&self.waiting);
        let frame = frame.map_err(RecordingError::Compress)?;
        let (file_bytes, files) = (self.keep.file_bytes, self.keep.files);
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.bytes >= file_bytes)
        {
            self.end_file()?;
        }
        if self.current.is_none() {
            self.current = Some(self.next_file(now)?);
            self.written.files += 1;
            self.prune(files)?;
        }
        if let Some(current) = &mut self.current {
            current.append(&frame)?;
            self.written.bytes += frame.len() as u64;
        }
        self.waiting.clear();
        Ok(())
    }

    /// Writes what waits, and answers how much there is now.
    pub fn end(mut self, now: Timestamp) -> Result<Written, RecordingError> {
        self.flush(now)?;
        self.end_file()?;
        Ok(self.written)
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        self.written
    }

    fn end_file(&mut self) -> Result<(), RecordingError> {
        if let Some(current) = self.current.take() {
            let synced = current.file.sync_all();
            synced.map_err(DiskError::of("write", &current.path))?;
        }
        Ok(())
    }

    /// Readable by its owner only; never one that was there before.
    fn next_file(&mut self, now: Timestamp) -> Result<Current, RecordingError> {
        let mut time = now.max(self.begun + MICROSECOND);
        loop {
            self.begun = time;
            let stamp = time.strftime("%Y%m%dT%H%M%S%.6fZ");
            let path = self.folder.join(format!("{}-{stamp}{ENDING}", self.kind));
            let mut options = OpenOptions::new();
            let opened = options.create_new(true).write(true).mode(0o600).open(&path);
            match opened {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    time += MICROSECOND;
                }
                opened => {
                    let file = opened.map_err(DiskError::of("create", &path))?;
                    let bytes = 0;
                    return Ok(Current { path, file, bytes });
                }
            }
        }
    }

    /// Removes the oldest files of this kind until there are `most`.
    fn prune(&self, most: usize) -> Result<(), RecordingError> {
        let entries = fs::read_dir(&self.folder).map_err(DiskError::of("read", &self.folder))?;
        let head = format!("{}-", self.kind);
        // Whatever its name says: a clock that was set back makes it look old.
        let current = self
            .current
            .as_ref()
            .and_then(|current| current.path.file_name());
        let is_ours = |name: &str| {
            name.starts_with(&head) && name.ends_with(ENDING) && Some(OsStr::new(name)) != current
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_ours(name))
            .collect();
        names.sort_unstable();
        let surplus = (names.len() + 1).saturating_sub(most.max(1));
        for name in names.iter().take(surplus) {
            durable::remove(&self.folder.join(name))?;
        }
        Ok(())
    }
}

impl Current {
    fn append(&mut self, frame: &[u8]) -> Result<(), DiskError> {
        if let Err(error) = self.file.write_all(frame) {
            // Half a frame would make the file look damaged.
            if self.file.set_len(self.bytes).is_err() {
                tracing::warn!(path = %self.path.display(), "the recording ends in half a frame");
            }
            return Err(DiskError::of("write", &self.path)(error));
        }
        self.bytes += frame.len() as u64;
        Ok(())
    }
}
