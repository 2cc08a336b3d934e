//! Evidence on its way to the outbox, where `kill -9` does not reach it.
//!
//! A line a record, appended without `fsync`: that takes microseconds, and outlives the process. When everything that
//! was written here is in the outbox the file is emptied.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cordon_proto::record::{Record, RecordBody};
use cordon_spool::{Class, Spool, SpoolError};
use jiff::Timestamp;

use super::class_of;
use crate::durable::{self, DiskError};

/// What does not fit any more goes to the outbox without having been here.
const MAX_BYTES: u64 = 16 << 20;
const READ_RECORDS: usize = 256;
const READ_BYTES: usize = 1 << 20;

/// The file.
pub(super) struct Journal {
    path: PathBuf,
    lines: Mutex<Lines>,
}

struct Lines {
    file: File,
    bytes: u64,
    /// Records that were given and are not in the outbox.
    open: usize,
}

impl Journal {
    /// Puts what a killed agent left into the outbox unless it is there already, and begins anew.
    pub(super) fn open(path: PathBuf, spool: &Spool) -> anyhow::Result<Self> {
        // Twice as much as is ever written; more is not ours.
        if let Some(left) = durable::read(&path, 2 * MAX_BYTES)? {
            take_up(spool, &left)?;
        }
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(DiskError::of("open", &path))?;
        file.set_len(0).map_err(DiskError::of("empty", &path))?;
        let lines = Mutex::new(Lines {
            file,
            bytes: 0,
            open: 0,
        });
        Ok(Self { path, lines })
    }

    /// Writes a record down; [`Self::kept`] follows for each that was given, written or not.
    pub(super) fn add(&self, json: &[u8]) {
        self.write(json, 1);
    }

    /// Writes down a later form of a record that was given and is not in the outbox.
    pub(super) fn add_again(&self, json: &[u8]) {
        self.write(json, 0);
    }

    fn write(&self, json: &[u8], given: usize) {
        let mut lines = self.lines();
        lines.open += given;
        let line = [json, b"\n"].concat();
        if lines.bytes + line.len() as u64 > MAX_BYTES {
            return tracing::warn!("the journal is full: a record waits for the outbox without it");
        }
        if let Err(error) = lines.file.write_all(&line) {
            let error = DiskError::of("write", &self.path)(error);
            tracing::warn!(error = %crate::chain(&error), "a record is not in the journal");
            // Else the next line would begin in the middle of this one.
            let cut = lines.file.set_len(lines.bytes);
            return cut.unwrap_or_else(|error| tracing::warn!(%error, "nor is the next one"));
        }
        lines.bytes += line.len() as u64;
    }

    /// So many of the records given are in the outbox, or given up.
    pub(super) fn kept(&self, records: usize) {
        let mut lines = self.lines();
        lines.open = lines.open.saturating_sub(records);
        if lines.open > 0 || lines.bytes == 0 {
            return;
        }
        match lines.file.set_len(0) {
            Ok(()) => lines.bytes = 0,
            Err(error) => {
                let error = DiskError::of("empty", &self.path)(error);
                tracing::warn!(error = %crate::chain(&error), "the journal stays");
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a record this one: of a detection not its reasons, which are found later.
#[derive(PartialEq, Eq, Hash)]
enum Mark {
    Detection {
        at: Timestamp,
        tree: String,
        event_mono_ns: u64,
    },
    Whole(Vec<u8>),
}

/// `None`: cut short, or overtaken by a power cut.
fn read(json: &[u8]) -> Option<(Class, Mark)> {
    let record: Record = serde_json::from_slice(json).ok()?;
    let class = class_of(&record.body);
    let mark = match record.body {
        RecordBody::Detection(detection) => Mark::Detection {
            at: record.at,
            tree: detection.tree,
            event_mono_ns: detection.event_mono_ns,
        },
        _ => Mark::Whole(json.to_owned()),
    };
    Some((class, mark))
}

fn take_up(spool: &Spool, left: &[u8]) -> Result<(), SpoolError> {
    let lines = left.split(|byte| *byte == b'\n').enumerate();
    // A line that is cut short was never acted upon: what it tells of is done after the whole line.
    let mut found: HashMap<Mark, (usize, &[u8], Class)> = HashMap::new();
    for (index, line) in lines {
        if let Some((class, mark)) = read(line) {
            found.entry(mark).or_insert((index, line, class)).1 = line;
        }
    }
    let mut after = None;
    while !found.is_empty() {
        let some = spool.pending(after, READ_RECORDS, READ_BYTES)?;
        let Some(last) = some.last() else {
            break;
        };
        after = Some(last.position);
        for (_, there) in some.iter().filter_map(|pending| read(&pending.json)) {
            found.remove(&there);
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_unstable_by_key(|(index, ..)| *index);
    for (_, line, class) in found {
        spool.append(class, line)?;
        tracing::info!("took up a record that a killed agent had not yet put into the outbox");
    }
    Ok(())
}

/// Where it lies.
pub(super) fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join("evidence.journal")
}
