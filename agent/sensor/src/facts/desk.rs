//! Between the events' way and the loader: questions one way, answers the other, neither waiting.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_behavior::event::{Container, FileIdentity, ProcessKey};

use super::containers::Place;
use super::packages::Index;
use crate::CacheUse;

/// Most questions and most answers that wait.
const WAITING: usize = 4096;
/// Most answers that one event takes in.
pub(super) const AT_ONCE: usize = 64;
/// An upper estimate of a question with its path.
const ASK_BYTES: usize = size_of::<Ask>() + 256;

/// What the loader is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// The image of the container that this cgroup is of.
    Image(u64, Arc<Container>),
    /// Which container this cgroup is of: this process is in it.
    Cgroup(u64, ProcessKey),
    /// Which container this process is in.
    Process(ProcessKey),
    /// Whether this host has the same file at this path.
    Same {
        print: u64,
        path: String,
        identity: FileIdentity,
    },
}

/// What the loader answers.
#[derive(Debug)]
pub(super) enum News {
    /// The package databases, as they are now.
    Packages(Arc<Index>),
    /// Where a cgroup belongs; nothing when that could not be found out.
    Cgroup(u64, Option<Place>),
    /// Which container a process is in.
    Process(ProcessKey, Option<Arc<Container>>),
    /// The image with this fingerprint is this host's.
    Same(u64),
}

pub(super) struct Desk {
    asks: Mutex<VecDeque<Ask>>,
    news: Mutex<VecDeque<News>>,
    has_news: AtomicBool,
    /// The databases changed since the index was made.
    stale: AtomicBool,
    wake: PipeWriter,
    is_woken: AtomicBool,
    refused: AtomicU64,
}

impl Desk {
    /// The desk, and what is readable when somebody asks.
    pub(super) fn new() -> io::Result<(Self, PipeReader)> {
        let (woken, wake) = io::pipe()?;
        let desk = Self {
            asks: Mutex::default(),
            news: Mutex::default(),
            has_news: AtomicBool::new(false),
            stale: AtomicBool::new(true),
            wake,
            is_woken: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        };
        Ok((desk, woken))
    }

    /// Puts a question; one too many is counted and not answered.
    pub(super) fn ask(&self, ask: Ask) {
        if !push(&self.asks, ask) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // At most one byte is in the pipe, so this never waits.
        if !self.is_woken.swap(true, Ordering::AcqRel)
            && let Err(error) = (&self.wake).write_all(&[1])
        {
            tracing::error!(%error, "cannot wake the thread that looks facts up");
        }
    }

    /// All questions, once the pipe was readable.
    pub(super) fn asked(&self, mut woken: &PipeReader) -> VecDeque<Ask> {
        if self.is_woken.load(Ordering::Acquire) {
            let read = woken.read(&mut [0; 1]);
            tracing::trace!(?read, "woken by a question");
            self.is_woken.store(false, Ordering::Release);
        }
        std::mem::take(&mut lock(&self.asks))
    }

    pub(super) fn tell(&self, news: News) {
        if !push(&self.news, news) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.has_news.store(true, Ordering::Release);
    }

    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// The oldest answers.
    pub(super) fn news(&self) -> Vec<News> {
        let mut news = lock(&self.news);
        let some = news.len().min(AT_ONCE);
        let taken = news.drain(..some).collect();
        self.has_news.store(!news.is_empty(), Ordering::Release);
        taken
    }

    /// Whether the databases may be newer than the index. To be asked before the news are taken.
    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    pub(super) fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Release);
    }

    pub(super) fn usage(&self) -> CacheUse {
        let waiting = lock(&self.asks).len() + lock(&self.news).len();
        CacheUse {
            name: "facts_asked",
            bytes: (waiting * ASK_BYTES) as u64,
            limit_bytes: (2 * WAITING * ASK_BYTES) as u64,
            entries: waiting as u64,
            evicted: self.refused.load(Ordering::Relaxed),
        }
    }
}

fn push<T>(queue: &Mutex<VecDeque<T>>, one: T) -> bool {
    let mut queue = lock(queue);
    let has_room = queue.len() < WAITING;
    if has_room {
        queue.push_back(one);
    }
    has_room
}

fn lock<T>(queue: &Mutex<VecDeque<T>>) -> MutexGuard<'_, VecDeque<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
