//! How fast files are changed: by a process, and by its tree through it.

use crate::event::FileRates;

/// Fewer changes than this are no reason to judge again, whatever their rate. The sensor first reports a process after
/// 16 files; who replaces files makes two changes of each, and is to be judged then, not a report later.
const LEAST_CHANGES: u64 = 30;
/// Nor are slower ones, changes a second.
const LEAST_RATE: f32 = 10.0;
const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// The sum of a process's and its descendants' reports.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    pub written: u64,
    pub created: u64,
    pub renamed: u64,
    pub unlinked: u64,
    /// The most in one report.
    pub directories: u16,
    /// Most changes in one second.
    pub per_second: f32,
    entropies: f64,
    samples: u64,
    /// The newest second, and the changes in it.
    second: u64,
    in_second: f32,
    /// Most files encrypted in one minute.
    pub encrypted: u64,
    /// The newest minute, and the files encrypted in it.
    minute: u64,
    in_minute: u64,
    /// Files encrypted when it was last a reason to judge.
    told_encrypted: u64,
    /// Changes when it was last a reason to judge.
    told: u64,
}

impl Rates {
    /// Takes in what one process reported at `mono_ns`.
    pub(crate) fn add(&mut self, mono_ns: u64, report: &FileRates) {
        let add = |sum: &mut u64, more: u32| *sum = sum.saturating_add(u64::from(more));
        add(&mut self.written, report.written);
        add(&mut self.created, report.created);
        add(&mut self.renamed, report.renamed);
        add(&mut self.unlinked, report.unlinked);
        self.directories = self.directories.max(report.directories);
        let entropy = report
            .entropy
            .filter(|entropy| (0.0..=8.0).contains(entropy));
        if let Some(entropy) = entropy {
            let samples = report.samples.max(1);
            self.entropies += f64::from(entropy) * f64::from(samples);
            self.samples += u64::from(samples);
        }
        let minute = mono_ns / MINUTE_NS;
        if minute > self.minute {
            (self.minute, self.in_minute) = (minute, 0);
        }
        add(&mut self.in_minute, report.encrypted);
        self.encrypted = self.encrypted.max(self.in_minute);
        self.meter(mono_ns, report);
    }

    /// A report of less than a second counts as one of a second: three files in 5 ms are no storm.
    fn meter(&mut self, mono_ns: u64, report: &FileRates) {
        let changes =
            u64::from(report.written) + u64::from(report.renamed) + u64::from(report.unlinked);
        let seconds = report.interval_ns.max(SECOND_NS) as f64 / SECOND_NS as f64;
        let rate = (changes as f64 / seconds) as f32;
        let second = mono_ns / SECOND_NS;
        if second > self.second {
            (self.second, self.in_second) = (second, 0.0);
        }
        let in_second = if second == self.second {
            self.in_second += rate;
            self.in_second
        } else {
            rate
        };
        self.per_second = self.per_second.max(in_second);
    }

    /// Nothing was reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes() == 0 && self.created == 0
    }

    /// Mean of all samples, bits a byte.
    pub(crate) fn entropy(&self) -> Option<f32> {
        (self.samples > 0).then(|| (self.entropies / self.samples as f64) as f32)
    }

    /// True once the changes pass the floor, and each time that they have doubled since; also whenever more files were
    /// encrypted than ever in a minute, however slowly.
    pub(crate) fn grew(&mut self) -> bool {
        if self.encrypted > self.told_encrypted {
            self.told_encrypted = self.encrypted;
            return true;
        }
        let changes = self.changes();
        let is_much = changes >= LEAST_CHANGES && self.per_second >= LEAST_RATE;
        if !is_much || changes / 2 < self.told {
            return false;
        }
        self.told = changes;
        true
    }

    fn changes(&self) -> u64 {
        let sum = self.written.saturating_add(self.renamed);
        sum.saturating_add(self.unlinked)
    }
}
