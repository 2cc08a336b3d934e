//! `respond --explain`: what would be done about stories under the policy in force, and why. Does nothing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cordon_behavior::story::Story;
use cordon_proto::policy::{AfterTime, Approve, BlockRemote, Policy, Stop};
use cordon_proto::verdict::Verdict;
use cordon_respond::block::{Choice, MOST_REMOTES, Never, choose};
use cordon_respond::{Action, Decision, Standing, Subject, decide};
use jiff::Timestamp;
use serde_json::json;

use super::BAD_LINES;
use super::judge::{self, By, InOrder};
use super::lines::{self, Lines};
use super::output::{Output, plain};
use super::status::isolation_on_disk;
use crate::blocking;
use crate::config::Config;
use crate::engine::{self, Caps};
use crate::identity::{self, Identity};
use crate::pins::Pins;
use crate::policy_store::PolicyStore;

/// What is to be explained.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A file of stories, one JSON object a line, as `judge` reads them; `-` is standard input.
    #[arg(long, value_name = "STORY")]
    explain: PathBuf,
    #[command(flatten)]
    by: By,
}

/// Where the host stands, as far as a decision depends on it.
struct Host {
    policy: Option<Policy>,
    /// Whom it never blocks.
    never: Never,
    standing: Standing,
    now: Timestamp,
}

pub(super) fn run(options: &Options, config: &Config, out: &Output) -> Result<ExitCode> {
    let identity = identity_of(config)?;
    let now = Timestamp::now();
    let store = identity
        .as_ref()
        .map(|identity| PolicyStore::load(&config.state_dir, identity));
    let policy = store.and_then(|store| store.policy().cloned());
    let controllers = identity.as_ref().map_or_else(Vec::new, |identity| {
        Pins::load(&config.state_dir, &identity.controller).known()
    });
    let host = Host {
        never: policy.as_ref().map_or_else(Never::default, |policy| {
            blocking::never(policy, &controllers)
        }),
        policy,
        standing: Standing {
            isolated: isolation_on_disk(config)?.is_some(),
            isolations_last_hour: Caps::load(&config.state_dir).last_hour(now),
            ..Standing::default()
        },
        now,
    };
    let named = identity.map_or_else(Default::default, |identity| {
        (identity.host.to_string(), identity.audience.group)
    });
    let mut judge = judge::open(&options.by, config, (&named.0, &named.1))?;
    let input = open(&options.explain)?;
    let bad = explain_lines(&mut judge, &host, input, out).context("cannot go on explaining")?;
    Ok(ExitCode::from(if bad == 0 { 0 } else { BAD_LINES }))
}

/// `None` on a host that is not enrolled: it has no policy either.
fn identity_of(config: &Config) -> Result<Option<Identity>> {
    let path = identity::path(&config.state_dir);
    let is_there = path.try_exists();
    if !is_there.with_context(|| format!("cannot look for {}: run as root", path.display()))? {
        return Ok(None);
    }
    Ok(Some(Identity::load(&config.state_dir)?))
}

fn open(file: &Path) -> Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(opened))
}

fn explain_lines(
    judge: &mut InOrder,
    host: &Host,
    input: Box<dyn Read>,
    out: &Output,
) -> io::Result<u64> {
    let mut bad = 0;
    let mut lines = Lines::new(BufReader::new(input));
    while let Some(line) = lines.next(|| Ok(()))? {
        let story = line.text.ok_or_else(lines::too_long);
        let story = story.and_then(|text| Story::from_json(text).map_err(|e| e.to_string()));
        match story {
            Ok(story) => explain(judge, host, &story, out)?,
            Err(why) => {
                bad += 1;
                let number = line.number;
                out.say(&json!({ "error": why, "line": number }), || {
                    format!("line {number}: {}", plain(&why))
                })?;
            }
        }
    }
    Ok(bad)
}

fn explain(judge: &mut InOrder, host: &Host, story: &Story, out: &Output) -> io::Result<()> {
    let policy = host.policy.as_ref();
    let thresholds = policy.and_then(|policy| policy.thresholds);
    let verdict = judge.verdict(story, thresholds);
    let process = story.process.as_ref();
    let subject = Subject {
        exe: process.map_or_else(String::new, |process| process.exe.clone()),
    };
    let decision = decide(&verdict, &subject, policy, &host.standing, host.now);
    let mut steps = steps(&decision, policy);
    if let Some(BlockRemote { seconds }) = decision.block {
        // Before what may wait for the controller.
        let last = 1 + usize::from(decision.asks_for_place.is_some());
        steps.insert(
            steps.len() - last,
            blocking_step(story, &host.never, seconds),
        );
    }
    let object = json!({
        "id": verdict.id,
        "verdict": verdict,
        "decision": decision,
        "steps": steps,
        "policy_version": policy.map_or(0, |policy| policy.version),
        "isolated": host.standing.isolated,
        "isolations_last_hour": host.standing.isolations_last_hour,
    });
    out.say(&object, || in_words(&verdict, &decision, &steps))
}

