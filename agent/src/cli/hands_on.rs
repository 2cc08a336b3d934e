//! `isolate`, `release`, `thaw`, `cut-off`, `rejoin` and `unblock`, by root at the machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cordon_contain::{Blocks, Containment, IsolationSpec};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::envelope::Envelope;
use cordon_proto::record::{
    IsolationReport, IsolationState, Record, RecordBody, StopAct, TamperReport,
};
use cordon_spool::{Class, Options, Spool};
use jiff::Timestamp;
use serde_json::json;

use super::FAILED;
use super::output::{Output, plain};
use crate::config::Config;
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::local::{self, Answer, LocalError, Question};
use crate::policy_store::PolicyStore;
use crate::recorder;
use crate::release_codes::{NEEDS_PERMIT, Permit, ReleaseCodes, root_may_release};
use crate::{blocking, daemon, durable, engine, proposals, stopping};

const MAX_FILE_BYTES: u64 = 16 << 10;

/// How this host is to be opened.
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// Why; it is reported.
    #[arg(long, required_unless_present = "file")]
    reason: Option<String>,
    /// A code from `cordonctl release-code`, for the challenge that `status` shows. Dashes and case do not matter.
    #[arg(long)]
    code: Option<String>,
    /// A signed release file from `cordonctl release-code --file`, with the reason in it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["code", "reason"])]
    file: Option<PathBuf>,
}

impl Release {
    fn question(self) -> Result<Question> {
        let reason = self.reason.unwrap_or_default();
        let permit = match (self.code, self.file) {
            (None, None) => return Ok(Question::Release { reason }),
            (Some(code), _) => Permit::Code { code, reason },
            (None, Some(file)) => Permit::File(read(&file)?),
        };
        Ok(Question::ReleaseBy { permit })
    }
}

fn read(file: &Path) -> Result<Envelope> {
    let json = durable::read(file, MAX_FILE_BYTES)?;
    let json = json.with_context(|| format!("there is no file {}", file.display()))?;
    Envelope::from_json(&json).with_context(|| format!("{} is not a release file", file.display()))
}

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

pub(super) fn release(config: &Config, way: Release, out: &Output) -> Result<ExitCode> {
    let question = way.question()?;
    match local::ask(&config.socket(), &question) {
        Err(LocalError::NotRunning(_)) => tell(&release_directly(config, &question)?, out),
        answer => tell(&answer?, out),
    }
}

pub(super) fn thaw(config: &Config, reason: &str, out: &Output) -> Result<ExitCode> {
    let question = Question::Thaw {
        reason: reason.to_owned(),
    };
    match local::ask(&config.socket(), &question) {
        Err(LocalError::NotRunning(_)) => tell(&thaw_directly(config, reason)?, out),
        answer => tell(&answer?, out),
    }
}

pub(super) fn thaw_directly(config: &Config, reason: &str) -> Result<Answer> {
    let thawed = stopping::trees(&config.state_dir).thaw();
    let thawed = thawed.context("cannot tell who is frozen: run as root")?;
    let report = stopping::report(StopAct::Thawed, &thawed, without_agent(reason));
    let answer = stopping::answer(&report);
    if report.count > 0
        && let Err(error) = record(config, RecordBody::Stop(Box::new(report)))
    {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: they go on, but that could not be recorded: {why}");
    }
    Ok(answer)
}

pub(super) fn cut_off(config: &Config, pid: u32, reason: String, out: &Output) -> Result<ExitCode> {
    let question = Question::CutOff { pid, reason };
    tell(&local::ask(&config.socket(), &question)?, out)
}

pub(super) fn rejoin(config: &Config, reason: &str, out: &Output) -> Result<ExitCode> {
    let question = Question::Rejoin {
        reason: reason.to_owned(),
    };
    match local::ask(&config.socket(), &question) {
        Err(LocalError::NotRunning(_)) => tell(&rejoin_directly(config, reason)?, out),
        answer => tell(&answer?, out),
    }
}

pub(super) fn rejoin_directly(config: &Config, reason: &str) -> Result<Answer> {
    let back = stopping::cuts(&config.state_dir)?.rejoin();
    let back = back.context("cannot tell who is cut off: run as root")?;
    let report = stopping::report(StopAct::Rejoined, &back, without_agent(reason));
    let answer = stopping::answer_about_cut(&report);
    if stopping::is_news(&report)
        && let Err(error) = record(config, RecordBody::Stop(Box::new(report)))
    {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: they are back on the network, but that could not be recorded: {why}");
    }
    Ok(answer)
}

pub(super) fn unblock(
    config: &Config,
    address: IpAddr,
    reason: &str,
    out: &Output,
) -> Result<ExitCode> {
    let question = Question::Unblock {
        address,
        reason: reason.to_owned(),
    };
    match local::ask(&config.socket(), &question) {
        Err(LocalError::NotRunning(_)) => tell(&unblock_directly(config, address, reason)?, out),
        answer => tell(&answer?, out),
    }
}

pub(super) fn unblock_directly(config: &Config, address: IpAddr, reason: &str) -> Result<Answer> {
    let blocks = Blocks::open(&config.state_dir)?;
    let (answer, report) = blocking::unblock(&blocks, address, &without_agent(reason));
    if let Some(report) = report
        && let Err(error) = record(config, RecordBody::Block(Box::new(report)))
    {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: it can be reached, but that could not be recorded: {why}");
    }
    Ok(answer)
}

