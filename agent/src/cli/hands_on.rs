//! `isolate` and `release`, by root at the machine.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cordon_contain::{Containment, IsolationSpec};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::record::{IsolationReport, IsolationState, Record, RecordBody};
use cordon_spool::{Class, Options, Spool};
use jiff::Timestamp;
use serde_json::json;

use super::FAILED;
use super::output::{Output, plain};
use crate::config::Config;
use crate::daemon;
use crate::host::HostFacts;
use crate::local::{self, Answer, LocalError, Question};
use crate::recorder;

pub(super) fn isolate(
    config: &Config,
    reason: String,
    lease_seconds: Option<u64>,
    out: &Output,
) -> Result<ExitCode> {
    let question = Question::Isolate {
        reason,
        lease_seconds,
    };
    tell(&local::ask(&config.socket(), &question)?, out)
}

pub(super) fn release(config: &Config, reason: &str, out: &Output) -> Result<ExitCode> {
    let question = Question::Release {
        reason: reason.to_owned(),
    };
    match local::ask(&config.socket(), &question) {
        Err(LocalError::NotRunning(_)) => release_directly(config, reason, out),
        answer => tell(&answer?, out),
    }
}

fn tell(answer: &Answer, out: &Output) -> Result<ExitCode> {
    match answer {
        Answer::Done { detail, isolation } => {
            let object = json!({ "done": true, "detail": detail, "isolation": isolation });
            out.say(&object, || plain(detail))?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Failed { detail } => {
            out.say(&json!({ "done": false, "detail": detail }), || {
                format!("not done: {}", plain(detail))
            })?;
            Ok(ExitCode::from(FAILED))
        }
        Answer::Status(_) => anyhow::bail!("the agent answered another question"),
    }
}

/// The way back when the daemon does not run. The controller hears of it when the daemon runs again.
fn release_directly(config: &Config, reason: &str, out: &Output) -> Result<ExitCode> {
    let containment = Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?;
    let released = containment.release().context("the host is not open")?;
    let reason = format!("{reason} (at the machine, the agent was not running)");
    let recorded = released
        .as_ref()
        .map(|spec| record_release(config, spec, reason));
    if let Some(Err(error)) = recorded {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: the host is open, but the release could not be recorded: {why}");
    }
    let detail = match &released {
        Some(spec) => format!("the host is open; isolation {} is over", spec.id),
        None => "the host is open; no isolation was on disk".to_owned(),
    };
    let isolation = released.map(|spec| spec.id);
    let object = json!({ "done": true, "detail": detail, "isolation": isolation });
    out.say(&object, || detail.clone())?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a release into the outbox while no daemon holds it.
pub(super) fn record_release(config: &Config, spec: &IsolationSpec, reason: String) -> Result<()> {
    let facts = HostFacts::read()?;
    let options = Options {
        max_bytes: config.spool_max_bytes,
    };
    let spool = Spool::open(&daemon::spool_dir(config), &facts.boot_id, options)?;
    let report = IsolationReport {
        id: spec.id,
        state: IsolationState::Released,
        reason,
        tree: spec.tree.clone(),
        lease_expires_at: spec.lease_expires_at,
        rules_sha256: None,
        probes: Vec::new(),
        event_to_drop_micros: None,
        policy_version: spec.policy_version,
    };
    let record = Record {
        at: Timestamp::now(),
        body: RecordBody::Isolation(Box::new(report)),
    };
    spool.append(Class::Evidence, &recorder::to_json(&record))?;
    Ok(())
}
