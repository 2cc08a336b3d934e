//! `status`: how the daemon stands, or what is on disk when it does not run.

use std::process::ExitCode;

use anyhow::Result;
use cordon_contain::Containment;
use cordon_proto::AGENT_SOCKET_MARK;
use serde_json::json;

use super::NOT_RUNNING;
use super::output::{Output, plain};
use crate::config::Config;
use crate::identity::{self, Identity};
use crate::local::{self, Answer, LocalError, Question, Status};

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
    let isolation = if config.state_dir.exists() {
        Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?.current()
    } else {
        None
    };
    let object = json!({
        "running": false, "enrolled": enrolled, "host": host,
        "isolated": isolation.is_some(), "isolation": isolation,
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
        format!("the agent is not running\non disk: {identity}, {isolated}")
    })?;
    Ok(ExitCode::from(NOT_RUNNING))
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
    lines.extend(status.degraded.iter().map(|what| ("degraded", plain(what))));
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name:<12}{value}"))
        .collect();
    lines.join("\n")
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
