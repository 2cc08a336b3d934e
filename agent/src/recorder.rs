//! What is reported goes to the outbox on a thread of its own; nobody waits for its disk.
//!
//! The detection that leads to an isolation is the one record that must not be lost between the drop and its own
//! `fsync`. Before the drop is asked for, it is written to a journal file without `fsync`, which takes microseconds
//! and outlives `kill -9` of the agent. When the verdict's reasons are found the record goes to the outbox with them,
//! and the journal goes. What a power cut in between may take is the detection's text: the isolation itself, its
//! reason and its tree are on the disk before the drop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use cordon_proto::record::{LossReport, Record, RecordBody};
use cordon_spool::{Class, Gap, Spool, SpoolError};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::durable::{self, DiskError};

const QUEUE: usize = 1024;
const AT_ONCE: usize = 64;
/// How long to wait after a failed write before it is tried again.
const RETRY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_mins(10);
const JOURNAL: &str = "detection.journal";
const MAX_JOURNAL_BYTES: u64 = 4 << 20;
const READ_RECORDS: usize = 256;
const READ_BYTES: usize = 1 << 20;

struct Entry {
    class: Class,
    json: Vec<u8>,
    journaled: bool,
}

enum Item {
    Record(Entry),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// The way to the outbox. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
    journal: Arc<Path>,
}

impl Recorder {
    /// Starts the thread, after taking up what a killed agent left in the journal. `written` is told
    /// after each write. The thread ends when every handle is gone.
    pub fn start(
        spool: Arc<Spool>,
        state_dir: &Path,
        written: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let journal = state_dir.join(JOURNAL);
        take_up_journal(&spool, &journal)?;
        let (queue, entries) = sync_channel(QUEUE);
        let recorder = Self {
            queue,
            lost: Arc::default(),
            journal: journal.clone().into(),
        };
        let writer = Writer {
            spool,
            journal,
            written,
        };
        std::thread::Builder::new()
            .name("cordon-record".to_owned())
            .spawn(move || writer.run(&entries))?;
        Ok(recorder)
    }

    /// Queues a record of now. When the queue is full, because the disk does not take any more, the record is
    /// lost and counted.
    pub fn record(&self, body: RecordBody) {
        let at = Timestamp::now();
        self.record_at(&Record { at, body });
    }

    /// Queues a record of another time.
    pub fn record_at(&self, record: &Record) {
        self.queue(record, false);
    }

    /// Writes a detection to the journal, without waiting for the disk: from now on it outlives the process.
    /// The caller goes on to [`Self::record_journaled`] with the same time and tree.
    pub fn journal(&self, record: &Record) {
        if let Err(error) = durable::replace_unsynced(&self.journal, &to_json(record)) {
            tracing::warn!(error = %crate::chain(&error), "detection is not in the journal");
        }
    }

    /// Queues the detection that is in the journal, which ends when the record is in the outbox.
    pub fn record_journaled(&self, record: &Record) {
        self.queue(record, true);
    }

    /// Records lost since the last call.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn queue(&self, record: &Record, journaled: bool) {
        let entry = Entry {
            class: class_of(&record.body),
            json: to_json(record),
            journaled,
        };
        if self.queue.try_send(Item::Record(entry)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the outbox does not keep up: a record is lost");
        }
    }

    /// Waits until everything queued so far is written, at most for `limit`. Returns whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, is_done) = sync_channel(1);
        self.queue.try_send(Item::Flush(done)).is_ok() && is_done.recv_timeout(limit).is_ok()
    }
}

/// A record's form in the outbox and on the wire.
pub fn to_json(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys only")
}

fn class_of(body: &RecordBody) -> Class {
    match body {
        // Whoever interferes with the agent is part of the story.
        RecordBody::Detection(_)
        | RecordBody::Isolation(_)
        | RecordBody::Stop(_)
        | RecordBody::Receipt(_)
        | RecordBody::Tamper(_) => Class::Evidence,
        RecordBody::Policy(_) => Class::State,
        RecordBody::Loss(_) => Class::Notice,
    }
}

struct Writer {
    spool: Arc<Spool>,
    journal: PathBuf,
    written: Arc<Notify>,
}

