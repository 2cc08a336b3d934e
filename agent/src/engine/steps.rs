//! Orders about processes, remote ends and files: admitted by the policy, on disk before anything is done, and settled by
//! whoever does it. What a restart interrupts is done again.

use cordon_proto::order::{Order, Verb, held_of};
use cordon_proto::process::ProcessName;
use cordon_proto::record::StopAct;
use cordon_respond::step::{Here, admit};
use cordon_sensor::ProcessKey;
use jiff::{SignedDuration, Timestamp};

use super::Engine;
use crate::blocking::{self, RemoteOrder};
use crate::filing::FileJob;
use crate::ordered::By;
use crate::orders::{Fate, Goal, Step};
use crate::stopping::TreeOrder;

impl Engine {
    /// Takes an order, or refuses it: by the policy, or because nothing is held that it could put back.
    pub(super) fn take_step(&mut self, order: Order, now: Timestamp) {
        let count = self.parts.orders.steps_last_hour(now);
        let file = self
            .admit_step(&order, count)
            .and_then(|()| match &order.verb {
                Verb::RestoreFile { held } => self.parts.filer.held(held).map(Some),
                _ => Ok(None),
            });
        let file = match file {
            Ok(file) => file,
            Err(why) => return self.decline(&order, why, now),
        };
        let step = Step {
            order,
            at: now,
            file,
        };
        let goal = Goal::Step(Box::new(step.clone()));
        if self.begin(&step.order, goal, None, now) {
            self.carry_out_step(&step, false);
        }
    }

    /// Does again what was begun before the agent was started anew. It counted against the cap when it was begun.
    pub(super) fn step_again(&mut self, step: &Step, now: Timestamp) {
        match self.admit_step(&step.order, 0) {
            Ok(()) => self.carry_out_step(step, true),
            Err(why) => {
                let why = format!("the agent was started anew meanwhile, and now {why}");
                self.settled(step.order.id, Fate::Failed(why), now);
            }
        }
    }

    fn admit_step(&self, order: &Order, steps_last_hour: u32) -> Result<(), String> {
        let policy = self.parts.policy.policy();
        let policy = policy.ok_or("no policy is in force")?;
        let never = blocking::never(policy, &self.parts.pins.known());
        let here = Here {
            boot_id: &self.parts.facts.boot_id,
            steps_last_hour,
            never: &never,
        };
        admit(&order.verb, policy, here).map_err(|denied| denied.to_string())
    }

    fn carry_out_step(&self, step: &Step, is_again: bool) {
        let Step { order, at, file } = step;
        let by = By::of(order, self.parts.policy.version());
        let tree = |act, process: &ProcessName| {
            let order = TreeOrder {
                act,
                root: ProcessKey {
                    pid: process.pid(),
                    start_ns: process.start_ns(),
                },
                protected: self.protected(),
                by: by.clone(),
                is_again,
            };
            self.parts.stopper.obey(order, self.settles(step.order.id));
        };
        let remote = |address, until| {
            let order = RemoteOrder {
                address,
                until,
                by: by.clone(),
            };
            self.parts.blocker.obey(order, self.settles(step.order.id));
        };
        match &order.verb {
            Verb::KillTree { process } => tree(StopAct::Killed, process),
            Verb::FreezeTree { process } => tree(StopAct::Frozen, process),
            Verb::ThawTree { process } => tree(StopAct::Thawed, process),
            Verb::CutOff { process } => tree(StopAct::CutOff, process),
            Verb::Rejoin { process } => tree(StopAct::Rejoined, process),
            Verb::BlockRemote { address, seconds } => {
                let lasts = SignedDuration::from_secs(i64::try_from(*seconds).unwrap_or(i64::MAX));
                let until = at.checked_add(lasts).unwrap_or(Timestamp::MAX);
                remote(*address, Some(until));
            }
            Verb::UnblockRemote { address } => remote(*address, None),
            Verb::QuarantineFile { path, sha256 } => self.file(
                order,
                FileJob::Take {
                    id: held_of(order.id),
                    path: path.into(),
                    sha256: sha256.clone(),
                    reason: by.reason.clone(),
                },
                by.clone(),
            ),
            Verb::RestoreFile { held } => self.file(
                order,
                FileJob::Restore {
                    id: held.clone(),
                    file: file.clone(),
                    reason: by.reason.clone(),
                },
                by.clone(),
            ),
            Verb::Isolate { .. }
            | Verb::Release
            | Verb::BlockHost { .. }
            | Verb::UnblockHost { .. }
            | Verb::Approve { .. }
            | Verb::Refuse { .. } => {}
        }
    }

    fn file(&self, order: &Order, job: FileJob, by: By) {
        let to = self.settles(order.id);
        self.parts.filer.obey(job, by, self.protected(), to);
    }

    fn protected(&self) -> Vec<String> {
        let policy = self.parts.policy.policy();
        policy.map_or_else(Vec::new, |policy| policy.protected_processes.clone())
    }
}
