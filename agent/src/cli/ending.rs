//! `stop` and `uninstall`, by root at the machine: what ends the agent by leave.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cordon_contain::{Blocks, Held, Quarantine};
use cordon_proto::record::{AgentAct, AgentReport, QuarantineAct, RecordBody, ReleaseChallenge};
use jiff::Timestamp;
use serde_json::json;

use super::hands_on::{
    record, rejoin_directly, tell, thaw_directly, unblock_directly, without_agent,
};
use super::output::{Output, plain};
use super::{FAILED, quarantine, status};
use crate::config::Config;
use crate::daemon;
use crate::engine::{ISOLATED, guess};
use crate::guard;
use crate::identity::Identity;
use crate::last_word;
use crate::local::{self, Answer, LocalError, Question};
use crate::policy_store::PolicyStore;
use crate::stop_codes::{self, NEEDS_CODE, StopCodes};

/// The daemon takes a few seconds to put away what it has.
const END_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the controller may take to have what waits in the outbox of a host that the agent leaves.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);
const SYSTEMD: &str = "/run/systemd/system";
/// Those of the package that can be enabled.
const UNITS: [&str; 3] = [
    "cordon-agent.service",
    "cordon-agent-restore.service",
    "cordon-agent-quarantine.socket",
];

/// By whose leave.
#[derive(Debug, clap::Args)]
pub(super) struct Leave {
    /// Why; it is reported.
    #[arg(long)]
    reason: Option<String>,
    /// A code from `cordonctl stop-code`, for the challenge that is shown without one. Dashes and case do not matter.
    #[arg(long)]
    code: Option<String>,
}

/// What becomes of what the agent holds.
#[derive(Debug, clap::Args)]
pub(super) struct Uninstall {
    #[command(flatten)]
    leave: Leave,
    /// Destroy the files that are held in quarantine; else they stay, and are listed.
    #[arg(long)]
    delete_quarantine: bool,
}

impl Leave {
    fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }

    fn question(&self, removes: bool) -> Question {
        Question::Stop {
            reason: self.reason().to_owned(),
            code: self.code.clone(),
            removes,
        }
    }
}

pub(super) fn stop(config: &Config, leave: &Leave, out: &Output) -> Result<ExitCode> {
    let answer = match local::ask(&config.socket(), &leave.question(false)) {
        Err(LocalError::NotRunning(_)) => done("the agent is not running".to_owned()),
        answer => answer?,
    };
    match &answer {
        Answer::NeedsCode { challenge, detail } => show(challenge, detail, "stop", out),
        Answer::Done { .. } => {
            drop(wait_for_its_end(config)?);
            tell(&answer, out)
        }
        _ => tell(&answer, out),
    }
}

pub(super) fn uninstall(config: &Config, wanted: &Uninstall, out: &Output) -> Result<ExitCode> {
    let Uninstall {
        leave,
        delete_quarantine,
    } = wanted;
    let is_isolated = status::isolation_on_disk(config)?.is_some()
        || cordon_contain::is_isolated_in_kernel().context("run as root")?;
    if is_isolated {
        return tell(&failed(ISOLATED.to_owned()), out);
    }
    let answer = match local::ask(&config.socket(), &leave.question(true)) {
        Err(LocalError::NotRunning(_)) => undo_directly(config, leave)?,
        answer => answer?,
    };
    let detail = match &answer {
        Answer::NeedsCode { challenge, detail } => {
            return show(challenge, detail, "uninstall", out);
        }
        Answer::Done { detail, .. } => detail.clone(),
        _ => return tell(&answer, out),
    };
    // Held until all is done: nobody is to start it meanwhile.
    let _lock = wait_for_its_end(config)?;
    let held = quarantined(config, *delete_quarantine, leave.reason())?;
    disable_units();
    let unsent = last_word::deliver(config, DELIVERY_LIMIT);
    let left = cordon_contain::leftovers()?;
    let object = json!({
        "done": left.is_empty(), "detail": detail, "left": left, "held": held,
        "unsent": unsent.as_ref().ok(),
    });
    out.say(&object, || {
        let unsent = unsent.map_err(|error| crate::chain(error.as_ref()));
        in_words(config, &detail, &left, &held, &unsent)
    })?;
    Ok(ExitCode::from(if left.is_empty() { 0 } else { FAILED }))
}

fn in_words(
    config: &Config,
    detail: &str,
    left: &[String],
    held: &[Held],
    unsent: &Result<u64, String>,
) -> String {
    let state_dir = config.state_dir.display();
    let mut lines = vec![plain(detail)];
    lines.extend(
        left.iter()
            .map(|what| format!("still in the kernel: {what}")),
    );
    lines.extend(held.iter().map(|held| {
        let path = plain(&held.path.display().to_string());
        format!("still held: {} {path}", held.id)
    }));
    lines.push(match unsent {
        Ok(0) => "the controller knows".to_owned(),
        Ok(count) => {
            format!("{count} records wait in {state_dir} that the controller did not take")
        }
        Err(why) => format!("the controller could not be told: {}", plain(why)),
    });
    lines.push(format!(
        "what is left are files: remove the package, and {state_dir} with identity, outbox and quarantine"
    ));
    lines.join("\n")
}