fn in_words(verdict: &Verdict, decision: &Decision, steps: &[String]) -> String {
    let name = serde_json::to_value(verdict.verdict).unwrap_or_default();
    let name = name.as_str().unwrap_or("unknown").replace('_', " ");
    let mut said = vec![format!(
        "{}: {name}, score {:.2}",
        verdict.id, verdict.score
    )];
    let reasons = verdict.reasons.iter();
    said.extend(reasons.map(|reason| format!("  {:+.2}  {}", reason.weight, reason.text)));
    let numbered = steps.iter().zip(1..);
    said.extend(numbered.map(|(step, number)| format!("  would {number}. {step}")));
    said.push(format!("  because: {}", decision.reason));
    let plain: Vec<String> = said.iter().map(|line| plain(line)).collect();
    plain.join("\n")
}

fn blocking_step(story: &Story, never: &Never, seconds: u64) -> String {
    let called = blocking::called(&story.connections).map(|remote| remote.address.ip());
    let Choice { block, spared } = choose(called, never, MOST_REMOTES);
    let listed: Vec<String> = block.iter().map(IpAddr::to_string).collect();
    let whom = match listed.as_slice() {
        [] => "nobody: no remote end is known that may be blocked".to_owned(),
        _ => format!(
            "{} for {seconds} s, unless unblocked before",
            listed.join(", ")
        ),
    };
    let spared: Vec<String> = spared
        .iter()
        .map(|one| format!("{} ({})", one.address, one.why))
        .collect();
    match spared.as_slice() {
        [] => format!("block {whom}"),
        _ => format!("block {whom}; but not {}", spared.join(", ")),
    }
}

/// What would wait for a yes, how long, and what then.
fn proposing(decision: &Decision, policy: Option<&Policy>) -> String {
    let steps = engine::in_words(decision.propose.unwrap_or_default());
    let approve = policy.and_then(|policy| policy.approve).unwrap_or_default();
    let Approve {
        seconds,
        unanswered,
        offline,
    } = approve;
    let done = |rule| match rule {
        AfterTime::Nothing => "nothing is done",
        AfterTime::Act => "that is done",
    };
    format!(
        "report it, and propose to {steps}; without an answer in {seconds} s {}, or {} when the controller is out of reach",
        done(unanswered),
        done(offline)
    )
}

/// What comes before an isolation where the policy caps how many hosts of the group are isolated at one time.
fn asking(cap: u32, policy: Option<&Policy>) -> String {
    let refused = match policy.and_then(|policy| policy.approve) {
        Some(_) => "propose to isolate the host",
        None => "recommend to isolate the host",
    };
    format!(
        "ask the controller for one of the {cap} places that the group has for isolated hosts (caps.hosts_at_once); if others have them all, {refused} instead; without an answer in {} ms, or without a session, go on",
        engine::PATIENCE.as_millis()
    )
}

/// What would be done, in order.
fn steps(decision: &Decision, policy: Option<&Policy>) -> Vec<String> {
    let protected = match policy.map_or(0, |policy| policy.protected_processes.len()) {
        0 => "",
        _ => ", but no protected executable",
    };
    let below = format!("the process and everything that descends from it{protected}");
    let mut steps = Vec::new();
    if decision.cut_off {
        steps.push(format!(
            "cut off the network {below}, until `cordon-agent rejoin`"
        ));
    }
    match decision.stop {
        Stop::None => {}
        Stop::Freeze => steps.push(format!("freeze {below}, until `cordon-agent thaw`")),
        Stop::Kill => steps.push(format!("kill {below}")),
    }
    let lease = policy.map_or(0, |policy| policy.isolation.lease_seconds);
    let until = match lease {
        0 => "until it is released".to_owned(),
        seconds => format!("for {seconds} s, unless it is released before"),
    };
    steps.push(match decision.action {
        Action::Record => "tell nobody".to_owned(),
        Action::Alert => "report it".to_owned(),
        Action::RecommendIsolate => "report it, and recommend to isolate the host".to_owned(),
        Action::AwaitApproval => proposing(decision, policy),
        Action::Isolate => format!("isolate the host {until}, and report it"),
    });
    if let Some(cap) = decision.asks_for_place {
        let last = steps.len() - 1;
        steps.insert(last, asking(cap, policy));
    }
    steps
}
