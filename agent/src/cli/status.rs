//! `status`: how the daemon stands, or what is on disk when it does not run.

use std::process::ExitCode;

use anyhow::Result;
use cordon_contain::{Block, Containment, IsolationSpec};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::record::ReleaseChallenge;
use serde_json::json;

use super::output::{Output, plain};
use super::{NOT_RUNNING, hands_on};
use crate::config::Config;
use crate::identity::{self, Identity};
use crate::local::{self, Answer, LocalError, Question, Status};
use crate::proposals::Waits;
use crate::{blocking, engine, proposals, stopping};

pub(super) fn run(config: &Config, out: &Output) -> Result<ExitCode> {
    match local::ask(&config.socket(), &Question::Status) {
        Ok(Answer::Status(status)) => {
            let mut object = serde_json::to_value(&status)?;
            object["running"] = true.into();
            out.say(&object, || in_words(&status))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(_) => anyhow::bail!("the agent answered another question"),
        Err(LocalError::NotRunning(_)) => not_running(config, out),
        Err(error) => Err(error.into()),
    }
}

fn not_running(config: &Config, out: &Output) -> Result<ExitCode> {
    let enrolled = identity::path(&config.state_dir).exists();
    let host = Identity::load(&config.state_dir)
        .ok()
        .map(|identity| identity.host);
    let isolation = isolation_on_disk(config)?;
    let release = isolation.as_ref().and_then(|spec| challenge(config, spec));
    let frozen = stopping::trees(&config.state_dir)
        .frozen()
        .unwrap_or_default();
    let cut_off = stopping::count_cut_off(&config.state_dir);
    let blocked = blocking::on_disk(&config.state_dir);
    let waiting = proposals::on_disk(&config.state_dir);
    let object = json!({
        "proposals": waiting,
        "running": false, "enrolled": enrolled, "host": host, "frozen": frozen, "cut_off": cut_off, "blocked": blocked,
        "isolated": isolation.is_some(), "isolation": isolation, "release": release,
    });
    out.say(&object, || {
        let identity = match (enrolled, host) {
            (_, Some(host)) => format!("host {host}"),
            (true, None) => "identity on disk, not readable".to_owned(),
            (false, None) => "not enrolled".to_owned(),
        };
        let isolated = isolation
            .as_ref()
            .map_or("not isolated".to_owned(), |spec| {
                format!(
                    "ISOLATED since {}: {}",
                    spec.started_at,
                    plain(&spec.reason)
                )
            });
        let release = release.as_ref().map_or(String::new(), how_to_open);
        let stopped = [in_words_frozen(frozen), in_words_cut_off(cut_off)].into_iter();
        let frozen = stopped
            .flatten()
            .fold(String::new(), |all, said| format!("{all}, {said}"));
        let blocked = match blocked.len() {
            0 => String::new(),
            count => format!(", {count} addresses BLOCKED"),
        };
        let waiting = match waiting.len() {
            0 => String::new(),
            count => format!(", {count} proposals WAIT for a yes"),
        };
        format!(
            "the agent is not running\non disk: {identity}, {isolated}{frozen}{blocked}{waiting}{release}"
        )
    })?;
    Ok(ExitCode::from(NOT_RUNNING))
}

fn challenge(config: &Config, spec: &IsolationSpec) -> Option<ReleaseChallenge> {
    match hands_on::release_codes(config, spec) {
        Ok(codes) => codes.challenge(spec.id),
        Err(error) => {
            let why = crate::chain(error.as_ref());
            eprintln!("warning: the release challenge cannot be shown: {why}");
            None
        }
    }
}

/// The challenge has a line of its own: it fills one of a console.
fn how_to_open(release: &ReleaseChallenge) -> String {
    let ReleaseChallenge {
        challenge,
        expires_at,
    } = release;
    format!(
        "\n\nTo open this host without the controller, have this challenge answered by `cordonctl release-code`:\n\n\
         {}\n\n\
         and type the answer: cordon-agent release --reason TEXT --code CODE\n\
         The challenge is good until {expires_at}; then another one is shown.",
        plain(challenge)
    )
}

/// Changes nothing, not even where there is nothing.
pub(super) fn isolation_on_disk(config: &Config) -> Result<Option<IsolationSpec>> {
    if !config.state_dir.exists() {
        return Ok(None);
    }
    Ok(Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?.current())
}

fn in_words(status: &Status) -> String {
    let (site, group) = (&status.site, &status.group);
    let events = format!("{} events, {} lost", status.events_seen, status.events_lost);
    let judged = format!("{} stories judged", status.stories_judged);
    let waiting = format!(
        "{} records, {} bytes",
        status.spool_records, status.spool_bytes
    );
    let memory = status.rss_bytes >> 20;
    let cpu = status.cpu_micros as f64 / 1e6;
    let mut lines = vec![
        ("host", format!("{} in {site}/{group}", status.host)),
        ("controller", controller(status)),
        ("isolation", isolation(status)),
        ("policy", policy(status)),
        ("sensor", format!("{}, {events}", status.sensor_mode)),
        ("model", format!("{}, {judged}", status.model)),
        ("rules", status.rules.in_words()),
        ("outbox", format!("{waiting} wait for the controller")),
        (
            "certificate",
            format!("good until {}", status.certificate_until),
        ),
        ("cost", format!("{memory} MiB, {cpu:.1} s of CPU")),
    ];
    let frozen = in_words_frozen(status.frozen).map(|said| ("processes", said));
    lines.extend(frozen);
    let cut_off = in_words_cut_off(status.cut_off).map(|said| ("network", said));
    lines.extend(cut_off);
    lines.extend(
        status
            .blocked
            .iter()
            .map(|block| ("blocked", blocked(block))),
    );
    lines.extend(status.proposals.iter().map(|one| ("waits", waits(one))));
    lines.extend(status.degraded.iter().map(|what| ("degraded", plain(what))));
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name:<12}{value}"))
        .collect();
    let release = status.isolation.as_ref();
    let release = release.and_then(|report| report.release.as_ref());
    lines.join("\n") + &release.map_or(String::new(), how_to_open)
}

