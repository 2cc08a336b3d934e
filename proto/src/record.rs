//! What an agent reports. A record is on the agent's disk before it is sent, and leaves it only
//! when the controller has committed it under (host, boot, sequence).

mod agent;
mod approval;

use std::net::IpAddr;

use cordon_behavior::story::Story;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
use crate::id::{HostId, IsolationId, OrderId};
use crate::verdict::Verdict;
pub use agent::{Actor, AgentAct, AgentReport};
pub use approval::{ApprovalOutcome, ApprovalReport, Proposal, Steps};

/// One reported fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Host's wall clock when the fact was seen.
    pub at: Timestamp,
    /// The fact.
    #[serde(flatten)]
    pub body: RecordBody,
}

/// The kinds of record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum RecordBody {
    /// A verdict of `suspicious` or worse, with the story that it judges.
    Detection(Box<Detection>),
    /// A change in the host's isolation.
    Isolation(Box<IsolationReport>),
    /// What was done to the processes of a tree.
    Stop(Box<StopReport>),
    /// Remote ends were blocked, or can be reached again.
    Block(Box<BlockReport>),
    /// A file was taken out of reach, put back or destroyed.
    Quarantine(Box<QuarantineReport>),
    /// A proposal was answered, or ended without an answer.
    Approval(Box<ApprovalReport>),
    /// A signed [`crate::order::Receipt`].
    Receipt(Envelope),
    /// A policy was taken up or refused.
    Policy(PolicyReport),
    /// Somebody interfered with the agent's work.
    Tamper(TamperReport),
    /// The agent ends, by leave.
    Agent(AgentReport),
    /// Telemetry that is known to be missing.
    Loss(LossReport),
}

/// A judged story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The process tree, stable over its life: `boot-id prefix:pid:start`.
    pub tree: String,
    /// Pid as the host's owner sees it.
    pub pid: u32,
    /// The judged process, as orders name it (a [`crate::process::ProcessName`]); absent from agents older than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// What was judged.
    pub story: Story,
    /// What the judge said.
    pub verdict: Verdict,
    /// Policy version in force; 0 when none.
    pub policy_version: u64,
    /// What the policy made of the verdict, for example `isolate`, `alert` or `recommend_isolate`.
    pub decision: String,
    /// Why the policy decided so, in English.
    pub decision_reason: String,
    /// The same in Simplified Chinese; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub decision_reason_zh: String,
    /// Kernel's stamp of the event that led to the verdict, nanoseconds of CLOCK_MONOTONIC.
    pub event_mono_ns: u64,
    /// SHA-256 of the image that the process ran, hex; absent when it could not be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe_sha256: Option<String>,
    /// What waits for a yes; the same for every detection that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Proposal>,
}

/// Where an isolation stands, as the agent reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationState {
    /// Rules are in the kernel, proof is pending.
    Applied,
    /// Proved: the controller answers (or was unreachable before) and a forbidden probe does not.
    Confirmed,
    /// The rules are in place, the proof failed and policy says stay shut.
    Unproven,
    /// Opened by release, lease or roll-back.
    Released,
    /// Could not be applied; the host is open.
    Failed,
}

/// What was tried to prove an effect, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// For example `tcp 10.99.0.1:7443 marked`.
    pub target: String,
    /// Whether it got through.
    pub reached: bool,
    /// Whether it should have.
    pub expected: bool,
}

/// A change in the host's isolation, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IsolationReport {
    /// Which isolation.
    pub id: IsolationId,
    /// Where it stands.
    pub state: IsolationState,
    /// Why it was made or ended.
    pub reason: String,
    /// Tree of the detection that caused it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// When it opens by itself, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<Timestamp>,
    /// SHA-256 of the rules as listed by the kernel, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_sha256: Option<String>,
    /// Evidence.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// From the kernel's stamp of the judged event to the rules being in force, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_to_drop_micros: Option<u64>,
    /// Policy version that allowed it; 0 for a person at the console of the host.
    pub policy_version: u64,
    /// What opens the host without the controller; absent when it is open, and when the policy names no
    /// release key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseChallenge>,
}

/// A [`crate::release::Challenge`] as a host reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseChallenge {
    /// As text: what came from a host is read when it is used, and a bad one must not cost the report.
    pub challenge: String,
    /// The host takes no answer from then on, and shows another challenge.
    pub expires_at: Timestamp,
}

