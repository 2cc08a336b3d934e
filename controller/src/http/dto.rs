//! The shapes of the REST interface, in one list: as `console/src/api/types.ts` and `cordonctl` read them.
//!
//! Documents of the agent (story, verdict, isolation report) go out as they came in: `cordon_proto`
//! defines their JSON. Text in them is hostile; whoever shows it escapes it.

// Long because it is a list: every shape that is read or written over REST, to be compared at a glance.

use std::net::IpAddr;

use cordon_analyst::{Measure, Severity};
use cordon_proto::envelope::Envelope;
use cordon_proto::id::{HostId, IncidentId, IsolationId, OrderId, ProposalId};
use cordon_proto::order::OrderState;
use cordon_proto::policy::Policy;
use cordon_proto::process::ProcessName;
use cordon_proto::record::{Detection, IsolationReport, Proposal};
use cordon_store::{AnalystVerdict, HostRef, Label, Role};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The account.
    pub username: String,
    /// Its password.
    pub password: String,
}

/// Who is signed in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The account, or the API token's name.
    pub username: String,
    /// What it may do.
    #[schema(value_type = String)]
    pub role: Role,
    /// The password in use was made by somebody else and is meant to be replaced.
    pub must_change_password: bool,
}

/// A new password of the caller's own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one in use.
    pub current: String,
    /// At least 12 characters.
    pub new: String,
}

/// A host, as far as lists need it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HostName {
    /// Its identity.
    #[schema(value_type = String)]
    pub id: HostId,
    /// Its name; endpoint text.
    pub name: String,
}

impl From<HostRef> for HostName {
    fn from(host: HostRef) -> Self {
        Self {
            id: host.id,
            name: host.name,
        }
    }
}

/// The newest sign of life.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Heartbeat {
    /// Memory of the agent.
    pub rss_bytes: u64,
    /// CPU time used by the agent since it started.
    pub cpu_micros: u64,
    /// Events since the agent started.
    pub events_seen: u64,
    /// Events known to be lost.
    pub events_lost: u64,
    /// Records that wait on the host.
    pub spool_records: u64,
    /// Their size.
    pub spool_bytes: u64,
    /// The host is cut off.
    pub isolated: bool,
}

/// How far the order to block an isolated host got.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// Hosts whose signed word is that they block it, its time not being over.
    pub blocking: u32,
    /// Hosts that were told to.
    pub told: u32,
}

/// A host.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// Its identity.
    #[schema(value_type = String)]
    pub id: HostId,
    /// Its name; endpoint text.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its addresses, without loopback.
    pub addresses: Vec<String>,
    /// A session stands.
    pub online: bool,
    /// When it was last heard.
    #[schema(value_type = Option<String>)]
    pub last_seen_at: Option<Timestamp>,
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Distribution.
    pub os: Option<String>,
    /// `ebpf` or `proc`.
    pub sensor_mode: Option<String>,
    /// Model in use.
    pub model: Option<String>,
    /// Version of the policy that the host holds.
    pub policy_version: Option<u64>,
    /// The host's newest word on its isolation.
    #[schema(value_type = Option<Object>)]
    pub isolation: Option<IsolationReport>,
    /// Other hosts of its group that block it, where the policy says so.
    pub peers: Option<Peers>,
    /// Newest sign of life since the controller started.
    pub heartbeat: Option<Heartbeat>,
}

/// The analyst's words in one language.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentText {
    /// One line.
    pub title: String,
    /// One paragraph.
    pub summary: String,
    /// What it may lead to.
    pub risk: String,
    /// What to do next, most urgent first.
    pub advice: Vec<String>,
}

/// The analyst's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentTexts {
    /// English.
    pub en: IncidentText,
    /// Simplified Chinese.
    pub zh: IncidentText,
}

