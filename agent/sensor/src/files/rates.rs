//! How much each process changes files: pure counting in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use cordon_behavior::event::FileRates;

use super::budget::Budget;
use super::done::{Above, Done};
use super::gauge::Gauge;
use super::sketch::Sketch;

const SECOND: u64 = 1_000_000_000;
/// Fewer files than this are nothing that is told.
pub(super) const LEAST: u32 = 16;
/// Encrypted files that are told without waiting for more, once a process was told of: who encrypts a tree is to be
/// judged by his twelfth file, not by his forty-eighth. Samples are few a second, so these are too.
const ENCRYPTED: u32 = 4;
/// What a process did not bring up to [`LEAST`] in this time is forgotten.
const FORGET_NS: u64 = 60 * SECOND;
/// Most processes counted at once.
const PROCESSES: usize = 4096;
const ENTRY_BYTES: usize = size_of::<Rate>() + 24;
/// Most samples a second: of one process, and of all.
const SAMPLES: u32 = 20;
const ALL_SAMPLES: u32 = 200;

#[derive(Debug, Default)]
struct Rate {
    rates: FileRates,
    directories: Sketch,
    entropy: f32,
    /// Those above who are counted the same changes for.
    above: Above,
    /// The first change that was not told.
    since_ns: u64,
    last_ns: u64,
    told_ns: u64,
    /// So many files are told before the second is over; doubles while the process goes on.
    threshold: u32,
    budget: Budget,
}

