//! What was done to processes.

use cordon_proto::record::StopAct;

use super::{NAME_CHARS, REASON_CHARS, file_name};
use crate::StopFact;
use crate::clean::plain;

const MOST_NAMES: usize = 8;

/// One act, and what came of it.
pub(crate) struct Stopped {
    pub act: StopAct,
    pub count: u64,
    /// Names of the first of them.
    pub names: Vec<String>,
    /// Pid and name.
    pub survivors: Vec<String>,
    /// Each with why.
    pub spared: Vec<(String, String)>,
    pub proved: bool,
    pub micros: Option<u64>,
    pub policy_version: u64,
    pub reason: String,
}

/// The last thing done is this, and it is proved.
pub(super) fn is_last(act: StopAct, stops: &[StopFact]) -> bool {
    let last = stops.iter().max_by_key(|fact| fact.at);
    last.is_some_and(|fact| fact.report.act == act && fact.report.proved)
}

impl Stopped {
    pub(super) fn read(fact: &StopFact) -> Self {
        let report = &fact.report;
        let name = |exe: &str| plain(file_name(exe), NAME_CHARS);
        let mut names: Vec<String> = Vec::new();
        for process in &report.processes {
            let name = name(&process.exe);
            if !name.is_empty() && !names.contains(&name) && names.len() < MOST_NAMES {
                names.push(name);
            }
        }
        let survivors = report.survivors.iter().take(MOST_NAMES);
        let spared = report.spared.iter().take(MOST_NAMES);
        Self {
            act: report.act,
            count: report.count,
            names,
            survivors: survivors
                .map(|one| {
                    format!("{} {}", one.pid, name(&one.exe))
                        .trim_end()
                        .to_owned()
                })
                .collect(),
            spared: spared
                .map(|one| (name(&one.exe), plain(&one.why, NAME_CHARS)))
                .collect(),
            proved: report.proved,
            micros: report.event_to_stop_micros,
            policy_version: report.policy_version,
            reason: plain(&report.reason, REASON_CHARS),
        }
    }
}