/// An incident in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentRow {
    /// Its identity.
    #[schema(value_type = String)]
    pub id: IncidentId,
    /// Where.
    pub host: HostName,
    /// When the first of it happened.
    #[schema(value_type = String)]
    pub opened_at: Timestamp,
    /// When the last of it happened.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
    /// `open` or `closed`: whether a person has finished with it. The host's state is `isolation`.
    pub status: String,
    /// How urgent it is.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// English title.
    pub title: String,
    /// English summary.
    pub summary: String,
    /// ATT&CK techniques of all detections.
    pub techniques: Vec<String>,
    /// The process tree; nothing for an isolation by hand.
    pub tree: Option<String>,
    /// Highest score.
    pub score: Option<f32>,
    /// The isolation that belongs to it, as last reported.
    #[schema(value_type = Option<Object>)]
    pub isolation: Option<IsolationReport>,
    /// Title, summary, risk and advice in both languages.
    pub text: IncidentTexts,
    /// What was last said of it as a whole.
    pub analyst_verdict: Option<AnalystVerdictView>,
}

/// What somebody said of an incident or of one detection. It changes neither status nor severity.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnalystVerdictView {
    /// `malicious` or `benign`.
    #[schema(value_type = String)]
    pub label: Label,
    /// Why, in the analyst's words.
    pub reason: String,
    /// The account.
    pub analyst: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The `key` of the one detection that it is about; absent: those that had come by then.
    pub detection: Option<i64>,
}

impl From<AnalystVerdict> for AnalystVerdictView {
    fn from(said: AnalystVerdict) -> Self {
        Self {
            label: said.label,
            reason: said.reason,
            analyst: said.analyst,
            at: said.said_at,
            detection: said.detection,
        }
    }
}

/// What somebody says of an incident.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalystVerdictRequest {
    /// `malicious` or `benign`.
    #[schema(value_type = String)]
    pub label: Label,
    /// Kept beside it, and in the audit trail.
    pub reason: String,
    /// The `key` of one detection; absent: the incident as a whole.
    #[serde(default)]
    pub detection: Option<i64>,
    /// The greatest `key` among the detections that were shown; later ones are not meant. Absent: all that there are.
    #[serde(default)]
    pub through: Option<i64>,
}

/// One detection of an incident.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DetectionView {
    /// Names it.
    pub key: i64,
    /// Host's wall clock.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Tree, pid, story, verdict, decision.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub detection: Detection,
    /// The newest word of a person that covers it.
    pub analyst_verdict: Option<AnalystVerdictView>,
}

/// One detection with where and when it was: the history that rules are tried on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StoredDetection {
    /// The host.
    pub host: HostName,
    /// Its group.
    pub group: String,
    /// The incident.
    #[schema(value_type = String)]
    pub incident: IncidentId,
    /// When the controller committed it.
    #[schema(value_type = String)]
    pub received_at: Timestamp,
    /// The rest.
    #[serde(flatten)]
    pub seen: DetectionView,
}

/// One thing that was done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MeasureView {
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// In English.
    pub en: String,
    /// In Simplified Chinese.
    pub zh: String,
}

impl From<Measure> for MeasureView {
    fn from(measure: Measure) -> Self {
        Self {
            at: measure.at,
            en: measure.en,
            zh: measure.zh,
        }
    }
}

/// An incident in full.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// What lists show too.
    #[serde(flatten)]
    pub row: IncidentRow,
    /// What was seen.
    pub detections: Vec<DetectionView>,
    /// What was done, oldest first.
    pub measures: Vec<MeasureView>,
    /// What people said of it and its detections, newest first.
    pub analyst_verdicts: Vec<AnalystVerdictView>,
}

/// Why and for how long a host is to be cut off.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IsolateRequest {
    /// Goes into the signed order.
    pub reason: String,
    /// The host opens by itself after this time; 0: only a release opens it.
    pub lease_seconds: u64,
    /// Also when as many hosts of its group are isolated as its policy lets be at one time. Goes into the audit trail.
    #[serde(default)]
    pub beyond_cap: bool,
}