impl Writer {
    fn run(&self, items: &Receiver<Item>) {
        self.report_gaps();
        let mut waiting: Vec<Entry> = Vec::new();
        let mut flushes: Vec<SyncSender<()>> = Vec::new();
        loop {
            let limit = if waiting.is_empty() { IDLE } else { RETRY };
            match items.recv_timeout(limit) {
                Ok(item) => sort(item, &mut waiting, &mut flushes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while waiting.len() < AT_ONCE
                && let Ok(item) = items.try_recv()
            {
                sort(item, &mut waiting, &mut flushes);
            }
            self.write(&mut waiting);
            if waiting.is_empty() {
                for done in flushes.drain(..) {
                    if done.try_send(()).is_err() {
                        tracing::debug!("whoever flushed went on without waiting");
                    }
                }
            }
        }
        self.write(&mut waiting);
    }

    /// Leaves in `waiting` what must be tried again.
    fn write(&self, waiting: &mut Vec<Entry>) {
        if waiting.is_empty() {
            return;
        }
        let records: Vec<(Class, &[u8])> = waiting.iter().map(Entry::as_record).collect();
        match self.spool.append_all(&records) {
            Ok(appended) => self.wrote(waiting, appended.dropped),
            Err(SpoolError::TooLarge { .. }) if waiting.len() > 1 => self.one_by_one(waiting),
            Err(error @ SpoolError::TooLarge { .. }) => {
                tracing::error!(error = %crate::chain(&error), "record dropped");
                waiting.clear();
            }
            Err(error) => {
                tracing::error!(error = %crate::chain(&error), "records wait for the disk");
                if waiting.len() >= AT_ONCE {
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn one_by_one(&self, waiting: &mut Vec<Entry>) {
        let mut left = Vec::new();
        for entry in waiting.drain(..) {
            let mut single = vec![entry];
            self.write(&mut single);
            left.append(&mut single);
        }
        *waiting = left;
    }

    fn wrote(&self, waiting: &mut Vec<Entry>, dropped: u64) {
        if waiting.iter().any(|entry| entry.journaled)
            && let Err(error) = durable::remove(&self.journal)
        {
            tracing::warn!(error = %crate::chain(&error), "journal stays");
        }
        waiting.clear();
        if dropped > 0 {
            self.report_gaps();
        }
        self.written.notify_one();
    }

    fn report_gaps(&self) {
        match self.spool.report_gaps(describe) {
            Ok(0) => {}
            Ok(_) => self.written.notify_one(),
            Err(error) => tracing::warn!(error = %crate::chain(&error), "gaps not reported"),
        }
    }
}

impl Entry {
    fn as_record(&self) -> (Class, &[u8]) {
        (self.class, &self.json)
    }
}

fn sort(item: Item, records: &mut Vec<Entry>, flushes: &mut Vec<SyncSender<()>>) {
    match item {
        Item::Record(entry) => records.push(entry),
        Item::Flush(done) => flushes.push(done),
    }
}

fn describe(gap: &Gap) -> Vec<u8> {
    to_json(&Record {
        at: Timestamp::now(),
        body: RecordBody::Loss(LossReport {
            source: "spool".to_owned(),
            count: gap.count(),
            reason: gap.to_string(),
        }),
    })
}

/// Puts the journal's record into the outbox unless it is there already, then removes the journal.
fn take_up_journal(spool: &Spool, journal: &Path) -> anyhow::Result<()> {
    let read: Result<_, DiskError> = durable::read(journal, MAX_JOURNAL_BYTES);
    let Some(json) = read? else {
        return Ok(());
    };
    // A record that is cut short was never acted upon: the drop is asked for after the whole file.
    if let Some(mark) = Mark::of(&json)
        && !is_pending(spool, &mark)?
    {
        spool.append(Class::Evidence, &json)?;
        tracing::info!("took up a detection that a killed agent had not yet put into the outbox");
    }
    Ok(durable::remove(journal)?)
}

/// What a detection has in common with itself once its reasons are found.
#[derive(PartialEq)]
struct Mark {
    at: Timestamp,
    tree: String,
    event_mono_ns: u64,
}

impl Mark {
    fn of(json: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(json).ok()?;
        let RecordBody::Detection(detection) = record.body else {
            return None;
        };
        Some(Self {
            at: record.at,
            tree: detection.tree,
            event_mono_ns: detection.event_mono_ns,
        })
    }
}

fn is_pending(spool: &Spool, mark: &Mark) -> Result<bool, SpoolError> {
    let mut after = None;
    loop {
        let some = spool.pending(after, READ_RECORDS, READ_BYTES)?;
        if some
            .iter()
            .any(|pending| Mark::of(&pending.json).as_ref() == Some(mark))
        {
            return Ok(true);
        }
        match some.last() {
            Some(last) => after = Some(last.position),
            None => return Ok(false),
        }
    }
}
