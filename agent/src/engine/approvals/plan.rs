//! What of a proposal may be done now.

use cordon_proto::policy::{BlockRemote, Policy, Stop};
use cordon_proto::record::Steps;
use cordon_respond::proposal::allowed;
use cordon_respond::{Place, Standing, Subject};

use crate::proposals::{Kept, Target};

/// What may be done now of what was proposed.
pub(super) struct Plan {
    /// All of it.
    pub steps: Steps,
    /// To whom what is done, isolation aside.
    pub targets: Vec<(Target, Steps)>,
    /// Why something that was proposed is not done; empty when all of it is.
    pub left_out: String,
}

impl Plan {
    /// Under the policy in force. Of another boot no process is left.
    pub fn new(
        kept: &Kept,
        policy: Option<&Policy>,
        standing: &Standing,
        is_of_this_boot: bool,
    ) -> Self {
        let mut plan = Self {
            steps: Steps::default(),
            targets: Vec::new(),
            left_out: String::new(),
        };
        for target in &kept.targets {
            let subject = Subject {
                exe: target.exe.clone(),
            };
            match allowed(kept.steps, &subject, policy, standing) {
                Ok(steps) => {
                    plan.steps = all_of(plan.steps, steps);
                    plan.targets.push((target.clone(), steps));
                }
                Err(why) => plan.leave_out(&why),
            }
        }
        if kept.steps.isolate && !plan.steps.isolate && !plan.targets.is_empty() {
            let reached = match &standing.place {
                Place::Refused(taken) => taken.to_string(),
                _ => format!(
                    "{} isolations in the last hour",
                    standing.isolations_last_hour
                ),
            };
            plan.leave_out(&format!("{reached} reach the policy's cap"));
        }
        if !is_of_this_boot {
            plan.forget_processes();
        }
        if plan.steps.is_none() && plan.left_out.is_empty() {
            plan.leave_out("the policy in force does none of it");
        }
        plan
    }

    /// What is not done, for the end of a sentence.
    pub fn besides(&self) -> String {
        match self.left_out.as_str() {
            "" => String::new(),
            why => format!("; not all of it is done: {why}"),
        }
    }

    fn leave_out(&mut self, why: &str) {
        if self.left_out.contains(why) {
            return;
        }
        if !self.left_out.is_empty() {
            self.left_out += "; ";
        }
        self.left_out += why;
    }

    /// The numbers of another boot's processes are somebody else's now.
    fn forget_processes(&mut self) {
        let had_some = self.steps.stop != Stop::None || self.steps.cut_off;
        let all = self.targets.iter_mut().map(|(_, steps)| steps);
        for steps in all.chain([&mut self.steps]) {
            (steps.stop, steps.cut_off) = (Stop::None, false);
        }
        if had_some {
            self.leave_out("the host was started anew since, and the processes ended with that");
        }
    }
}

fn all_of(one: Steps, other: Steps) -> Steps {
    let blocks = one.block.into_iter().chain(other.block);
    Steps {
        isolate: one.isolate || other.isolate,
        stop: one.stop.max(other.stop),
        cut_off: one.cut_off || other.cut_off,
        block: blocks.max_by_key(|block| block.seconds),
    }
}

/// What is done, in words.
pub(crate) fn in_words(steps: Steps) -> String {
    let mut said = Vec::new();
    if steps.isolate {
        said.push("isolate the host".to_owned());
    }
    match steps.stop {
        Stop::None => {}
        Stop::Freeze => said.push("freeze the process tree".to_owned()),
        Stop::Kill => said.push("kill the process tree".to_owned()),
    }
    if steps.cut_off {
        said.push("cut the process tree off the network".to_owned());
    }
    if let Some(BlockRemote { seconds }) = steps.block {
        said.push(format!("block its remote ends for {seconds} s"));
    }
    said.join(", ")
}
