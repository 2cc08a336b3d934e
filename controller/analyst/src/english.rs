//! The write-up in English.

mod approval;
mod listed;

use cordon_proto::record::StopAct;
use cordon_proto::verdict::VerdictKind;
use jiff::Timestamp;

use crate::attack::Tactic;
use crate::evidence::{Evidence, Lead, Named, Standing, Step, StepKind, Stopped};
use crate::{Measure, Text};
use approval::{how_it_ended, what_is_asked};

pub(crate) fn text(evidence: &Evidence, measures: &[Measure]) -> Text {
    Text {
        title: title(evidence),
        summary: summary(evidence),
        risk: risk(evidence),
        measures: measures
            .iter()
            .map(|measure| format!("{}: {}", time(measure.at), measure.en))
            .collect(),
        advice: advice(evidence),
    }
}

pub(crate) fn measure(step: &Step) -> String {
    match &step.kind {
        StepKind::Isolated {
            micros,
            lease_until,
            policy_version,
            reason,
        } => {
            let speed =
                micros.map_or_else(String::new, |m| format!(" {} after the event", duration(m)));
            let by = match policy_version {
                0 => "by a person at the host".to_owned(),
                version => format!("under policy version {version}"),
            };
            let lease = lease_until.map_or_else(
                || "no lease: only a release opens it".to_owned(),
                |until| format!("lease until {}", time(until)),
            );
            format!("host isolated{speed}, {by}; {lease}; reason: {reason}")
        }
        StepKind::Proved {
            silent,
            controller_answered,
        } => {
            let controller = if *controller_answered {
                "the controller answers the agent"
            } else {
                "the controller was not reachable before either"
            };
            format!(
                "isolation proved: {silent} forbidden {} got no answer, {controller}",
                plural(*silent, "probe")
            )
        }
        StepKind::Unproven { leaks } if leaks.is_empty() => {
            "isolation in place but not proved; the host stays shut".to_owned()
        }
        StepKind::Unproven { leaks } => format!(
            "isolation in place but not proved ({}); the host stays shut",
            leaks.join(", ")
        ),
        StepKind::Released { reason } => format!("host opened again: {reason}"),
        StepKind::Failed { reason } => format!("isolation failed, the host is open: {reason}"),
        StepKind::Stopped(stopped) => processes(stopped),
        StepKind::Answered(answered) => how_it_ended(answered),
    }
}

fn processes(stopped: &Stopped) -> String {
    let act = match stopped.act {
        StopAct::Frozen => "frozen",
        StopAct::Killed => "killed",
        StopAct::Thawed => "let go on",
        StopAct::CutOff => "cut off the network",
        StopAct::Rejoined => "let back to the network",
        StopAct::Prevented => "kept from running",
    };
    let by = match stopped.policy_version {
        0 => "by a person at the host".to_owned(),
        version => format!("under policy version {version}"),
    };
    let names = match stopped.names.as_slice() {
        [] => String::new(),
        names => format!(" ({})", names.join(", ")),
    };
    let speed = stopped
        .micros
        .map(|m| format!(" {} after the event", duration(m)));
    let (count, speed) = (stopped.count, speed.unwrap_or_default());
    let noun = if count == 1 { "process" } else { "processes" };
    let mut parts = vec![format!("{count} {noun} {act}{names}{speed}, {by}")];
    parts.extend(outcome(stopped, act));
    let spared = stopped.spared.iter();
    parts.extend(spared.map(|(name, why)| format!("left alone: {name} ({why})")));
    parts.push(format!("reason: {}", stopped.reason));
    parts.join("; ")
}

fn outcome(stopped: &Stopped, act: &str) -> Option<String> {
    if !stopped.survivors.is_empty() {
        return Some(format!("NOT {act}: {}", stopped.survivors.join(", ")));
    }
    let said = match (stopped.act, stopped.proved) {
        (StopAct::Thawed | StopAct::Rejoined, _) => return None,
        (StopAct::Prevented, true) => "proved: ended before the first instruction",
        (StopAct::Prevented, false) => "not proved that nothing of it ran",
        (StopAct::CutOff, true) => {
            "proved: nothing of theirs leaves, and there is nobody else of this tree"
        }
        (StopAct::CutOff, false) => "not proved that nothing of theirs leaves",
        (_, true) => "proved: there is nobody else of this tree",
        (_, false) => "not proved that there is nobody else of this tree",
    };
    Some(said.to_owned())
}

