//! Trees that an order names: stopped, cut off, and let go on, with an answer when it is known what came of it.

use cordon_contain::{ContainError, Stopped, Tree, monotonic_ns};
use cordon_proto::record::{StopAct, StopReport, StoppedProcess};
use cordon_sensor::ProcessKey;
use tokio::sync::oneshot;

use super::{Job, MOST_TIMES, StopJob, Stopper, Worker, cuts, report, tell};
use crate::local::{Answer, reply};
use crate::ordered::By;

/// A process tree that an order names.
#[derive(Clone, Debug)]
pub struct TreeOrder {
    /// What is done to it, or undone.
    pub act: StopAct,
    /// Its uppermost process.
    pub root: ProcessKey,
    /// Absolute paths of executables that are never touched.
    pub protected: Vec<String>,
    /// Who ordered it.
    pub by: By,
    /// It was begun before the agent was started anew, and may be done.
    pub is_again: bool,
}

impl TreeOrder {
    fn tree(&self, known: Vec<ProcessKey>) -> Tree {
        Tree {
            root: self.root,
            known,
            protected: self.protected.clone(),
        }
    }

    /// Why nothing is done, or why nothing is left to do; looked at before anything is.
    fn ends_at_once(&self, tree: &Tree) -> Option<Answer> {
        let pid = self.root.pid;
        match tree.root_image() {
            Some(exe) if self.protected.contains(&exe) => Some(failed(format!(
                "process {pid} runs {exe}, which is protected by the policy (protected_processes): nothing was done"
            ))),
            None if tree.has_ended() && self.is_again && self.act == StopAct::Killed => {
                Some(done("0 survive: nobody of it runs any more".to_owned()))
            }
            None if tree.has_ended() => Some(failed(format!(
                "no process {pid} that started {} ns after this boot runs here, nor anybody who is known to descend from it: nothing was done. It has ended, or its pid was given to another since",
                self.root.start_ns
            ))),
            _ => None,
        }
    }

    fn report(&self, name: Option<String>, stopped: &Stopped) -> StopReport {
        StopReport {
            tree: name,
            policy_version: self.by.policy_version,
            ordered: Some(self.by.ordered.clone()),
            ..report(self.act, stopped, self.by.reason.clone())
        }
    }
}

/// Somebody who waits until a last look finds nobody new, and what came of the looks before.
pub(super) struct Waits {
    to: oneshot::Sender<Answer>,
    count: u64,
    spared: Vec<StoppedProcess>,
}

impl Waits {
    fn new(to: oneshot::Sender<Answer>) -> Self {
        Self {
            to,
            count: 0,
            spared: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, report: &StopReport) {
        self.count += report.count;
        let known: Vec<u32> = self.spared.iter().map(|one| one.pid).collect();
        let new = report.spared.iter();
        let new = new.filter(|one| !known.contains(&one.pid)).cloned();
        self.spared.extend(new);
    }

    /// `last` is what the last look came to.
    pub(super) fn conclude(self, last: &StopReport) {
        let Self { to, count, spared } = self;
        reply(to, in_words(last, count, &spared));
    }
}

/// What the host signs. Every word of it was looked at, after the act.
fn in_words(last: &StopReport, count: u64, spared: &[StoppedProcess]) -> Answer {
    let left_alone = match spared {
        [] => String::new(),
        spared => format!("; left alone: {}", named(spared)),
    };
    let is_done = match last.act {
        StopAct::Killed => "killed",
        StopAct::Frozen => "frozen",
        _ => "cut off the network",
    };
    if count == 0 && !spared.is_empty() {
        return failed(format!("nobody is {is_done}{left_alone}"));
    }
    let said = format!("{count} processes are {is_done}");
    if !last.proved {
        let left = match last.survivors.as_slice() {
            [] => "without proof: a last look at all processes found more of the tree".to_owned(),
            left => format!("but not {}", named(left)),
        };
        return failed(format!(
            "{said}, {left}{left_alone}. Order it again, or isolate the host"
        ));
    }
    let proof = match last.act {
        StopAct::Killed => "0 survive, by a last look at all processes",
        StopAct::Frozen => "0 of the tree run on, by a last look at all processes",
        _ => "0 of the tree are outside, by a last look at all processes",
    };
    let probes: Vec<String> = last
        .probes
        .iter()
        .map(|probe| {
            let outcome = if probe.reached { "left" } else { "was refused" };
            format!("{} {outcome}", probe.target)
        })
        .collect();
    let tries = match probes.as_slice() {
        [] => String::new(),
        probes => format!("; tried: {}", probes.join(", ")),
    };
    done(format!("{said}; {proof}{tries}{left_alone}"))
}

fn named(all: &[StoppedProcess]) -> String {
    let all = all.iter().map(|one| match one.why.as_str() {
        "" => one.pid.to_string(),
        why => format!("{} ({why})", one.pid),
    });
    all.collect::<Vec<_>>().join(", ")
}

fn done(detail: String) -> Answer {
    Answer::Done {
        detail,
        isolation: None,
    }
}

fn failed(detail: String) -> Answer {
    Answer::Failed { detail }
}

impl Stopper {
    /// Does what an order wants of a tree, and answers when it is known what came of it. Never waits.
    pub fn obey(&self, order: TreeOrder, to: oneshot::Sender<Answer>) {
        self.ask(Job::Obey(Box::new(order), to));
    }
}

impl Worker {
    pub(super) fn obey(&mut self, order: &TreeOrder, to: oneshot::Sender<Answer>) {
        let kin = self.kin.get();
        let tree = order.tree(kin.map_or_else(Vec::new, |kin| kin.below(order.root)));
        let root = kin.and_then(|kin| kin.tree(order.root));
        let name = root.map(|root| self.facts.tree_name(root));
        match order.act {
            StopAct::Thawed => {
                self.forget(StopAct::Frozen, Some(order.root));
                let thawed = self.trees.thaw_tree(&tree);
                self.undone(order, name, thawed, to);
            }
            StopAct::Rejoined => {
                self.forget(StopAct::CutOff, Some(order.root));
                let back = cuts(&self.state_dir).and_then(|cuts| cuts.rejoin_tree(&tree));
                self.undone(order, name, back, to);
            }
            StopAct::Frozen | StopAct::Killed | StopAct::CutOff => {
                if let Some(answer) = order.ends_at_once(&tree) {
                    return reply(to, answer);
                }
                let job = StopJob {
                    act: order.act,
                    tree,
                    name,
                    reason: order.by.reason.clone(),
                    event_mono_ns: monotonic_ns(),
                    policy_version: order.by.policy_version,
                    tell_always: true,
                    ordered: Some(order.by.ordered.clone()),
                };
                self.stop(Box::new(job), MOST_TIMES, None, Some(Waits::new(to)));
            }
            StopAct::Prevented => reply(to, failed("no order prevents a program".to_owned())),
        }
    }

