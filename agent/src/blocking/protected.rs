//! Who is blocked when a policy comes that protects him can be reached again: what is wanted is compared with what is so
//! after each job and each look, so that nothing has to arrive in order.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_proto::policy::AddressOrNetwork;
use cordon_proto::record::BlockReport;

use super::{Blocker, Job, Worker, lock, tell, unblock};
use crate::local::Answer;

/// What the policy in force protects, as the engine said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Protected(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    entries: Vec<AddressOrNetwork>,
    policy_version: u64,
}

impl Protected {
    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocker {
    /// What the policy in force protects from now on. Never waits.
    pub fn protect(&self, entries: &[AddressOrNetwork], policy_version: u64) {
        *self.protected.lock() = Listed {
            entries: entries.to_vec(),
            policy_version,
        };
        // Where too much is queued the thread looks all the same, after what is queued.
        self.jobs.try_send(Job::Look).ok();
    }
}

impl Worker {
    /// Ends the blocks of those who are protected. What fails is tried again at the next look.
    pub(super) fn spare(&self) {
        let (spared, policy_version) = self.blocked_and_protected();
        for address in &spared {
            let reason = format!("policy version {policy_version} protects it");
            match unblock(&self.blocks, *address, &reason) {
                (_, Some(report)) => tell(
                    &self.recorder,
                    BlockReport {
                        policy_version,
                        ..report
                    },
                ),
                (Answer::Failed { detail }, None) => {
                    tracing::error!(%address, %detail, "a protected address stays blocked");
                }
                (_, None) => {}
            }
        }
        if !spared.is_empty() {
            self.note();
        }
    }

    fn blocked_and_protected(&self) -> (Vec<IpAddr>, u64) {
        let listed = self.protected.lock();
        let is_protected = |address: &IpAddr| listed.entries.iter().any(|e| e.covers(*address));
        let in_force = lock(&self.in_force);
        let blocked = in_force.iter().map(|block| block.address);
        let mut spared: Vec<IpAddr> = blocked.filter(is_protected).collect();
        // An isolated host's, and a remote end's too.
        spared.sort_unstable();
        spared.dedup();
        (spared, listed.policy_version)
    }
}