fn title(evidence: &Evidence) -> String {
    let host = &evidence.host;
    let Some(lead) = &evidence.lead else {
        return match evidence.standing {
            Standing::Failed => format!("Isolation of {host} failed"),
            _ => format!("{host} was isolated without a detection"),
        };
    };
    if lead.is_listed {
        return listed::title(host, lead);
    }
    let what = match lead.kind {
        VerdictKind::Malicious => "Malicious behaviour",
        VerdictKind::Suspicious => "Suspicious behaviour",
        VerdictKind::Benign => "Reported behaviour",
        VerdictKind::NotEvaluable => "Behaviour that could not be judged",
    };
    let of = if lead.process.is_empty() {
        String::new()
    } else {
        format!(" of {}", lead.process)
    };
    let waits = evidence.asked.as_ref().map_or_else(String::new, |asked| {
        format!(": waits for approval until {}", time(asked.expires_at))
    });
    format!("{what}{of} on {host}{waits}")
}

fn summary(evidence: &Evidence) -> String {
    let Some(lead) = &evidence.lead else {
        return format!(
            "The host {} was isolated at {} without a detection behind it.",
            evidence.host,
            time(evidence.opened_at)
        );
    };
    let mut sentences = vec![what_ran(evidence, lead), how_it_was_judged(lead)];
    if !lead.reasons.is_empty() {
        sentences.push(format!("What weighed most: {}.", lead.reasons.join(", ")));
    }
    if !evidence.techniques.is_empty() {
        let named: Vec<String> = evidence.techniques.iter().map(technique).collect();
        sentences.push(format!("It matches ATT&CK {}.", named.join("; ")));
    }
    if evidence.detections > 1 {
        sentences.push(format!(
            "{} detections belong to this process tree.",
            evidence.detections
        ));
    }
    sentences.push(format!(
        "The policy's answer: {} ({}).",
        lead.decision.replace('_', " "),
        lead.decision_reason
    ));
    sentences.join(" ")
}

fn what_ran(evidence: &Evidence, lead: &Lead) -> String {
    let mut parts = vec![format!(
        "At {} on {}, {} {}",
        time(lead.at),
        evidence.host,
        lead.command,
        if evidence.is_prevented {
            "was started"
        } else {
            "ran"
        }
    )];
    parts.push(format!(" (pid {}{})", lead.pid, user(lead)));
    if !lead.lineage.is_empty() {
        parts.push(format!(", started by {}", lead.lineage.join(" under ")));
    }
    if lead.on_socket {
        parts.push(", with its input or output on a network socket".to_owned());
    }
    if lead.without_file {
        parts.push(", from a program that is not on disk".to_owned());
    }
    if !lead.remotes.is_empty() {
        parts.push(format!(", and connected to {}", lead.remotes.join(", ")));
    }
    if !lead.children.is_empty() {
        parts.push(format!("; it started {}", lead.children.join(", ")));
    }
    parts.push(".".to_owned());
    parts.concat()
}

fn user(lead: &Lead) -> String {
    match (lead.uid, lead.euid) {
        (Some(uid), Some(euid)) if uid != euid => format!(", uid {uid} acting as {euid}"),
        (Some(uid), _) | (None, Some(uid)) => format!(", uid {uid}"),
        (None, None) => String::new(),
    }
}

fn how_it_was_judged(lead: &Lead) -> String {
    match lead.kind {
        _ if lead.is_listed => listed::HOW_IT_WAS_JUDGED.to_owned(),
        VerdictKind::NotEvaluable => format!(
            "The model {} could not judge it: telemetry is missing, which says nothing for or against it.",
            lead.model
        ),
        kind => format!(
            "The model {} on the host gives it a probability of malice of {:.2}: {}.",
            lead.model,
            lead.score,
            match kind {
                VerdictKind::Malicious => "malicious",
                VerdictKind::Suspicious => "suspicious",
                VerdictKind::Benign | VerdictKind::NotEvaluable => "below every threshold",
            }
        ),
    }
}

fn technique(named: &Named) -> String {
    named.entry.map_or_else(
        || named.id.clone(),
        |entry| format!("{} ({})", entry.en, named.id),
    )
}

