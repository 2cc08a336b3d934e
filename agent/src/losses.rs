//! What is known to be missing, counted until it is reported.

use std::collections::BTreeMap;

use cordon_proto::record::LossReport;

/// Sources kept apart; what comes from yet another one is counted under `other`.
const SOURCES: usize = 32;

/// Losses since the last report, by source and reason.
#[derive(Debug, Default)]
pub struct Losses {
    counts: BTreeMap<(String, String), u64>,
}

impl Losses {
    /// Counts `count` of `source`.
    pub fn add(&mut self, source: &str, reason: &str, count: u64) {
        if count == 0 {
            return;
        }
        let mut key = (source.to_owned(), reason.to_owned());
        if self.counts.len() >= SOURCES && !self.counts.contains_key(&key) {
            key = (
                "other".to_owned(),
                "more sources than are kept apart".to_owned(),
            );
        }
        *self.counts.entry(key).or_default() += count;
    }

    /// Counts what could not be reported once more.
    pub fn put_back(&mut self, report: &LossReport) {
        self.add(&report.source, &report.reason, report.count);
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> Vec<LossReport> {
        let counts = std::mem::take(&mut self.counts);
        let report = |((source, reason), count)| LossReport {
            source,
            count,
            reason,
        };
        counts.into_iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_one_source_are_one_report_and_are_told_once() {
        let mut losses = Losses::default();
        losses.add("ring:exec", "ring full", 3);
        losses.add("ring:exec", "ring full", 4);
        losses.add("judge", "queue full", 0);
        let told = losses.take();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].source.as_str(), told[0].count), ("ring:exec", 7));
        assert!(losses.take().is_empty());
    }

    #[test]
    fn what_could_not_be_told_is_told_with_the_next() {
        let mut losses = Losses::default();
        losses.add("spool", "the disk did not keep up", 500);
        for report in losses.take() {
            losses.put_back(&report);
        }
        losses.add("spool", "the disk did not keep up", 1);
        let told = losses.take();
        assert_eq!((told.len(), told[0].count), (1, 501));
    }

    #[test]
    fn endless_sources_are_counted_and_not_kept() {
        let mut losses = Losses::default();
        for n in 0..1000 {
            losses.add(&format!("ring:{n}"), "ring full", 1);
        }
        let told = losses.take();
        assert!(told.len() <= SOURCES + 1);
        assert_eq!(told.iter().map(|report| report.count).sum::<u64>(), 1000);
    }
}