/// Why a host is to be opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Goes into the signed order; for a challenge, into the audit trail.
    pub reason: String,
}

/// What a host is to do to a process tree, a remote end or a file, and why.
#[derive(Deserialize, ToSchema)]
pub struct StepRequest {
    /// Goes into the signed order.
    pub reason: String,
    /// What.
    #[serde(flatten)]
    pub step: Step,
}

/// What a host is to do.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// End a process and everything that descends from it.
    KillTree {
        /// `BOOT:PID:START`, as detections name it.
        #[schema(value_type = String)]
        process: ProcessName,
    },
    /// Stop them where they stand.
    FreezeTree {
        /// `BOOT:PID:START`, as detections name it.
        #[schema(value_type = String)]
        process: ProcessName,
    },
    /// Let them go on.
    ThawTree {
        /// `BOOT:PID:START`, as detections name it.
        #[schema(value_type = String)]
        process: ProcessName,
    },
    /// Cut them off the network; they run on.
    CutOff {
        /// `BOOT:PID:START`, as detections name it.
        #[schema(value_type = String)]
        process: ProcessName,
    },
    /// Let them back.
    Rejoin {
        /// `BOOT:PID:START`, as detections name it.
        #[schema(value_type = String)]
        process: ProcessName,
    },
    /// Let nothing pass from and to a remote end.
    BlockRemote {
        /// Its address.
        #[schema(value_type = String)]
        address: IpAddr,
        /// For how long; at most a week.
        seconds: u64,
    },
    /// End that.
    UnblockRemote {
        /// Its address.
        #[schema(value_type = String)]
        address: IpAddr,
    },
    /// Take a file out of reach.
    QuarantineFile {
        /// Absolute, with no symbolic link in it.
        path: String,
        /// Its content: one that has changed is left where it is.
        #[serde(default)]
        sha256: Option<String>,
    },
    /// Put it back.
    RestoreFile {
        /// As the report of the quarantine names it.
        held: String,
    },
}

/// Why what was done is to be undone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// Goes into the signed order.
    pub reason: String,
}

/// Why a proposal is approved, or not.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// As the host reported it.
    #[schema(value_type = String)]
    pub proposal: ProposalId,
    /// Goes into the signed order; a yes may do without.
    #[serde(default)]
    pub reason: String,
}

/// What a host would do if somebody said yes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// The host.
    pub host: HostName,
    /// The incident of its process tree.
    #[schema(value_type = String)]
    pub incident: IncidentId,
    /// Id, steps, until when, and what happens then.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub proposal: Proposal,
    /// The judged process's image; endpoint text.
    pub exe: String,
    /// How probable malice is.
    pub score: f32,
    /// Why the policy asks; endpoint text.
    pub reason: String,
    /// The newest answer that is on its way or was refused.
    pub answer: Option<Answer>,
}

/// An answer to a proposal, as far as it got.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The order.
    #[schema(value_type = String)]
    pub order: OrderId,
    /// `approve` or `refuse`.
    pub verb: String,
    /// Account that answered.
    pub requested_by: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: OrderState,
}

/// What an isolated host said would open it without the controller.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ReleaseChallenge {
    /// The host.
    pub host: HostName,
    /// Its isolation.
    #[schema(value_type = String)]
    pub isolation: IsolationId,
    /// To be answered by the holder of a release key.
    pub challenge: String,
    /// The host takes no answer from then on.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
}

/// One step of an order's life.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderStep {
    /// The state that it reached.
    #[schema(value_type = String)]
    pub state: OrderState,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// What was proved, or why it failed.
    pub detail: Option<String>,
    /// The state is the host's signed word.
    pub signed: bool,
    /// It moved the order; a receipt that came too late is kept and moves nothing.
    pub moved: bool,
    /// The signed receipt.
    #[schema(value_type = Option<Object>)]
    pub receipt: Option<Envelope>,
}