fn risk(evidence: &Evidence) -> String {
    let Some(lead) = &evidence.lead else {
        return "Unknown: nothing was detected. The host cannot do its work while it is isolated."
            .to_owned();
    };
    if lead.kind == VerdictKind::NotEvaluable {
        return "Unknown: what happened could not be judged. That is no sign of safety.".to_owned();
    }
    if lead.is_listed && evidence.is_prevented {
        return listed::RISK.to_owned();
    }
    let mut sentences: Vec<String> = Vec::new();
    if !lead.remotes.is_empty()
        && (lead.on_socket || evidence.tactics.contains(&Tactic::CommandAndControl))
    {
        sentences.push(format!(
            "Whoever is at {} could run commands on this host{}.",
            lead.remotes[0],
            if is_root(lead) { " as root" } else { "" }
        ));
    } else if is_root(lead) {
        sentences.push("The process had root's rights: every file and secret of this host was within its reach.".to_owned());
    }
    sentences.extend(
        evidence
            .tactics
            .iter()
            .filter_map(|t| tactic_risk(*t))
            .map(str::to_owned),
    );
    if sentences.is_empty() {
        sentences
            .push("What the process did fits an attack; its goal is not known yet.".to_owned());
    }
    sentences.push(
        match evidence.standing {
            Standing::Shut { proved: true, .. } => "The host is cut off, so it cannot spread from here; what was reached before stays reached.",
            Standing::Shut { proved: false, .. } => "The host was cut off, but that is not proved: treat it as open.",
            Standing::Released => "The host is open again.",
            Standing::Failed if evidence.is_killed => "The isolation failed: the host is open, but the processes were killed.",
            Standing::NeverIsolated if evidence.is_killed => "The processes were killed and the host is open; what was reached before stays reached.",
            Standing::Failed => "The isolation failed: the host is open and the process may still be active.",
            Standing::NeverIsolated => "The host is open and the process may still be active.",
        }
        .to_owned(),
    );
    sentences.join(" ")
}

fn is_root(lead: &Lead) -> bool {
    lead.euid.or(lead.uid) == Some(0)
}

fn tactic_risk(tactic: Tactic) -> Option<&'static str> {
    Some(match tactic {
        Tactic::Persistence => "It may come back after a reboot or a new login.",
        Tactic::PrivilegeEscalation => "It may have gained rights that it was not given.",
        Tactic::DefenseEvasion => "It may have removed or disguised its traces.",
        Tactic::CredentialAccess => {
            "Passwords, keys and tokens on this host may be known to others."
        }
        Tactic::LateralMovement => "Other hosts may already be affected.",
        Tactic::Collection | Tactic::Exfiltration => "Data may have left this host.",
        Tactic::Impact => "Data or services of this host may be damaged.",
        Tactic::InitialAccess
        | Tactic::Execution
        | Tactic::Discovery
        | Tactic::CommandAndControl => return None,
    })
}

fn advice(evidence: &Evidence) -> Vec<String> {
    let mut advice: Vec<String> = evidence.asked.iter().map(what_is_asked).collect();
    advice.push(match evidence.standing {
        Standing::Shut { proved: true, lease_until: Some(until) } => format!(
            "Keep the host isolated until the cause is known; it opens by itself at {}, so isolate again before then if you need longer.",
            time(until)
        ),
        Standing::Shut { proved: true, lease_until: None } => {
            "Keep the host isolated until the cause is known; only a release opens it.".to_owned()
        }
        Standing::Shut { proved: false, .. } => {
            "Check from the network's side whether the host is really cut off.".to_owned()
        }
        Standing::Failed => {
            "Cut the host off by other means now, for example at its switch port, and see `cordon-agent doctor` for why isolation failed.".to_owned()
        }
        Standing::NeverIsolated if evidence.is_prevented => listed::ADVICE.to_owned(),
        Standing::NeverIsolated if evidence.severity >= crate::Severity::High => {
            "Isolate the host now unless you know this work.".to_owned()
        }
        Standing::NeverIsolated | Standing::Released => {
            "Watch the host for further detections.".to_owned()
        }
    });
    let Some(lead) = &evidence.lead else {
        advice.push("Ask whoever isolated it why, then release it.".to_owned());
        return advice;
    };
    if !lead.lineage.is_empty() {
        advice.push(format!(
            "Find the way in: look at the logs of {} around {}.",
            lead.lineage.last().map_or("", String::as_str),
            time(lead.at)
        ));
    }
    if !lead.remotes.is_empty() {
        advice.push(format!(
            "Look for other hosts that talked to {}, and block it at the border.",
            lead.remotes.join(", ")
        ));
    }
    let had_rights = is_root(lead) && !evidence.is_prevented;
    if had_rights || evidence.tactics.contains(&Tactic::CredentialAccess) {
        advice.push("Replace the passwords, keys and tokens that were on this host.".to_owned());
    }
    if matches!(evidence.standing, Standing::Shut { .. }) {
        advice.push(
            "If this was planned work, release the host and give that as the reason.".to_owned(),
        );
    }
    advice
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        noun.to_owned()
    } else {
        format!("{noun}s")
    }
}
