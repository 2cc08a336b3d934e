//! What the facts come to, before any language: the leading detection, its surroundings, and the
//! steps taken. All endpoint text in here is clean and bounded.

mod answered;
mod reasons;
mod standing;
mod stopped;

use cordon_behavior::story::StdioKind;
use cordon_proto::id::IsolationId;
use cordon_proto::record::{Detection, IsolationReport, IsolationState, Proposal, StopAct};
use cordon_proto::verdict::{LISTED_BY_POLICY, VerdictKind};
use jiff::Timestamp;

use crate::attack::{self, Tactic, Technique};
use crate::clean::{plain, quoted};
use crate::severity::{self, Severity, Signs};
use crate::{ApprovalFact, DetectionFact, IncidentFacts, IsolationFact, StopFact};
pub(crate) use answered::Answered;
use answered::asked;
use reasons::{decision_in_chinese, in_chinese, reasons};
pub(crate) use standing::Standing;
use standing::standing;
pub(crate) use stopped::Stopped;

const NAME_CHARS: usize = 64;
const COMMAND_CHARS: usize = 240;
const REASON_CHARS: usize = 160;
const MOST_ANCESTORS: usize = 5;
const MOST_REMOTES: usize = 4;
const MOST_REASONS: usize = 3;
const MOST_TECHNIQUES: usize = 5;
const MOST_STEPS: usize = 40;

/// Everything that the sentences are made of.
pub(crate) struct Evidence {
    pub host: String,
    pub severity: Severity,
    pub opened_at: Timestamp,
    pub detections: usize,
    pub lead: Option<Lead>,
    pub techniques: Vec<Named>,
    pub tactics: Vec<Tactic>,
    pub steps: Vec<Step>,
    pub standing: Standing,
    /// The last thing done to its processes was to kill them, and it is proved.
    pub is_killed: bool,
    /// The policy lists the program, and the last start of it was ended before its first instruction; it is proved.
    pub is_prevented: bool,
    /// The proposal that waits for an answer; of several the one that ends first.
    pub asked: Option<Proposal>,
}

/// The detection that the incident is told by: the worst, then the highest score, then the first.
pub(crate) struct Lead {
    pub at: Timestamp,
    pub process: String,
    pub command: String,
    pub pid: u32,
    pub uid: Option<u32>,
    pub euid: Option<u32>,
    pub lineage: Vec<String>,
    pub children: Vec<String>,
    pub remotes: Vec<String>,
    pub on_socket: bool,
    pub without_file: bool,
    pub kind: VerdictKind,
    /// Nobody judged: the policy lists the program.
    pub is_listed: bool,
    pub score: f32,
    pub reasons: Vec<String>,
    /// The same reasons in Chinese.
    pub reasons_zh: Vec<String>,
    pub model: String,
    pub decision: String,
    pub decision_reason: String,
    /// The same in Chinese; of agents of before in English.
    pub decision_reason_zh: String,
}

/// A technique id and, when the dictionary has them, its names.
pub(crate) struct Named {
    pub id: String,
    pub entry: Option<&'static Technique>,
}

/// One thing that was done.
pub(crate) struct Step {
    pub at: Timestamp,
    pub kind: StepKind,
}

pub(crate) enum StepKind {
    Isolated {
        micros: Option<u64>,
        lease_until: Option<Timestamp>,
        policy_version: u64,
        reason: String,
    },
    Proved {
        silent: usize,
        controller_answered: bool,
    },
    Unproven {
        leaks: Vec<String>,
    },
    Released {
        reason: String,
    },
    Failed {
        reason: String,
    },
    Stopped(Box<Stopped>),
    Answered(Box<Answered>),
}

