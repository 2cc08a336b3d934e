//! Trees that are cut off the network.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cordon_contain::{ContainError, CutOff, Cuts, Stopped, Tree};
use cordon_proto::record::{Probe, RecordBody, StopAct, StopReport, StoppedProcess, TamperReport};
use tokio::sync::oneshot;

use super::{Job, Stopper, Worker, report, tell};
use crate::local::{Answer, reply};

/// There as long as anybody is cut off.
const CUT_OFF_FILE: &str = "cut_off.json";

impl Stopper {
    /// Cuts a process and what descends from it off the network, and answers.
    pub fn cut_off(
        &self,
        pid: u32,
        protected: Vec<String>,
        reason: String,
        to: oneshot::Sender<Answer>,
    ) {
        self.ask(Job::CutOff {
            pid,
            protected,
            reason,
            to,
        });
    }

    /// Lets everybody back to the network who is cut off, and answers.
    pub fn rejoin(&self, reason: String, to: oneshot::Sender<Answer>) {
        self.ask(Job::Rejoin { reason, to });
    }

    /// How many processes are cut off the network.
    pub fn count_cut_off(&self) -> usize {
        self.cut_off.load(Ordering::Relaxed)
    }
}

impl Worker {
    pub(super) fn cut_off_by_hand(
        &mut self,
        pid: u32,
        protected: Vec<String>,
        reason: String,
        to: oneshot::Sender<Answer>,
    ) {
        let Some(mut tree) = Tree::of_pid(pid, protected) else {
            let detail = format!("there is no process {pid}");
            return reply(to, Answer::Failed { detail });
        };
        if let Some(kin) = self.kin.get() {
            tree.known = kin.below(tree.root);
        }
        let done = cut_off(&self.state_dir, &tree).map(|(stopped, probes)| StopReport {
            probes,
            ..report(StopAct::CutOff, &stopped, reason)
        });
        self.conclude(done, to);
    }

    pub(super) fn rejoin(&mut self, reason: String, to: oneshot::Sender<Answer>) {
        self.forget(StopAct::CutOff, None);
        let back = cuts(&self.state_dir).and_then(|cuts| cuts.rejoin());
        let done = back.map(|back| report(StopAct::Rejoined, &back, reason));
        self.conclude(done, to);
    }

    fn conclude(&self, done: Result<StopReport, ContainError>, to: oneshot::Sender<Answer>) {
        let answer = match done {
            Ok(report) => {
                let answer = answer_about_cut(&report);
                if is_news(&report) {
                    tell(&self.recorder, report);
                }
                answer
            }
            Err(error) => Answer::Failed {
                detail: crate::chain(&error),
            },
        };
        self.count();
        reply(to, answer);
    }

    /// After a reboot there is nothing to be put back, and at a start nobody is to blame.
    pub(super) fn look_after_cuts(&mut self, is_tampering: bool) {
        self.looked_at = Instant::now();
        if !self.state_dir.join(CUT_OFF_FILE).exists() {
            return;
        }
        match cuts(&self.state_dir).and_then(|cuts| cuts.repair()) {
            Ok(true) if is_tampering => self.recorder.record(RecordBody::Tamper(TamperReport {
                what: "what cuts processes off the network was altered".to_owned(),
                repaired: true,
                micros: 0,
                by: None,
            })),
            Ok(_) => {}
            Err(error) => {
                let why = crate::chain(&error);
                tracing::error!(%why, "the cut-off cannot be looked after");
            }
        }
    }
}

/// The cut-off of this host.
pub fn cuts(state_dir: &Path) -> Result<Cuts, ContainError> {
    Cuts::open(state_dir, std::process::id())
}

/// How many are cut off, as far as this process may see; nobody where there is no state.
pub fn count_cut_off(state_dir: &Path) -> usize {
    if !state_dir.join(CUT_OFF_FILE).exists() {
        return 0;
    }
    cuts(state_dir).map_or(0, |cuts| cuts.count())
}

pub(super) fn cut_off(
    state_dir: &Path,
    tree: &Tree,
) -> Result<(Stopped, Vec<Probe>), ContainError> {
    let CutOff {
        stopped,
        cut_sockets,
        probes,
        warnings,
    } = cuts(state_dir)?.cut_off(tree)?;
    for warning in &warnings {
        tracing::warn!(%warning, "processes are cut off");
    }
    tracing::info!(cut_sockets, "their sockets are ended");
    Ok((stopped, probes))
}

/// Whether it is recorded: not that nobody was to be let back.
pub fn is_news(report: &StopReport) -> bool {
    report.act != StopAct::Rejoined || report.count > 0 || !report.survivors.is_empty()
}

/// To whoever asked to cut off or to let back.
pub fn answer_about_cut(report: &StopReport) -> Answer {
    let done = match report.act {
        StopAct::CutOff => "cut off the network",
        _ => "back on the network",
    };
    let said = |all: &[StoppedProcess]| -> String {
        let all = all.iter();
        let all: Vec<String> = all
            .map(|one| format!("{} ({})", one.pid, one.why))
            .collect();
        all.join(", ")
    };
    if report.count == 0 && !report.spared.is_empty() {
        let detail = format!("nobody is {done}; left alone: {}", said(&report.spared));
        return Answer::Failed { detail };
    }
    let detail = format!("{} processes are {done}", report.count);
    if report.proved {
        return Answer::Done {
            detail,
            isolation: None,
        };
    }
    let left = match report.survivors.as_slice() {
        [] => "without proof".to_owned(),
        left => format!("but not {}", said(left)),
    };
    let detail = format!("{detail}, {left}");
    Answer::Failed { detail }
}
