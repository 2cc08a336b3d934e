//! Pure: what of a policy is listed, and what is done about it.

use std::collections::{BTreeSet, HashSet};

use cordon_behavior::event::FileIdentity;
use cordon_proto::policy::{Mode, Policy};
use cordon_sensor::{ExecList, ListedAct};

use super::WhyNot;

/// Programs that must not run, under one policy.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// What the kernel looks up.
    pub list: ExecList,
    /// Whom nothing is done to, whatever their content.
    pub protected: Vec<String>,
    /// The policy.
    pub policy_version: u64,
    digests: HashSet<[u8; 32]>,
}

impl Programs {
    /// The agent's own program is never listed: it would keep its owner from opening the host.
    pub(super) fn of(policy: Option<&Policy>) -> Self {
        let Some(policy) = policy else {
            return Self::default();
        };
        let own = std::env::current_exe().unwrap_or_default();
        let own = own.to_string_lossy();
        let programs = &policy.blocked_programs;
        let paths = programs.paths.iter();
        let paths: BTreeSet<String> = paths.filter(|path| **path != *own).cloned().collect();
        let files = programs.files.iter();
        let digests = files.filter_map(|file| hex::decode(&file.sha256).ok()?.try_into().ok());
        let digests: HashSet<[u8; 32]> = digests.collect();
        let protected = policy.protected_processes.iter().cloned();
        let act = match policy.mode {
            _ if paths.is_empty() && digests.is_empty() => ListedAct::Nothing,
            Mode::Observe | Mode::Recommend => ListedAct::Tell,
            // A person has said yes when the list was signed.
            Mode::Approve | Mode::Autonomous => ListedAct::Kill,
        };
        Self {
            list: ExecList {
                paths,
                sizes: programs
                    .files
                    .iter()
                    .filter_map(|file| file.bytes)
                    .collect(),
                act,
            },
            protected: protected.chain([own.into_owned()]).collect(),
            policy_version: policy.version,
            digests,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.act == ListedAct::Nothing
    }

    pub(super) fn has_digests(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Whether an image of this content must not run. Nobody is kept from running what the policy protects by path.
    pub(super) fn has(&self, exe: &str, digest: &[u8; 32]) -> bool {
        self.digests.contains(digest) && !self.protected.iter().any(|path| path == exe)
    }

    /// Whether a file of this length is listed.
    pub(super) fn has_length(&self, identity: Option<&FileIdentity>) -> bool {
        identity.is_some_and(|identity| self.list.sizes.contains(&identity.size))
    }

    pub(super) fn acts(&self) -> bool {
        self.list.act == ListedAct::Kill
    }

    /// Why a listed program runs.
    pub(super) fn why_not(&self) -> WhyNot {
        if self.acts() {
            WhyNot::FirstProcess
        } else {
            WhyNot::Mode
        }
    }
}