impl Evidence {
    pub(crate) fn gather(facts: &IncidentFacts) -> Self {
        let mut detections: Vec<&DetectionFact> = facts.detections.iter().collect();
        detections.sort_by_key(|fact| fact.at);
        let lead = lead_of(&detections);
        let techniques = techniques(lead, &detections);
        let tactics = tactics(&techniques);
        let mut isolations: Vec<&IsolationFact> = facts.isolations.iter().collect();
        isolations.sort_by_key(|fact| fact.at);
        let signs = Signs {
            worst: lead.map(|fact| fact.detection.verdict.verdict),
            tactics: tactics.clone(),
            root: detections.iter().any(|fact| is_root(&fact.detection)),
            isolation_failed: isolations
                .iter()
                .any(|fact| fact.report.state == IsolationState::Failed),
        };
        Self {
            host: plain(&facts.host.name, NAME_CHARS),
            severity: severity::rank(&signs),
            opened_at: facts.opened_at,
            detections: detections.len(),
            lead: lead.map(Lead::read),
            techniques,
            tactics,
            steps: together(steps(&isolations), &facts.stops, &facts.approvals),
            asked: asked(&detections, &facts.approvals),
            standing: standing(&isolations),
            is_killed: stopped::is_last(StopAct::Killed, &facts.stops),
            is_prevented: stopped::is_last(StopAct::Prevented, &facts.stops),
        }
    }
}

fn lead_of<'a>(detections: &[&'a DetectionFact]) -> Option<&'a DetectionFact> {
    let mut lead: Option<&DetectionFact> = None;
    for fact in detections {
        let (new, old) = (&fact.detection.verdict, lead.map(|l| &l.detection.verdict));
        let worse =
            old.is_none_or(|old| (new.verdict, score(new.score)) > (old.verdict, score(old.score)));
        if worse {
            lead = Some(fact);
        }
    }
    lead
}

/// A score that is not a number sorts below all that are.
fn score(score: f32) -> i64 {
    if score.is_finite() {
        (f64::from(score) * 1e6) as i64
    } else {
        i64::MIN
    }
}

fn is_root(detection: &Detection) -> bool {
    detection
        .story
        .process
        .as_ref()
        .is_some_and(|process| process.euid == Some(0) || process.uid == Some(0))
}

fn techniques(lead: Option<&DetectionFact>, all: &[&DetectionFact]) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    for fact in lead.iter().chain(all) {
        for id in &fact.detection.verdict.techniques {
            let known = named.iter().any(|n| n.id == *id);
            if !known && attack::is_technique_id(id) && named.len() < MOST_TECHNIQUES {
                named.push(Named {
                    id: id.clone(),
                    entry: attack::technique(id),
                });
            }
        }
    }
    named
}

fn tactics(techniques: &[Named]) -> Vec<Tactic> {
    let mut tactics: Vec<Tactic> = techniques
        .iter()
        .filter_map(|named| named.entry.map(|entry| entry.tactic))
        .collect();
    tactics.sort_unstable();
    tactics.dedup();
    tactics
}

impl Lead {
    fn read(fact: &DetectionFact) -> Self {
        let detection = &fact.detection;
        let story = &detection.story;
        let process = story.process.clone().unwrap_or_default();
        let stdio = [process.stdin, process.stdout, process.stderr];
        Self {
            at: fact.at,
            process: plain(file_name(&process.exe), NAME_CHARS),
            command: command(detection),
            pid: detection.pid,
            uid: process.uid,
            euid: process.euid,
            lineage: names(story.ancestors.iter().map(|a| a.exe.as_str())),
            children: names(story.children.iter().map(|c| c.exe.as_str())),
            remotes: remotes(detection),
            on_socket: stdio.contains(&StdioKind::Socket),
            without_file: process.memfd || process.deleted_exe,
            kind: detection.verdict.verdict,
            is_listed: detection.verdict.model == LISTED_BY_POLICY,
            score: detection.verdict.score,
            reasons: reasons(detection, |reason| &reason.text),
            reasons_zh: reasons(detection, in_chinese),
            model: plain(&detection.verdict.model, NAME_CHARS),
            decision: plain(&detection.decision, NAME_CHARS),
            decision_reason: plain(&detection.decision_reason, REASON_CHARS),
            decision_reason_zh: plain(decision_in_chinese(detection), REASON_CHARS),
        }
    }
}

/// The last part of a path; the whole when there is none.
fn file_name(path: &str) -> &str {
    path.rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or(path)
}

