//! `doctor`: what works on this host, what does not, and what would mend it.

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use cordon_model::Model;
use cordon_sensor::{Coverage, Sensor};
use cordon_spool::{Options, Spool};
use jiff::Timestamp;
use serde::Serialize;

use super::DEGRADED;
use super::output::{Output, plain};
use crate::config::Config;
use crate::daemon;
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::local::{self, Answer, LocalError, Question};
use crate::model_trust::{self, Untrusted};
use crate::policy_store::PolicyStore;
use crate::power::{self, ManualStop};
use crate::{privileges, stop_codes};

/// One thing that the agent needs.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// What was found, or what is wrong and the remedy.
    detail: String,
}

#[derive(Serialize)]
struct Seen {
    class: &'static str,
    source: String,
    covered: bool,
    why: Option<String>,
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
    coverage: Vec<Seen>,
}

pub(super) fn run(path: Option<&Path>, out: &Output) -> Result<ExitCode> {
    let config = Config::load(path)?;
    let rows = Sensor::probe(&config.sensor);
    let coverage: Vec<Seen> = rows.into_iter().map(Seen::from).collect();
    let mut checks = vec![
        sensor(&coverage),
        check(
            "isolation",
            cordon_contain::supported().map(|missing| isolation(&missing)),
            &|e| crate::chain(e),
        ),
        model(&config),
    ];
    checks.extend(capabilities());
    checks.push(rules(&config));
    checks.extend(identity(&config));
    checks.push(outbox_or_daemon(&config));
    let ok = checks.iter().all(|check| check.ok);
    let report = Report {
        ok,
        checks,
        coverage,
    };
    out.say(&report, || in_words(&report))?;
    Ok(ExitCode::from(if ok { 0 } else { DEGRADED }))
}

fn check<E>(
    name: &'static str,
    found: Result<impl Into<String>, E>,
    why: &dyn Fn(&E) -> String,
) -> Check {
    match found {
        Ok(detail) => Check {
            name,
            ok: true,
            detail: detail.into(),
        },
        Err(error) => Check {
            name,
            ok: false,
            detail: why(&error),
        },
    }
}

/// Before the host is enrolled nobody could have signed a model for it.
fn model(config: &Config) -> Check {
    let found = match Identity::load(&config.state_dir) {
        Ok(identity) => model_trust::load(config, &identity).map(|(model, is_signed)| {
            let by = if is_signed {
                ", signed by the site"
            } else {
                ""
            };
            format!("{}{by}", model.id())
        }),
        Err(_) => Model::load(&config.model_dir)
            .map(|model| model.id().to_owned())
            .map_err(Untrusted::from),
    };
    check("model", found, &|e| crate::chain(e))
}

/// An isolation that leaves something open is one, and what it leaves open is told.
fn isolation(missing: &[String]) -> String {
    let mut detail = "nftables takes the rules".to_owned();
    for what in missing {
        detail += "; ";
        detail += what;
    }
    detail
}

/// One for each that is missing here.
fn capabilities() -> impl Iterator<Item = Check> {
    let missing = privileges::missing().into_iter();
    missing.map(|(capability, lost)| Check {
        name: "capability",
        ok: false,
        detail: format!("{capability} is missing: {lost}; run as root, or list it in the unit"),
    })
}

/// The eBPF mode sees all connections; without them most of what the model looks for is missing.
fn sensor(coverage: &[Seen]) -> Check {
    let missing = coverage
        .iter()
        .find(|seen| seen.class == "connect" && seen.mark() != "yes");
    Check {
        name: "sensor",
        ok: missing.is_none(),
        detail: missing.map_or("eBPF".to_owned(), |seen| {
            let why = seen.why.clone().unwrap_or_default();
            seen.remedy
                .as_ref()
                .map_or(why.clone(), |remedy| format!("{why}; {remedy}"))
        }),
    }
}

/// Mistakes in the files are not fine; rules that ask for what no story has are told and are.
fn rules(config: &Config) -> Check {
    let loaded = daemon::load_rules(config);
    let status = loaded.status();
    let lines = std::iter::once(status.in_words()).chain(status.told);
    let lines: Vec<String> = lines.collect();
    Check {
        name: "rules",
        ok: loaded.degraded().is_none(),
        detail: lines.join("; "),
    }
}

fn identity(config: &Config) -> Vec<Check> {
    let identity = match Identity::load(&config.state_dir) {
        Ok(identity) => identity,
        Err(error) => {
            return vec![Check {
                name: "identity",
                ok: false,
                detail: crate::chain(&error),
            }];
        }
    };
    let until = identity.validity.until;
    let (site, group) = (&identity.audience.site, &identity.audience.group);
    let is_good = until > Timestamp::now();
    let expiry = if is_good {
        format!("good until {until}")
    } else {
        format!("expired at {until}: check the clock, or enroll again with --force")
    };
    vec![
        Check {
            name: "identity",
            ok: true,
            detail: format!("host {} in {site}/{group}", identity.host),
        },
        Check {
            name: "certificate",
            ok: is_good,
            detail: expiry,
        },
        policy(config, &identity),
    ]
    .into_iter()
    .chain(protection(config, &identity))
    .collect()
}