fn in_words_frozen(count: usize) -> Option<String> {
    (count > 0).then(|| format!("{count} FROZEN: `cordon-agent thaw` lets them go on"))
}

fn in_words_cut_off(count: usize) -> Option<String> {
    let said = "processes CUT OFF: `cordon-agent rejoin` lets them back";
    (count > 0).then(|| format!("{count} {said}"))
}

fn blocked(block: &Block) -> String {
    let Block {
        address,
        until,
        peer,
    } = block;
    let of = peer.map_or(String::new(), |host| format!(" of isolated host {host}"));
    format!("{address}{of} until {until}: `cordon-agent unblock {address}` ends it before")
}

fn waits(waits: &Waits) -> String {
    let proposal = &waits.proposal;
    let (id, until) = (proposal.id, proposal.expires_at);
    let steps = engine::in_words(proposal.steps);
    let why = plain(&waits.reason);
    format!(
        "for a yes until {until}: {steps} ({why}): `cordonctl approve {id}` or `cordonctl refuse {id}`"
    )
}

fn controller(status: &Status) -> String {
    let name = &status.controller;
    match (&status.last_uplink_error, status.connected) {
        (_, true) => format!("{name}, connected"),
        (Some(why), false) => format!("{name}, not connected: {}", plain(why)),
        (None, false) => format!("{name}, not connected yet"),
    }
}

fn isolation(status: &Status) -> String {
    let Some(report) = status.isolation.as_ref().filter(|_| status.isolated) else {
        return if status.isolated { "under way" } else { "none" }.to_owned();
    };
    let until = report
        .lease_expires_at
        .map_or("a release".to_owned(), |at| at.to_string());
    let state = serde_json::to_value(report.state).unwrap_or_default();
    let state = state.as_str().unwrap_or("unknown").to_uppercase();
    format!("{state} until {until}: {}", plain(&report.reason))
}

fn policy(status: &Status) -> String {
    match (status.policy_version, status.policy_stale_since) {
        (0, _) => "none: nothing is done without one".to_owned(),
        (version, Some(since)) => {
            format!("version {version}, past its expiry since {since}, in force")
        }
        (version, None) => format!("version {version}"),
    }
}