    /// Who is let go on is not to be looked for again, of one tree or of all; whoever waited for that is answered.
    pub(super) fn forget(&mut self, act: StopAct, root: Option<ProcessKey>) {
        let is_it = |job: &StopJob| job.act == act && root.is_none_or(|root| job.tree.root == root);
        for again in std::mem::take(&mut self.again) {
            if !is_it(&again.job) {
                self.again.push_back(again);
            } else if let Some(waits) = again.waits {
                let why = "it was undone before it was proved".to_owned();
                reply(waits.to, failed(why));
            }
        }
    }

    fn undone(
        &mut self,
        order: &TreeOrder,
        name: Option<String>,
        done: Result<Stopped, ContainError>,
        to: oneshot::Sender<Answer>,
    ) {
        let answer = match done {
            Ok(stopped) => {
                let report = order.report(name, &stopped);
                let answer = match order.act {
                    StopAct::Thawed => super::answer(&report),
                    _ => super::answer_about_cut(&report),
                };
                if report.count > 0 || !report.survivors.is_empty() {
                    tell(&self.recorder, report);
                }
                answer
            }
            Err(error) => failed(crate::chain(&error)),
        };
        self.count();
        reply(to, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(act: StopAct, proved: bool, survivors: &[u32]) -> StopReport {
        let process = |pid: &u32| StoppedProcess {
            pid: *pid,
            exe: String::new(),
            why: String::new(),
        };
        let stopped = Stopped {
            survivors: survivors.iter().map(process).collect(),
            is_whole: proved,
            ..Stopped::default()
        };
        report(act, &stopped, String::new())
    }

    fn spared() -> Vec<StoppedProcess> {
        vec![StoppedProcess {
            pid: 9,
            exe: "/usr/sbin/sshd".into(),
            why: "protected by the policy".into(),
        }]
    }

    fn said(answer: Answer) -> (bool, String) {
        match answer {
            Answer::Done { detail, .. } => (true, detail),
            Answer::Failed { detail } => (false, detail),
            other => panic!("no order is answered so: {other:?}"),
        }
    }

    #[test]
    fn an_answer_says_what_was_proved_and_what_was_not() {
        let killed = said(in_words(&last(StopAct::Killed, true, &[]), 3, &[]));
        let wanted = "3 processes are killed; 0 survive, by a last look at all processes";
        assert_eq!(killed, (true, wanted.to_owned()));
        let (is_done, detail) = said(in_words(&last(StopAct::Killed, false, &[7]), 2, &spared()));
        assert!(
            !is_done && detail.contains("but not 7; left alone: 9 (protected"),
            "{detail}"
        );
        let (is_done, detail) = said(in_words(&last(StopAct::Frozen, false, &[]), 2, &[]));
        assert!(!is_done && detail.contains("without proof"), "{detail}");
    }

    #[test]
    fn where_all_were_left_alone_nothing_is_done() {
        let (is_done, detail) = said(in_words(&last(StopAct::CutOff, true, &[]), 0, &spared()));
        assert!(!is_done, "{detail}");
        assert_eq!(
            detail,
            "nobody is cut off the network; left alone: 9 (protected by the policy)"
        );
    }
}
