//! How much each process changes files: pure counting in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use cordon_behavior::event::FileRates;

use super::gauge::Gauge;
use super::sketch::Sketch;

const SECOND: u64 = 1_000_000_000;
/// Fewer files than this are nothing that is told.
pub(super) const LEAST: u32 = 16;
/// What a process did not bring up to [`LEAST`] in this time is forgotten.
const FORGET_NS: u64 = 60 * SECOND;
/// Most processes counted at once.
const PROCESSES: usize = 4096;
const ENTRY_BYTES: usize = size_of::<Rate>() + 24;
/// Most samples a second: of one process, and of all.
const SAMPLES: u32 = 20;
const ALL_SAMPLES: u32 = 200;

/// What was done to one file.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the kernel merges any of them into one event"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub written: bool,
    pub created: bool,
    pub renamed: bool,
    pub unlinked: bool,
}

#[derive(Debug, Default)]
struct Rate {
    rates: FileRates,
    directories: Sketch,
    entropy: f32,
    /// The first change that was not told.
    since_ns: u64,
    last_ns: u64,
    told_ns: u64,
    /// So many files are told before the second is over; doubles while the process goes on.
    threshold: u32,
    budget: Budget,
}

#[derive(Debug, Default)]
struct Budget {
    since_ns: u64,
    used: u32,
}

/// The counts of all processes.
///
/// A process that changes many files is told of early: at 16 files, at 32 more, at 64 more and so on
/// while it does not pause for a second; else once a second, when it changed at least [`LEAST`].
pub(super) struct Rates {
    by_pid: HashMap<u32, Rate>,
    samples: Budget,
    /// Changes not counted for want of room, and when room was last made.
    lost: u64,
    cleared_ns: u64,
    pub gauge: Arc<Gauge>,
}

impl Rates {
    pub(super) fn new() -> Self {
        Self {
            by_pid: HashMap::new(),
            samples: Budget::default(),
            lost: 0,
            cleared_ns: 0,
            gauge: Gauge::new("file rates", ENTRY_BYTES, PROCESSES),
        }
    }

    /// Counts one file's changes, unless there is no room for the process.
    pub(super) fn count(&mut self, pid: u32, now_ns: u64, changes: Changes, dir_hash: u64) {
        if !self.by_pid.contains_key(&pid) && !self.has_room(now_ns) {
            self.lost += 1;
            return;
        }
        let rate = self.by_pid.entry(pid).or_default();
        if now_ns.saturating_sub(rate.last_ns) >= SECOND {
            rate.threshold = LEAST;
        }
        if rate.files() == 0 {
            rate.since_ns = now_ns;
        }
        rate.last_ns = now_ns;
        rate.rates.written += u32::from(changes.written);
        rate.rates.created += u32::from(changes.created);
        rate.rates.renamed += u32::from(changes.renamed);
        rate.rates.unlinked += u32::from(changes.unlinked);
        rate.directories.add(dir_hash);
    }

    /// Those that did little and pause go first, at most ten times a second.
    fn has_room(&mut self, now_ns: u64) -> bool {
        if self.by_pid.len() < PROCESSES {
            return true;
        }
        if now_ns.saturating_sub(self.cleared_ns) >= SECOND / 10 {
            self.cleared_ns = now_ns;
            self.by_pid.retain(|_, rate| {
                rate.files() >= LEAST || now_ns.saturating_sub(rate.last_ns) < SECOND
            });
            self.gauge.evicted((PROCESSES - self.by_pid.len()) as u64);
        }
        self.by_pid.len() < PROCESSES
    }

    /// Changes that were not counted since this was asked.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Whether the content of what this process wrote may be looked at now.
    pub(super) fn may_sample(&mut self, pid: u32, now_ns: u64) -> bool {
        let Some(rate) = self.by_pid.get_mut(&pid) else {
            return false;
        };
        rate.budget.has(now_ns, SAMPLES)
            && self.samples.has(now_ns, ALL_SAMPLES)
            && rate.budget.take()
            && self.samples.take()
    }

    pub(super) fn sampled(&mut self, pid: u32, entropy: f32) {
        if let Some(rate) = self.by_pid.get_mut(&pid) {
            rate.rates.samples += 1;
            rate.entropy += entropy;
        }
    }

    /// What is to be told of this process now.
    pub(super) fn due(&mut self, pid: u32, now_ns: u64) -> Option<FileRates> {
        self.by_pid.get_mut(&pid)?.due(now_ns)
    }

    /// What is to be told of any process now that its second is over; forgets those that are idle.
    pub(super) fn sweep(&mut self, now_ns: u64) -> Vec<(u32, FileRates)> {
        let mut told = Vec::new();
        self.by_pid.retain(|pid, rate| {
            if let Some(rates) = rate.due(now_ns) {
                told.push((*pid, rates));
            }
            let idle_ns = now_ns.saturating_sub(rate.last_ns);
            idle_ns < SECOND || (rate.files() > 0 && idle_ns < FORGET_NS)
        });
        self.gauge.set(self.by_pid.len());
        told
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }
}

