//! Counting what is done to files, and telling how much.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use cordon_behavior::event::{EventBody, FileRates};

use super::decode::FileNotice;
use super::done::{Changes, Done};
use super::entropy::{self, Sample};
use super::filesystems::FileSystems;
use super::rates::Rates;
use super::replaced::Replaced;
use super::teller::Teller;
use crate::clock;
use crate::out::Out;

const SECOND: u64 = 1_000_000_000;
/// Who began within this time may be a process for one file himself, of a loop above.
const YOUNG_NS: u64 = SECOND;
/// Most changes of processes that the stream has not told of, and how long they wait for that.
const STRANGERS: usize = 1024;
const WAIT_NS: u64 = 3 * SECOND;

/// What one process did whose maker is not known yet.
struct Stranger {
    pid: u32,
    at_ns: u64,
    done: Done,
}

/// The counts of all processes, and the names that tell what took the place of what.
pub(super) struct Count {
    rates: Rates,
    replaced: Replaced,
    strangers: VecDeque<Stranger>,
    hasher: RandomState,
}

impl Count {
    /// Its caches show among those of `out`.
    pub(super) fn new(out: &Out) -> Self {
        let (rates, replaced) = (Rates::new(), Replaced::new());
        out.register(rates.gauge.clone());
        out.register(replaced.gauge.clone());
        Self {
            rates,
            replaced,
            strangers: VecDeque::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// Counts one notice, and tells what is due. True: a file was encrypted.
    pub(super) fn one(
        &mut self,
        notice: &FileNotice<'_>,
        now_ns: u64,
        systems: &FileSystems,
        teller: &mut Teller,
    ) -> bool {
        let Some(at) = notice.at.filter(|at| systems.of(at.dir).is_some()) else {
            return false;
        };
        let has = |bits| notice.mask & bits != 0;
        let changes = Changes {
            written: has(libc::FAN_CLOSE_WRITE),
            created: has(libc::FAN_CREATE),
            renamed: has(libc::FAN_RENAME),
            unlinked: has(libc::FAN_DELETE),
        };
        if changes == Changes::default() {
            return false;
        }
        let pid = notice.pid;
        if changes.created {
            self.replaced.made(at.dir, at.name);
        }
        let file = notice.file.filter(|_| changes.written);
        let sample = file.and_then(|file| self.sample(pid, file, now_ns, systems));
        let looks_encrypted = sample.is_some_and(|sample| sample.looks_encrypted);
        let is_moved = |replaced: &Replaced| {
            let to = notice.to.filter(|to| to.dir == at.dir);
            to.is_some_and(|to| replaced.renamed(at.dir, at.name, to.name))
        };
        let encrypted = (looks_encrypted && self.replaced.encrypted(at.dir, at.name))
            || (changes.unlinked && self.replaced.removed(at.dir, at.name))
            || (changes.renamed && is_moved(&self.replaced));
        let done = Done {
            changes,
            dir_hash: self.hasher.hash_one(at.dir),
            sample,
            encrypted,
        };
        let makers = teller.makers(pid, YOUNG_NS);
        let above = makers.unwrap_or_default();
        self.rates.count(pid, above, now_ns, &done);
        if makers.is_none() && self.strangers.len() < STRANGERS {
            let at_ns = now_ns;
            self.strangers.push_back(Stranger { pid, at_ns, done });
        }
        tell(self.rates.due(pid, above, now_ns), teller);
        encrypted
    }

    /// Counts for their makers what processes did of which the stream has told since.
    pub(super) fn again(&mut self, now_ns: u64, teller: &mut Teller) {
        for stranger in std::mem::take(&mut self.strangers) {
            match teller.makers(stranger.pid, YOUNG_NS) {
                Some(above) => {
                    self.rates.count_above(above, now_ns, &stranger.done);
                    tell(self.rates.due(stranger.pid, above, now_ns), teller);
                }
                None if now_ns.saturating_sub(stranger.at_ns) < WAIT_NS => {
                    self.strangers.push_back(stranger);
                }
                None => {}
            }
        }
    }

    /// Once a second: what is left to tell of anybody.
    pub(super) fn tell_all(&mut self, teller: &mut Teller) {
        let now_ns = clock::mono_ns();
        self.again(now_ns, teller);
        teller.loss("fanotify/rates", self.rates.take_lost());
        tell(self.rates.sweep(now_ns), teller);
        self.replaced.tell_usage();
    }

    fn sample(
        &mut self,
        pid: u32,
        file: &[u8],
        now_ns: u64,
        systems: &FileSystems,
    ) -> Option<Sample> {
        let opens = systems.of(file).is_some_and(|system| system.opens);
        if !opens || !self.rates.may_sample(pid, now_ns) {
            return None;
        }
        let root = systems.open(file)?;
        // Gone by now, often: then there is nothing to say.
        entropy::sample(&root, file).ok().flatten()
    }
}

fn tell(due: Vec<(u32, FileRates)>, teller: &mut Teller) {
    for (pid, rates) in due {
        teller.body(pid, EventBody::FileRates(Box::new(rates)));
    }
}