/// A code for a stop is worth nothing where `systemctl stop` needs none.
fn protection(config: &Config, identity: &Identity) -> Option<Check> {
    let store = PolicyStore::load(&config.state_dir, identity);
    stop_codes::keys(store.policy())?;
    let stop = power::manual_stop();
    let detail = match stop {
        ManualStop::Refused => "a stop takes a code",
        ManualStop::Done => {
            "a stop takes a code, but `systemctl stop` does without: install packaging/cordon-agent-protect.conf as \
             /etc/systemd/system/cordon-agent.service.d/protect.conf and run `systemctl daemon-reload`"
        }
        ManualStop::Unknown => {
            "a stop takes a code; whether `systemctl stop` does without is not known, because systemd did not say: \
             look at `systemctl show --property=RefuseManualStop cordon-agent`, which should say yes"
        }
    };
    Some(Check {
        name: "protection",
        ok: stop == ManualStop::Refused,
        detail: detail.to_owned(),
    })
}

fn policy(config: &Config, identity: &Identity) -> Check {
    let store = PolicyStore::load(&config.state_dir, identity);
    let stale = store.stale_since(Timestamp::now());
    let detail = match (store.version(), stale) {
        (0, _) => "none in force: push one with `cordonctl policy push`".to_owned(),
        (version, Some(since)) => {
            format!(
                "version {version} is past its expiry since {since}; it stays in force, push a newer one"
            )
        }
        (version, None) => format!("version {version}"),
    };
    Check {
        name: "policy",
        ok: store.version() > 0 && stale.is_none(),
        detail,
    }
}

/// The outbox belongs to the daemon while it runs.
fn outbox_or_daemon(config: &Config) -> Check {
    let (ok, detail) = match local::ask(&config.socket(), &Question::Status) {
        Ok(Answer::Status(status)) => {
            let waiting = status.spool_records;
            let mut detail = match (&status.last_uplink_error, status.connected) {
                (Some(why), false) => format!("running, {waiting} records wait: {why}"),
                _ => format!("running, {waiting} records wait"),
            };
            for what in &status.degraded {
                detail += "; ";
                detail += what;
            }
            (status.connected && status.degraded.is_empty(), detail)
        }
        Ok(_) => (false, "the daemon answered another question".to_owned()),
        Err(LocalError::NotRunning(_)) => return outbox(config),
        Err(error) => (false, crate::chain(&error)),
    };
    Check {
        name: "daemon",
        ok,
        detail,
    }
}

fn outbox(config: &Config) -> Check {
    let options = Options {
        max_bytes: config.spool_max_bytes,
    };
    let dir = daemon::spool_dir(config);
    if !dir.exists() {
        return Check {
            name: "outbox",
            ok: true,
            detail: "none yet; the daemon is not running".to_owned(),
        };
    }
    let boot_id = HostFacts::read()
        .map(|facts| facts.boot_id)
        .unwrap_or_default();
    let found = Spool::open(&dir, &boot_id, options).map(|spool| {
        let waiting = spool.stats().records;
        format!("{waiting} records wait; the daemon is not running")
    });
    check("outbox", found, &|error| crate::chain(error))
}

impl From<Coverage> for Seen {
    fn from(coverage: Coverage) -> Self {
        Self {
            class: coverage.class,
            source: coverage.source.into_owned(),
            covered: coverage.covered,
            why: coverage.why,
            remedy: coverage.remedy.map(Cow::into_owned),
        }
    }
}

impl Seen {
    /// `part` where the class is seen and something of it is not.
    fn mark(&self) -> &'static str {
        match (self.covered, &self.why) {
            (true, None) => "yes",
            (true, Some(_)) => "part",
            (false, _) => "no",
        }
    }

    /// One line, then what is missing and what would mend it.
    fn in_words(&self) -> String {
        let (mark, class) = (self.mark(), self.class);
        let first = format!("{mark:<4} {class:<17} {}", plain(&self.source));
        let more = [("not seen", &self.why), ("to mend", &self.remedy)];
        let more = more.into_iter().filter_map(|(label, text)| {
            let text = plain(text.as_deref()?);
            Some(format!("{:23}{label}: {text}", ""))
        });
        let lines: Vec<String> = std::iter::once(first).chain(more).collect();
        lines.join("\n")
    }
}

fn in_words(report: &Report) -> String {
    let checks = report.checks.iter().map(|check| {
        let mark = if check.ok { "ok" } else { "NOT OK" };
        format!("{mark:<7} {:<12} {}", check.name, plain(&check.detail))
    });
    let seen = report.coverage.iter().map(Seen::in_words);
    let heading = "\nwhat is seen of this host:".to_owned();
    let lines: Vec<String> = checks.chain([heading]).chain(seen).collect();
    lines.join("\n")
}