impl Rate {
    /// A file that was written and then renamed is one file.
    fn files(&self) -> u32 {
        let rates = &self.rates;
        let made = rates.written.max(rates.created);
        made.max(rates.renamed).max(rates.unlinked)
    }

    fn due(&mut self, now_ns: u64) -> Option<FileRates> {
        let files = self.files();
        let is_second_over = now_ns.saturating_sub(self.told_ns) >= SECOND;
        let is_early = files >= self.threshold;
        if files < LEAST || !(is_second_over || is_early) {
            return None;
        }
        if is_early {
            self.threshold = self.threshold.saturating_mul(2);
        }
        self.told_ns = now_ns;
        let mut rates = std::mem::take(&mut self.rates);
        rates.interval_ns = now_ns.saturating_sub(self.since_ns);
        rates.directories = std::mem::take(&mut self.directories).count();
        let entropy = std::mem::take(&mut self.entropy);
        rates.entropy = (rates.samples > 0).then(|| entropy / rates.samples as f32);
        Some(rates)
    }
}

impl Budget {
    fn has(&mut self, now_ns: u64, most: u32) -> bool {
        if now_ns.saturating_sub(self.since_ns) >= SECOND {
            *self = Self {
                since_ns: now_ns,
                used: 0,
            };
        }
        self.used < most
    }

    fn take(&mut self) -> bool {
        self.used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Changes = Changes {
        written: true,
        created: false,
        renamed: false,
        unlinked: false,
    };

    /// Files told, each with how many had been changed by then.
    fn tell(files: u32, gap_ns: u64) -> Vec<(u32, u32)> {
        let mut rates = Rates::new();
        let mut told = Vec::new();
        for file in 1..=files {
            let now_ns = 10 * SECOND + u64::from(file) * gap_ns;
            rates.count(1, now_ns, WRITTEN, file.into());
            told.extend(rates.due(1, now_ns).map(|rates| (file, rates.written)));
        }
        told
    }

    #[test]
    fn a_fast_one_is_told_early_and_ever_more_seldom() {
        let told = tell(2000, 1000);
        assert_eq!(
            told,
            [
                (16, 16),
                (48, 32),
                (112, 64),
                (240, 128),
                (496, 256),
                (1008, 512)
            ]
        );
    }

    #[test]
    fn one_that_goes_on_is_told_once_a_second() {
        let told = tell(20_000, SECOND / 1000);
        // Six early ones, then one in each second of the twenty.
        assert!((22..=28).contains(&told.len()), "{told:?}");
    }

    #[test]
    fn a_slow_one_is_told_when_it_comes_to_enough() {
        assert_eq!(tell(40, SECOND), [(16, 16), (32, 16)]);
    }

    #[test]
    fn what_is_left_is_told_when_the_second_is_over_and_little_is_forgotten() {
        let mut rates = Rates::new();
        for file in 0..40 {
            rates.count(1, SECOND, WRITTEN, file);
            rates.due(1, SECOND);
        }
        rates.count(2, SECOND, WRITTEN, 0);
        assert_eq!(rates.sweep(2 * SECOND)[0].1.written, 24);
        assert!(rates.sweep(3 * SECOND).is_empty() && !rates.is_empty());
        assert!(rates.sweep(62 * SECOND).is_empty() && rates.is_empty());
    }

    #[test]
    fn samples_and_processes_are_bounded() {
        let mut rates = Rates::new();
        for pid in 0..10_000 {
            rates.count(pid, SECOND, WRITTEN, 0);
        }
        assert_eq!(rates.by_pid.len(), PROCESSES);
        assert_eq!(rates.take_lost(), 10_000 - PROCESSES as u64);
        let of_one = (0..100).filter(|_| rates.may_sample(1, SECOND)).count();
        assert_eq!(of_one, SAMPLES as usize);
        let of_all = (0..PROCESSES as u32).filter(|pid| rates.may_sample(*pid, SECOND));
        assert_eq!(of_all.count(), (ALL_SAMPLES - SAMPLES) as usize);
        assert!(rates.may_sample(1, 2 * SECOND));
    }

    #[test]
    fn entropy_is_the_mean_and_a_rename_after_a_write_the_same_file() {
        let mut rates = Rates::new();
        let both = Changes {
            renamed: true,
            ..WRITTEN
        };
        for file in 0..16u64 {
            let hash = (file + 1) << 59 | file;
            rates.count(1, SECOND, both, hash);
            rates.sampled(1, if file < 8 { 8.0 } else { 6.0 });
        }
        let told = rates.due(1, SECOND).unwrap();
        assert_eq!((told.written, told.renamed, told.samples), (16, 16, 16));
        assert_eq!((told.entropy, told.created), (Some(7.0), 0));
        assert!((14..=18).contains(&told.directories));
    }
}
