//! What is reported goes to the outbox on a thread of its own; nobody waits for its disk.
//!
//! Evidence outlives `kill -9` of the agent from the moment that it is recorded: it is written to a [`journal`] without
//! `fsync` first. The detection that leads to an isolation is there before the drop is asked for, and goes to the
//! outbox when the verdict's reasons are found. What a power cut may take is what was recorded in its last
//! moments: the isolation itself, its reason and its tree are on the disk before the drop.

mod journal;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cordon_proto::record::{LossReport, Record, RecordBody};
use cordon_spool::{Class, Gap, Spool, SpoolError};
use jiff::Timestamp;
use journal::Journal;
use tokio::sync::Notify;

const QUEUE: usize = 1024;
const AT_ONCE: usize = 64;
/// How long to wait after a failed write before it is tried again.
const RETRY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_mins(10);

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
    journal: Arc<Journal>,
    trouble: Arc<Trouble>,
}

/// Why records wait for the disk; `None` while they do not.
#[derive(Default)]
struct Trouble(Mutex<Option<String>>);

impl Trouble {
    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

impl Recorder {
    /// Starts the thread, after taking up what a killed agent left in the journal. `written` is told
    /// after each write. The thread ends when every handle is gone.
    pub fn start(
        spool: Arc<Spool>,
        state_dir: &Path,
        written: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let journal = Arc::new(Journal::open(journal::path_in(state_dir), &spool)?);
        let (queue, entries) = sync_channel(QUEUE);
        let recorder = Self {
            queue,
            lost: Arc::default(),
            journal: Arc::clone(&journal),
            trouble: Arc::default(),
        };
        let writer = Writer {
            spool,
            journal,
            written,
            trouble: Arc::clone(&recorder.trouble),
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

    /// Queues a record of now that the caller keeps when there is no room for it; false: there was none.
    pub fn offer(&self, body: RecordBody) -> bool {
        let at = Timestamp::now();
        let class = class_of(&body);
        let entry = Entry {
            class,
            json: to_json(&Record { at, body }),
            journaled: false,
        };
        self.queue.try_send(Item::Record(entry)).is_ok()
    }

    /// Queues a record of another time.
    pub fn record_at(&self, record: &Record) {
        let json = to_json(record);
        let journaled = class_of(&record.body) == Class::Evidence;
        if journaled {
            self.journal.add(&json);
        }
        self.queue(class_of(&record.body), json, journaled);
    }

    /// Writes a detection to the journal, without waiting for the disk: from now on it outlives the process.
    /// The caller goes on to [`Self::record_journaled`] with the same time and tree.
    pub fn journal(&self, record: &Record) {
        self.journal.add(&to_json(record));
    }

    /// Writes what became of a detection that is in the journal: of the two lines the later one counts.
    pub fn journal_again(&self, record: &Record) {
        self.journal.add_again(&to_json(record));
    }

    /// Queues a record that is in the journal already.
    pub fn record_journaled(&self, record: &Record) {
        self.queue(class_of(&record.body), to_json(record), true);
    }

    /// Records lost since the last call.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// What keeps records from the disk, with its remedy; `None`: nothing.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.0.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn queue(&self, class: Class, json: Vec<u8>, journaled: bool) {
        let entry = Entry {
            class,
            json,
            journaled,
        };
        if self.queue.try_send(Item::Record(entry)).is_err() {
            self.journal.kept(usize::from(journaled));
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
        | RecordBody::Block(_)
        | RecordBody::Quarantine(_)
        | RecordBody::Approval(_)
        | RecordBody::Receipt(_)
        | RecordBody::Tamper(_)
        | RecordBody::Agent(_) => Class::Evidence,
        RecordBody::Policy(_) => Class::State,
        RecordBody::Loss(_) => Class::Notice,
    }
}

struct Writer {
    spool: Arc<Spool>,
    journal: Arc<Journal>,
    written: Arc<Notify>,
    trouble: Arc<Trouble>,
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
                self.take_from_journal(waiting);
            }
            Err(error) => {
                let why = crate::chain(&error);
                tracing::error!(%why, "records wait for the disk");
                self.trouble
                    .set(Some(format!("records wait for the disk: {why}")));
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
        self.trouble.set(None);
        self.take_from_journal(waiting);
        if dropped > 0 {
            self.report_gaps();
        }
        self.written.notify_one();
    }

    fn take_from_journal(&self, done: &mut Vec<Entry>) {
        let journaled = done.drain(..).filter(|entry| entry.journaled).count();
        self.journal.kept(journaled);
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