pub(super) fn without_agent(reason: &str) -> String {
    format!("at the machine, the agent was not running: {reason}")
}

pub(super) fn tell(answer: &Answer, out: &Output) -> Result<ExitCode> {
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
        Answer::Status(_) | Answer::NeedsCode { .. } => {
            anyhow::bail!("the agent answered another question")
        }
    }
}

/// The way back when the daemon does not run. The controller hears of it when the daemon runs again.
fn release_directly(config: &Config, question: &Question) -> Result<Answer> {
    let containment = Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?;
    let isolation = containment.current();
    let allowed = match question {
        Question::ReleaseBy { permit } => admit(config, isolation.as_ref(), permit)?,
        Question::Release { reason } => by_root(config, isolation.as_ref(), reason),
        Question::Status
        | Question::Isolate { .. }
        | Question::Thaw { .. }
        | Question::CutOff { .. }
        | Question::Rejoin { .. }
        | Question::Quarantined { .. }
        | Question::Stop { .. }
        | Question::Unblock { .. } => {
            anyhow::bail!("not a release")
        }
    };
    let reason = match allowed {
        Ok(reason) => reason,
        Err(detail) => return Ok(Answer::Failed { detail }),
    };
    let opened = containment.release().context("the host is not open")?;
    let released = opened.spec;
    if let Err(error) = withdraw_proposals(config) {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: the host is open, but what was proposed before may wait on: {why}");
    }
    let recorded = released
        .as_ref()
        .map(|spec| record(config, self::released(spec, reason)));
    if let Some(Err(error)) = recorded {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: the host is open, but the release could not be recorded: {why}");
    }
    let over = match &released {
        Some(spec) => format!("isolation {} is over", spec.id),
        None => "no isolation was on disk".to_owned(),
    };
    let until = opened.still_on_disk.as_ref().map_or_else(String::new, |error| {
        let why = crate::chain(error);
        format!(
            "; a restart of agent or host shuts it again until this is mended and `release` is given once more: {why}"
        )
    });
    let detail = format!("the host is open; {over}{until}");
    let isolation = released.map(|spec| spec.id);
    Ok(Answer::Done { detail, isolation })
}

/// Whoever opened the host has decided about what waits for a yes.
fn withdraw_proposals(config: &Config) -> Result<()> {
    let withdrawn = engine::withdrawn(Timestamp::now());
    let reports = proposals::withdraw(&config.state_dir, &withdrawn)?;
    let mut reports = reports.into_iter();
    reports.try_for_each(|report| record(config, RecordBody::Approval(Box::new(report))))
}

/// The reason to record, or why it is refused. A policy or an isolation that cannot be read keeps no owner out: there
/// would be no challenge to answer.
fn by_root(
    config: &Config,
    isolation: Option<&IsolationSpec>,
    reason: &str,
) -> Result<String, String> {
    let identity = Identity::load(&config.state_dir).ok();
    let store = identity.map(|identity| PolicyStore::load(&config.state_dir, &identity));
    let policy = store.as_ref().and_then(PolicyStore::policy);
    if isolation.is_none() || root_may_release(policy) {
        Ok(without_agent(reason))
    } else {
        Err(NEEDS_PERMIT.to_owned())
    }
}

fn admit(
    config: &Config,
    isolation: Option<&IsolationSpec>,
    permit: &Permit,
) -> Result<Result<String, String>> {
    let Some(spec) = isolation else {
        return Ok(Err("no isolation is on disk here".to_owned()));
    };
    let mut codes = release_codes(config, spec)?;
    let refusal = match codes.admit(spec.id, permit, Timestamp::now()) {
        Ok(reason) => return Ok(Ok(reason)),
        Err(refusal) => refusal,
    };
    if let Some(what) = refusal.report() {
        let guess = TamperReport {
            what,
            repaired: true,
            micros: 0,
            by: None,
        };
        record(config, RecordBody::Tamper(guess))?;
    }
    Ok(Err(crate::chain(&refusal)))
}

/// What opens an isolation, while no daemon sees to it.
pub(super) fn release_codes(config: &Config, spec: &IsolationSpec) -> Result<ReleaseCodes> {
    let identity = Identity::load(&config.state_dir)?;
    let policy = PolicyStore::load(&config.state_dir, &identity);
    let keys = policy.policy().map(|policy| policy.release_keys.as_slice());
    let mut codes = ReleaseCodes::load(&config.state_dir, identity.host);
    codes.keep(spec.id, keys, Timestamp::now())?;
    Ok(codes)
}

/// What is reported of an isolation that is over.
pub(super) fn released(spec: &IsolationSpec, reason: String) -> RecordBody {
    RecordBody::Isolation(Box::new(IsolationReport {
        id: spec.id,
        state: IsolationState::Released,
        reason,
        tree: spec.tree.clone(),
        lease_expires_at: spec.lease_expires_at,
        rules_sha256: None,
        probes: Vec::new(),
        event_to_drop_micros: None,
        policy_version: spec.policy_version,
        release: None,
    }))
}

/// Puts a record into the outbox while no daemon holds it.
pub(super) fn record(config: &Config, body: RecordBody) -> Result<()> {
    let facts = HostFacts::read()?;
    let options = Options {
        max_bytes: config.spool_max_bytes,
    };
    let spool = Spool::open(&daemon::spool_dir(config), &facts.boot_id, options)?;
    let at = Timestamp::now();
    spool.append(Class::Evidence, &recorder::to_json(&Record { at, body }))?;
    Ok(())
}