/// The counts of all processes.
///
/// A process that changes many files is told of early: at 16 files, at 32 more, at 64 more and so on
/// while it does not pause for a second, and then at every [`ENCRYPTED`] files found encrypted; else once a second,
/// when it changed at least [`LEAST`].
///
/// A loop has a process for each file, none of which comes to [`LEAST`]: so changes are counted for its maker too. What
/// is told of a process is not told of its maker again; one that comes to be told itself when its maker was told first
/// may have fewer than [`LEAST`] counted twice.
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

    /// Counts one file's changes for a process and those above.
    pub(super) fn count(&mut self, pid: u32, above: Above, now_ns: u64, done: &Done) {
        self.count_for(pid, now_ns, done);
        if let Some(rate) = self.by_pid.get_mut(&pid) {
            rate.above = above;
        }
        self.count_above(above, now_ns, done);
    }

    /// Counts them for those above only.
    pub(super) fn count_above(&mut self, above: Above, now_ns: u64, done: &Done) {
        let [maker, its_maker] = above;
        for (pid, above) in [(maker, [its_maker, 0]), (its_maker, Above::default())] {
            if pid == 0 {
                continue;
            }
            self.count_for(pid, now_ns, done);
            if let Some(rate) = self.by_pid.get_mut(&pid) {
                rate.above = above;
            }
        }
    }

    fn count_for(&mut self, pid: u32, now_ns: u64, done: &Done) {
        let changes = done.changes;
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
        rate.rates.encrypted += u32::from(done.encrypted);
        rate.directories.add(done.dir_hash);
        if let Some(sample) = done.sample {
            rate.rates.samples += 1;
            rate.entropy += sample.entropy;
        }
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
        if !self.by_pid.contains_key(&pid) && !self.has_room(now_ns) {
            return false;
        }
        let rate = self.by_pid.entry(pid).or_default();
        rate.budget.has(now_ns, SAMPLES)
            && self.samples.has(now_ns, ALL_SAMPLES)
            && rate.budget.take()
            && self.samples.take()
    }

    /// What is to be told of this process and those above now.
    pub(super) fn due(&mut self, pid: u32, above: Above, now_ns: u64) -> Vec<(u32, FileRates)> {
        let mut told = Vec::new();
        for pid in [pid].into_iter().chain(above) {
            let rate = self.by_pid.get_mut(&pid);
            if let Some((rates, above)) =
                rate.and_then(|rate| Some((rate.due(now_ns)?, rate.above)))
            {
                self.take_off(above, &rates);
                told.push((pid, rates));
            }
        }
        told
    }

    /// What was told of a process is not told of those above: whoever adds up goes up by himself.
    fn take_off(&mut self, above: Above, told: &FileRates) {
        for pid in above {
            if let Some(rate) = self.by_pid.get_mut(&pid) {
                rate.take_off(told);
            }
        }
    }

    /// What is to be told of any process now that its second is over; forgets those that are idle.
    pub(super) fn sweep(&mut self, now_ns: u64) -> Vec<(u32, FileRates)> {
        let mut told = Vec::new();
        self.by_pid.retain(|pid, rate| {
            if let Some(rates) = rate.due(now_ns) {
                told.push((*pid, rate.above, rates));
            }
            let idle_ns = now_ns.saturating_sub(rate.last_ns);
            idle_ns < SECOND || (rate.files() > 0 && idle_ns < FORGET_NS)
        });
        self.gauge.set(self.by_pid.len());
        for (_, above, rates) in &told {
            self.take_off(*above, rates);
        }
        told.into_iter()
            .map(|(pid, _, rates)| (pid, rates))
            .collect()
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

    fn take_off(&mut self, told: &FileRates) {
        let own = &mut self.rates;
        let samples = told.samples.min(own.samples);
        self.entropy -= told.entropy.unwrap_or_default() * samples as f32;
        for (own, told) in [
            (&mut own.written, told.written),
            (&mut own.created, told.created),
            (&mut own.renamed, told.renamed),
            (&mut own.unlinked, told.unlinked),
            (&mut own.samples, told.samples),
            (&mut own.encrypted, told.encrypted),
        ] {
            *own = own.saturating_sub(told);
        }
    }

    fn due(&mut self, now_ns: u64) -> Option<FileRates> {
        let files = self.files();
        let is_second_over = now_ns.saturating_sub(self.told_ns) >= SECOND;
        let is_early = files >= self.threshold;
        let is_grave = self.threshold > LEAST && self.rates.encrypted >= ENCRYPTED;
        let is_due = files >= LEAST && (is_second_over || is_early);
        if !is_due && !is_grave {
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

#[cfg(test)]
mod tests {
    use super::super::done::Changes;
    use super::super::entropy::Sample;
    use super::*;

    const WRITTEN: Changes = Changes {
        written: true,
        created: false,
        renamed: false,
        unlinked: false,
    };

    fn written(dir_hash: u64) -> Done {
        Done {
            changes: WRITTEN,
            dir_hash,
            ..Done::default()
        }
    }

    /// Of a loop's processes none changes many; of `xargs sh -c` not even their makers do.
    #[test]
    fn a_loop_is_told_of_for_its_processes_and_nobody_twice() {
        let mut rates = Rates::new();
        let mut told = Vec::new();
        for child in 100..140 {
            rates.count(child, [7, 0], SECOND, &written(0));
            told.extend(rates.due(child, [7, 0], SECOND));
            rates.count(child, [child + 1000, 9], SECOND, &written(0));
            told.extend(rates.due(child, [child + 1000, 9], SECOND));
        }
        // One that does all of it itself.
        for _ in 0..20 {
            rates.count(50, [8, 0], SECOND, &written(0));
            told.extend(rates.due(50, [8, 0], SECOND));
        }
        told.extend(rates.sweep(3 * SECOND));
        let sum = |wanted: u32| -> u32 {
            let of = told.iter().filter(|(pid, _)| *pid == wanted);
            of.map(|(_, rates)| rates.written).sum()
        };
        assert_eq!((sum(7), sum(9)), (40, 40));
        assert_eq!((sum(50), sum(8)), (16, 0));
    }

    /// Files told, each with how many had been changed by then.
    fn tell(files: u32, gap_ns: u64) -> Vec<(u32, u32)> {
        let mut rates = Rates::new();
        let mut told = Vec::new();
        for file in 1..=files {
            let now_ns = 10 * SECOND + u64::from(file) * gap_ns;
            rates.count(1, Above::default(), now_ns, &written(file.into()));
            let due = rates.due(1, Above::default(), now_ns);
            told.extend(due.into_iter().map(|(_, rates)| (file, rates.written)));
        }
        told
    }

    #[test]
    fn a_fast_one_is_told_early_and_ever_more_seldom() {
        let told = [16, 32, 64, 128, 256, 512].map(|files| (2 * files - 16, files));
        assert_eq!(tell(2000, 1000), told);
    }

    /// He was told of at his sixteenth file: what he encrypts from then on is not waited for, the few of another are.
    #[test]
    fn who_goes_on_encrypting_is_told_every_few_files() {
        let encrypted = |dir_hash| Done {
            encrypted: true,
            ..written(dir_hash)
        };
        let mut rates = Rates::new();
        let mut told_at = Vec::new();
        for file in 1..=32u64 {
            rates.count(1, Above::default(), 10 * SECOND, &encrypted(file));
            let due = rates.due(1, Above::default(), 10 * SECOND);
            told_at.extend(due.iter().map(|(_, told)| (file, told.encrypted)));
        }
        assert_eq!(told_at, [(16, 16), (20, 4), (24, 4), (28, 4), (32, 4)]);
        for file in 1..=8u64 {
            rates.count(2, Above::default(), 10 * SECOND, &encrypted(file));
        }
        assert_eq!(rates.due(2, Above::default(), 10 * SECOND), []);
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
            rates.count(1, Above::default(), SECOND, &written(file));
            rates.due(1, Above::default(), SECOND);
        }
        rates.count(2, Above::default(), SECOND, &written(0));
        assert_eq!(rates.sweep(2 * SECOND)[0].1.written, 24);
        assert!(rates.sweep(3 * SECOND).is_empty() && !rates.is_empty());
        assert!(rates.sweep(62 * SECOND).is_empty() && rates.is_empty());
    }

    #[test]
    fn samples_and_processes_are_bounded() {
        let mut rates = Rates::new();
        for pid in 0..10_000 {
            rates.count(pid, Above::default(), SECOND, &written(0));
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
            let sample = Sample {
                entropy: if file < 8 { 8.0 } else { 6.0 },
                looks_encrypted: false,
            };
            let done = Done {
                changes: both,
                dir_hash: (file + 1) << 59 | file,
                sample: Some(sample),
                encrypted: file < 8,
            };
            rates.count(1, Above::default(), SECOND, &done);
        }
        let (_, told) = rates.due(1, Above::default(), SECOND).remove(0);
        assert_eq!((told.written, told.renamed, told.samples), (16, 16, 16));
        assert_eq!((told.entropy, told.created), (Some(7.0), 0));
        assert_eq!(told.encrypted, 8);
        assert!((14..=18).contains(&told.directories));
    }
}
