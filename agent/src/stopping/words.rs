//! What is told of what was done to processes.

use cordon_contain::Stopped;
use cordon_proto::record::{MOST_STOPPED, RecordBody, StopAct, StopReport, StoppedProcess};

use super::StopJob;
use crate::local::Answer;
use crate::recorder::Recorder;

/// Logs it and puts it into the outbox.
pub fn tell(recorder: &Recorder, report: StopReport) {
    tracing::warn!(
        act = ?report.act, count = report.count, survivors = report.survivors.len(), spared = report.spared.len(),
        proved = report.proved, reason = %report.reason, "processes"
    );
    recorder.record(RecordBody::Stop(Box::new(report)));
}

/// Nobody knows what became of them, so they are survivors.
pub(super) fn failed(job: &StopJob, why: String) -> Stopped {
    tracing::error!(%why, "a process tree could not be stopped");
    let root = StoppedProcess {
        pid: job.tree.root.pid,
        exe: String::new(),
        why,
    };
    Stopped {
        survivors: vec![root],
        ..Stopped::default()
    }
}

/// By nobody yet.
pub fn report(act: StopAct, stopped: &Stopped, reason: String) -> StopReport {
    let first = |all: &[StoppedProcess]| all.iter().take(MOST_STOPPED).cloned().collect();
    StopReport {
        tree: None,
        act,
        reason,
        processes: first(&stopped.processes),
        count: stopped.processes.len() as u64,
        survivors: first(&stopped.survivors),
        spared: first(&stopped.spared),
        probes: Vec::new(),
        proved: stopped.is_whole && stopped.survivors.is_empty(),
        event_to_stop_micros: None,
        policy_version: 0,
        ordered: None,
    }
}

/// To whoever asked to thaw.
pub fn answer(report: &StopReport) -> Answer {
    let count = report.count;
    if report.proved {
        let detail = match count {
            0 => "nobody was frozen".to_owned(),
            1 => "1 process goes on".to_owned(),
            _ => format!("{count} processes go on"),
        };
        return Answer::Done {
            detail,
            isolation: None,
        };
    }
    let left: Vec<String> = report
        .survivors
        .iter()
        .map(|one| one.pid.to_string())
        .collect();
    let detail = format!(
        "{count} go on; these stand still, perhaps because another process traces or stops them: {}",
        left.join(", ")
    );
    Answer::Failed { detail }
}
