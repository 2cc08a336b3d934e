//! The outbox as the agent uses it: one lock, one writer, one store that is opened anew after a
//! failure.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::SpoolError;
use crate::opening::{Home, Opened};
use crate::record::{Appended, Class, Gap, Pending, Position, Stats};
use crate::store::{self, Store};

/// How large an outbox may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most bytes of pending records, counted by [`Stats::cost`]. The file may be up to three times
    /// as large: the store writes anew before it frees the old, and grows in steps.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The outbox. Share it by `Arc`; every method may be called from any thread and may block on the
/// disk. `fsync` is waited for by everything that changes it.
pub struct Spool {
    home: Home,
    options: Options,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` after a failure: the store refuses to go on behind one, so it is opened anew.
    store: Option<Store>,
    stats: Stats,
    opened: Opened,
}

impl Spool {
    /// Opens the outbox in `dir`, which is made (mode 0700) where it is missing.
    ///
    /// `boot_id` is `/proc/sys/kernel/random/boot_id`: records are numbered within it. A damaged
    /// database is set aside and replaced ([`Spool::opened`]); a directory that is open already,
    /// here or in another process, is [`SpoolError::InUse`].
    pub fn open(dir: &Path, boot_id: &str, options: Options) -> Result<Self, SpoolError> {
        let home = Home::claim(dir, boot_id)?;
        let (store, stats, opened) = home.open()?;
        let inner = Inner {
            store: Some(store),
            stats,
            opened,
        };
        Ok(Self {
            home,
            options,
            inner: Mutex::new(inner),
        })
    }

    /// What was found when the database was last opened.
    pub fn opened(&self) -> Opened {
        self.locked().opened.clone()
    }

    /// The boot whose records are appended.
    pub fn boot_id(&self) -> &str {
        &self.home.boot_id
    }

    /// The database.
    pub fn path(&self) -> PathBuf {
        self.home.database.clone()
    }

    /// Appends one record: [`Spool::append_all`].
    pub fn append(&self, class: Class, json: &[u8]) -> Result<Appended, SpoolError> {
        self.append_all(&[(class, json)])
    }

    /// Appends records in one transaction. They are on the disk when it returns.
    ///
    /// Their sequences follow one another, are greater than any before in this boot, and are never
    /// used again. Over quota the least important class goes first, oldest first: that may be a
    /// record of this very call, which [`Appended::dropped`] then counts. A record that could
    /// never fit is [`SpoolError::TooLarge`], and nothing of the call is kept. Without records nothing
    /// happens, and [`Appended::last`] is one below [`Appended::first`].
    pub fn append_all(&self, records: &[(Class, &[u8])]) -> Result<Appended, SpoolError> {
        for (_, json) in records {
            self.check_size(json)?;
        }
        let quota = self.options.max_bytes;
        self.with("append to", |store, stats| {
            store.append(records, stats, quota)
        })
    }

    /// Records behind `after`, oldest boot first, in the order of their sequences.
    ///
    /// At most `max_records` and about `max_bytes` of text; one record is given even when it alone
    /// is larger, so that it can leave.
    pub fn pending(
        &self,
        after: Option<Position>,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, SpoolError> {
        self.with("read", |store, _| {
            store.pending(after, max_records, max_bytes)
        })
    }

    /// Removes what the controller has committed: the records of `boot_id` in the inclusive
    /// `ranges`. Returns how many there were.
    ///
    /// Unknown boots, empty and overlapping ranges remove nothing twice; the work is that of the
    /// records that are there, however far a range reaches.
    pub fn acknowledge(&self, boot_id: &str, ranges: &[(u64, u64)]) -> Result<u64, SpoolError> {
        let ranges = store::merged(ranges);
        let mut removed = 0;
        loop {
            let some = self.with("acknowledge in", |store, stats| {
                store.acknowledge(boot_id, &ranges, stats)
            })?;
            removed += some;
            if some < store::AT_ONCE {
                return Ok(removed);
            }
        }
    }

    /// The holes that were not reported yet.
    pub fn gaps(&self) -> Result<Vec<Gap>, SpoolError> {
        self.with("read the gaps of", |store, _| store.gaps())
    }

    /// Turns every hole into a record, by one transaction: it is either a gap or a record of class
    /// [`Class::Evidence`], never neither. `describe` writes the record. Returns how many there were.
    pub fn report_gaps(&self, describe: impl Fn(&Gap) -> Vec<u8>) -> Result<usize, SpoolError> {
        let quota = self.options.max_bytes;
        self.with("append to", |store, stats| {
            let reports: Vec<_> = store.gaps()?.iter().map(&describe).collect();
            if let Some(refused) = reports
                .iter()
                .find_map(|report| self.check_size(report).err())
            {
                return Ok(Err(refused));
            }
            if !reports.is_empty() {
                store.report(&reports, stats, quota)?;
            }
            Ok(Ok(reports.len()))
        })?
    }

    /// What is in it now.
    pub fn stats(&self) -> Stats {
        self.locked().stats
    }

    fn check_size(&self, json: &[u8]) -> Result<(), SpoolError> {
        let (bytes, quota) = (Stats::cost(json.len() as u64), self.options.max_bytes);
        if bytes > quota {
            return Err(SpoolError::TooLarge { bytes, quota });
        }
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves `stats` of the last commit, or no store: both are sound.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the store. After a failure the store is given up: behind an I/O error it
    /// answers nothing any more, and what it holds in memory is not to be trusted.
    fn with<T>(
        &self,
        act: &'static str,
        work: impl FnOnce(&Store, &mut Stats) -> Result<T, redb::Error>,
    ) -> Result<T, SpoolError> {
        let mut inner = self.locked();
        let (store, mut stats) = match inner.store.take() {
            Some(store) => (store, inner.stats),
            None => self.reopen(&mut inner)?,
        };
        let result = work(&store, &mut stats)
            .map_err(|error| SpoolError::store(act, &self.home.database, error))?;
        inner.store = Some(store);
        inner.stats = stats;
        Ok(result)
    }

    fn reopen(&self, inner: &mut Inner) -> Result<(Store, Stats), SpoolError> {
        let (store, stats, opened) = self.home.open()?;
        inner.opened = opened;
        Ok((store, stats))
    }
}