/// Who ordered what is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The order.
    pub order: OrderId,
    /// Account that asked, as the signed order names it.
    pub by: String,
    /// The order that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<OrderId>,
}

/// What was done to processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopAct {
    /// Stopped where they stood.
    Frozen,
    /// Ended.
    Killed,
    /// Let go on.
    Thawed,
    /// Cut off the network, and running on.
    CutOff,
    /// Let back to the network.
    Rejoined,
    /// Killed before the first instruction: the policy lists the program.
    Prevented,
}

/// A process that something was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedProcess {
    /// Pid as the host's owner sees it.
    pub pid: u32,
    /// Path of its image; empty when unknown.
    pub exe: String,
    /// Why it was left alone, of one that was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What was done to a process and everything that descends from it, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// Tree of the detection that led to it; absent for what people thaw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// What was done.
    pub act: StopAct,
    /// Why.
    pub reason: String,
    /// Those that it was done to; the first [`MOST_STOPPED`].
    pub processes: Vec<StoppedProcess>,
    /// How many they are.
    pub count: u64,
    /// Those that are as they were although it was tried; the first [`MOST_STOPPED`].
    #[serde(default)]
    pub survivors: Vec<StoppedProcess>,
    /// Those that belong to the tree and were left alone, each with why; the first [`MOST_STOPPED`].
    #[serde(default)]
    pub spared: Vec<StoppedProcess>,
    /// Tries that prove it, of those cut off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// A last look at all processes found nobody of the tree for whom it is not done, the spared ones aside.
    pub proved: bool,
    /// From the kernel's stamp of the judged event to the end of the first pass, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_to_stop_micros: Option<u64>,
    /// Policy version that allowed it; 0 for a person at the console of the host.
    pub policy_version: u64,
    /// The order that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<Ordered>,
}

/// Most processes of a kind that a [`StopReport`] names.
pub const MOST_STOPPED: usize = 64;

/// What was done to remote ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockAct {
    /// Nothing passes to or from them, until a time.
    Blocked,
    /// They can be reached again, before that.
    Unblocked,
}

/// A remote end that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparedRemote {
    /// Its address.
    pub address: IpAddr,
    /// Why.
    pub why: String,
}

/// What was done to the remote ends of a process, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockReport {
    /// Tree of the detection that led to it; absent for what people unblock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// The isolated host whose addresses they are, when the controller ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<HostId>,
    /// What was done.
    pub act: BlockAct,
    /// Why.
    pub reason: String,
    /// To whom.
    pub addresses: Vec<IpAddr>,
    /// When they can be reached again; absent when they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Remote ends of the process that were left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<SparedRemote>,
    /// Connections that were ended.
    pub cut: u64,
    /// Tries to reach them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// The kernel lists every one of them, and no try reached any; of those unblocked, that the kernel lists them no more.
    pub proved: bool,
    /// From the kernel's stamp of the judged event to the drop, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_to_block_micros: Option<u64>,
    /// Policy version that allowed it; 0 for a person at the console of the host.
    pub policy_version: u64,
    /// The order to block or unblock these remote ends, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<Ordered>,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineAct {
    /// Taken out of reach and kept, sealed.
    Taken,
    /// Put back as it was.
    Restored,
    /// Destroyed.
    Deleted,
}

/// What a person at the host, or an order, did to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineReport {
    /// What was done.
    pub act: QuarantineAct,
    /// Name of what is or was held, 32 hex digits.
    pub id: String,
    /// Where the file was, and where it is put back.
    pub path: String,
    /// SHA-256 of its content, hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Its owner.
    pub uid: u32,
    /// Why.
    pub reason: String,
    /// The order that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<Ordered>,
}

/// What became of a policy that was offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Version offered; 0 when it could not be read.
    pub version: u64,
    /// Taken up or not.
    pub applied: bool,
    /// Why it was refused; empty when applied.
    pub detail: String,
}

/// An interference that was seen, and whether it was mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TamperReport {
    /// What was found, for example `an nftables table of the isolation was gone`.
    pub what: String,
    /// Whether the wanted state is back.
    pub repaired: bool,
    /// From notice to repair, microseconds.
    pub micros: u64,
    /// Who it was, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// A hole in what the agent saw or kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossReport {
    /// As the sensor names its sources, or `spool`, `judge`, `prevention`.
    pub source: String,
    /// How many since the last report.
    pub count: u64,
    /// Why.
    pub reason: String,
}
