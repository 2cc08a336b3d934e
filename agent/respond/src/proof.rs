//! What counts as proof that a host is cut off.
//!
//! A probe to a peer that never answered proves nothing by failing. The one probe that does prove
//! something is to the controller itself, without the agent's mark: the same peer and port that
//! answers the marked probe must be out of reach for the unmarked one.

use cordon_proto::record::Probe;

/// What is known after the rules went in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The kernel lists exactly the rules that were put in.
    pub rules_whole: bool,
    /// The agent had a working session with the controller shortly before the drop.
    pub controller_was_reachable: bool,
    /// Connect probes.
    pub probes: Vec<Probe>,
}

/// The conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Cut off, and the controller is still there if it was before.
    Proved,
    /// Not proved, and why.
    Failed(String),
}

/// Weighs the evidence.
pub fn weigh(evidence: &Evidence) -> Proof {
    if !evidence.rules_whole {
        return Proof::Failed("the kernel does not list the rules that were applied".into());
    }
    if let Some(leak) = evidence.probes.iter().find(|p| p.reached && !p.expected) {
        return Proof::Failed(format!("forbidden probe got through: {}", leak.target));
    }
    if !evidence.probes.iter().any(|p| !p.expected) {
        return Proof::Failed("no forbidden probe was made".into());
    }
    let answered = evidence.probes.iter().any(|p| p.reached && p.expected);
    if evidence.controller_was_reachable && !answered {
        return Proof::Failed("the controller no longer answers the agent".into());
    }
    Proof::Proved
}