/// The challenge has a line of its own: it fills one of a console.
fn show(
    challenge: &ReleaseChallenge,
    detail: &str,
    command: &str,
    out: &Output,
) -> Result<ExitCode> {
    let ReleaseChallenge {
        challenge,
        expires_at,
    } = challenge;
    let object = json!({
        "done": false, "needs": "stop_code", "challenge": challenge, "expires_at": expires_at, "detail": detail,
    });
    out.say(&object, || {
        format!(
            "not done: {detail}\n\n{}\n\n\
             Then: cordon-agent {command} --reason TEXT --code CODE\n\
             The challenge is good until {expires_at}; then another one is shown.",
            plain(challenge)
        )
    })?;
    Ok(ExitCode::from(FAILED))
}

/// The lock that a daemon holds, as soon as none does.
fn wait_for_its_end(config: &Config) -> Result<impl Drop> {
    let until = Instant::now() + END_LIMIT;
    loop {
        match daemon::claim(&config.run_dir) {
            Ok(lock) => return Ok(lock),
            Err(error) if Instant::now() >= until => {
                return Err(error).context("the agent said that it stops, and still runs");
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// The same as the daemon does, while none runs.
fn undo_directly(config: &Config, leave: &Leave) -> Result<Answer> {
    let _lock = daemon::claim(&config.run_dir)?;
    let identity = Identity::load(&config.state_dir).ok();
    let store = identity
        .as_ref()
        .map(|identity| PolicyStore::load(&config.state_dir, identity));
    let policy = store.as_ref().and_then(PolicyStore::policy);
    let mut codes = identity
        .as_ref()
        .map(|identity| StopCodes::load(&config.state_dir, identity.host));
    let keys = stop_codes::keys(policy).zip(codes.as_mut());
    let by = match (keys, &leave.code) {
        (None, _) if leave.reason().is_empty() => {
            return Ok(failed("say why: --reason TEXT".to_owned()));
        }
        (None, _) => without_agent(leave.reason()),
        (Some((keys, codes)), None) => {
            return Ok(Answer::NeedsCode {
                challenge: codes.challenge(keys, Timestamp::now()),
                detail: NEEDS_CODE.to_owned(),
            });
        }
        (Some((keys, codes)), Some(code)) => match codes.admit(code, keys, Timestamp::now()) {
            Ok(holder) => stop_codes::leave_of(&holder, leave.reason()),
            Err(refusal) => {
                if let Some(what) = refusal.report() {
                    record(config, guess(what))?;
                }
                return Ok(failed(crate::chain(&refusal)));
            }
        },
    };
    let mut left = Vec::new();
    let mut keep = |answer: Answer| {
        if let Answer::Failed { detail } = answer {
            left.push(detail);
        }
    };
    keep(thaw_directly(config, &by)?);
    keep(rejoin_directly(config, &by)?);
    let blocks = Blocks::open(&config.state_dir)?;
    for block in blocks.in_force(Timestamp::now())? {
        keep(unblock_directly(config, block.address, &by)?);
    }
    // A table that nobody has on disk goes too, and what a daemon that was killed kept for the next one.
    blocks.repair(Timestamp::now())?;
    if let Some(identity) = &identity {
        drop(cordon_sensor::signals_left_at(&guard::pin_of(
            identity.host,
        )));
    }
    let mut detail = "nothing that the agent did is in force".to_owned();
    let mut reason = by;
    if !left.is_empty() {
        let left = left.join("; ");
        detail = format!("not undone: {left}");
        reason = format!("{reason}; not undone: {left}");
    }
    record(
        config,
        RecordBody::Agent(AgentReport {
            act: AgentAct::Removed,
            reason,
            policy_version: store.as_ref().map_or(0, PolicyStore::version),
        }),
    )?;
    Ok(done(detail))
}

/// What is still held.
fn quarantined(config: &Config, is_deleted: bool, reason: &str) -> Result<Vec<Held>> {
    let quarantine = Quarantine::open(&config.state_dir)?;
    let mut held = quarantine.list()?;
    if is_deleted {
        for one in &held {
            quarantine.delete(&one.id)?;
            let reason = format!("the agent is taken off this host: {reason}");
            quarantine::tell(config, one, QuarantineAct::Deleted, &reason);
        }
        held.clear();
    }
    Ok(held)
}

/// Else the next boot starts it again. Where they were never installed there is nothing to disable.
fn disable_units() {
    if !Path::new(SYSTEMD).exists() {
        return;
    }
    let done = Command::new("systemctl")
        .arg("disable")
        .args(UNITS)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if !done.is_ok_and(|status| status.success()) {
        let units = UNITS.join(" ");
        eprintln!("warning: the units may start it again: systemctl disable {units}");
    }
}

fn done(detail: String) -> Answer {
    let isolation = None;
    Answer::Done { detail, isolation }
}

fn failed(detail: String) -> Answer {
    Answer::Failed { detail }
}