fn command(detection: &Detection) -> String {
    let story = &detection.story;
    let text = match &story.process {
        Some(process) if !process.argv.is_empty() => process.argv.join(" "),
        Some(process) if !process.exe.is_empty() => process.exe.clone(),
        _ => story
            .command
            .clone()
            .unwrap_or_else(|| story.session.join("; ")),
    };
    quoted(&text, COMMAND_CHARS)
}

fn names<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    paths
        .filter(|path| !path.is_empty())
        .take(MOST_ANCESTORS)
        .map(|path| plain(file_name(path), NAME_CHARS))
        .collect()
}

fn remotes(detection: &Detection) -> Vec<String> {
    let mut remotes: Vec<String> = Vec::new();
    // Resolvers and clocks must not crowd out whom the attack talked to.
    let all = &detection.story.connections;
    let (tcp, other): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.protocol == "tcp");
    for connection in tcp.into_iter().chain(other) {
        if connection.direction != "out" {
            continue;
        }
        let address = plain(&connection.address, NAME_CHARS);
        let protocol = plain(&connection.protocol, 8);
        let remote = if address.contains(':') {
            format!("[{address}]:{}/{protocol}", connection.port)
        } else {
            format!("{address}:{}/{protocol}", connection.port)
        };
        if !remotes.contains(&remote) && remotes.len() < MOST_REMOTES {
            remotes.push(remote);
        }
    }
    remotes
}

fn steps(isolations: &[&IsolationFact]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut begun: Vec<IsolationId> = Vec::new();
    let mut last: Option<(IsolationId, IsolationState)> = None;
    for fact in isolations {
        let report = &fact.report;
        // The agent repeats its state after a restart; that is not another measure.
        if last == Some((report.id, report.state)) {
            continue;
        }
        last = Some((report.id, report.state));
        let shut = matches!(
            report.state,
            IsolationState::Applied | IsolationState::Confirmed | IsolationState::Unproven
        );
        if shut && !begun.contains(&report.id) {
            begun.push(report.id);
            steps.push(Step {
                at: fact.at,
                kind: isolated(report, isolations),
            });
        }
        if let Some(kind) = outcome(report) {
            steps.push(Step { at: fact.at, kind });
        }
    }
    steps
}

/// All in the order of their time. Of one time the answer comes first and then the processes, as on the host.
fn together(mut steps: Vec<Step>, processes: &[StopFact], answers: &[ApprovalFact]) -> Vec<Step> {
    let told = processes.iter().map(|fact| Step {
        at: fact.at,
        kind: StepKind::Stopped(Box::new(Stopped::read(fact))),
    });
    let answered = answers.iter().map(|fact| Step {
        at: fact.at,
        kind: StepKind::Answered(Box::new(Answered::read(fact))),
    });
    steps.splice(0..0, answered.chain(told));
    steps.sort_by_key(|step| step.at);
    steps.truncate(MOST_STEPS);
    steps
}

fn isolated(report: &IsolationReport, isolations: &[&IsolationFact]) -> StepKind {
    // The agent measures while it applies and may tell with the proof only.
    let micros = isolations
        .iter()
        .filter(|fact| fact.report.id == report.id)
        .find_map(|fact| fact.report.event_to_drop_micros);
    StepKind::Isolated {
        micros,
        lease_until: report.lease_expires_at,
        policy_version: report.policy_version,
        reason: plain(&report.reason, REASON_CHARS),
    }
}

fn outcome(report: &IsolationReport) -> Option<StepKind> {
    let reason = plain(&report.reason, REASON_CHARS);
    match report.state {
        IsolationState::Applied => None,
        IsolationState::Confirmed => Some(StepKind::Proved {
            silent: report
                .probes
                .iter()
                .filter(|probe| !probe.expected && !probe.reached)
                .count(),
            controller_answered: report
                .probes
                .iter()
                .any(|probe| probe.expected && probe.reached),
        }),
        IsolationState::Unproven => Some(StepKind::Unproven {
            leaks: report
                .probes
                .iter()
                .filter(|probe| probe.reached != probe.expected)
                .take(MOST_REMOTES)
                .map(|probe| plain(&probe.target, NAME_CHARS))
                .collect(),
        }),
        IsolationState::Released => Some(StepKind::Released { reason }),
        IsolationState::Failed => Some(StepKind::Failed { reason }),
    }
}