/// An order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Its identity.
    #[schema(value_type = String)]
    pub id: OrderId,
    /// The host that obeys it.
    pub host: HostName,
    /// For example `isolate`, `release`, `kill_tree`.
    pub verb: String,
    /// What it is about: a process, an address, a file; empty when it is the host. May quote endpoint text.
    pub subject: String,
    /// The verb with all that belongs to it, as it was signed.
    #[schema(value_type = Object)]
    pub asks: Value,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: OrderState,
    /// Why.
    pub reason: String,
    /// Account that asked.
    pub requested_by: String,
    /// When it was signed.
    #[schema(value_type = String)]
    pub issued_at: Timestamp,
    /// The host refuses it from then on.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// Its life, oldest first.
    pub history: Vec<OrderStep>,
    /// The order that it undoes.
    #[schema(value_type = Option<String>)]
    pub undoes: Option<OrderId>,
    /// The newest order to undo it.
    pub undone_by: Option<Undo>,
    /// Whether it can be undone now.
    pub can_undo: bool,
}

/// An order that undoes another, as far as it got.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Undo {
    /// Which.
    #[schema(value_type = String)]
    pub order: OrderId,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: OrderState,
}

/// One reported record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows with the order of arrival; for paging.
    pub key: i64,
    /// Who reported it.
    pub host: HostName,
    /// In which boot.
    pub boot_id: String,
    /// Its number in that boot.
    pub sequence: u64,
    /// Host's wall clock.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// When the controller committed it.
    #[schema(value_type = String)]
    pub received_at: Timestamp,
    /// Kind of record, or `unreadable`.
    pub kind: String,
    /// The record; endpoint text.
    #[schema(value_type = Object)]
    pub body: Value,
    /// What the controller has to say about it, for example that a receipt's signature is bad.
    pub note: Option<String>,
}

/// A policy in force.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its envelope.
    pub sha256: String,
    /// When it was pushed.
    #[schema(value_type = String)]
    pub pushed_at: Timestamp,
    /// By whom.
    pub pushed_by: String,
    /// How many of `caps.hosts_at_once` are taken by hosts that are isolated or about to be; absent without that cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places_taken: Option<u32>,
    /// What it says.
    #[schema(value_type = Object)]
    pub policy: Policy,
}

/// A new join token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Group of the hosts that join with it.
    pub group: String,
    /// How many hosts may join with it.
    pub uses: u32,
    /// It ends after this time.
    pub expires_in_seconds: u64,
}

/// A join token, shown once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The secret.
    pub token: String,
    /// What to call it: not secret.
    pub name: String,
    /// Group of the hosts that join with it.
    pub group: String,
    /// How many hosts may join with it.
    pub uses: u32,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
}

/// A join token without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// What to call it.
    pub name: String,
    /// Group of the hosts that join with it.
    pub group: String,
    /// How many hosts may join with it.
    pub uses: u32,
    /// How many still can.
    pub uses_left: u32,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The name to sign in with.
    pub username: String,
    /// What it may do.
    #[schema(value_type = String)]
    pub role: Role,
}

/// A new account with its password, shown once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedUser {
    /// The name to sign in with.
    pub username: String,
    /// What it may do.
    #[schema(value_type = String)]
    pub role: Role,
    /// One-time password.
    pub password: String,
}

/// An account.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The name to sign in with.
    pub username: String,
    /// What it may do.
    #[schema(value_type = String)]
    pub role: Role,
    /// Its password was made by somebody else.
    pub must_change_password: bool,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// One entry of the audit trail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// 1, 2, 3 ...
    pub sequence: u64,
    /// When, by the controller's clock.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Account, host or `controller`.
    pub who: String,
    /// What was done.
    pub what: String,
    /// On what; may quote endpoint text.
    pub target: String,
    /// Hash of the entry before, hex.
    pub previous: String,
    /// Over all of the above, hex.
    pub hash: String,
}
