//! `restore`: an isolation on disk is back in the kernel before any network is there, and held until the daemon does.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use cordon_contain::{Containment, Health, IsolationSpec, NftWatch, Recovered};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::record::{RecordBody, TamperReport};
use serde_json::json;

use super::output::Output;
use super::{hands_on, log_to_stderr};
use crate::config::Config;
use crate::isolation::{INTERRUPTED_RELEASE, Lease, found_tampered, keep_time, what_happened};
use crate::local::{self, Answer, Question};

/// Where systemd listens.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Stay until the daemon answers, and hold the isolation meanwhile: what is changed is put back, network devices that
    /// appear are covered, and the lease ends it. systemd is told when the rules are in.
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(options: &Options, config: &Config, out: &Output) -> Result<ExitCode> {
    log_to_stderr();
    let containment = Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?;
    // Before the look at the rules, so that nothing happens between the two. The rules matter more than who watches them.
    let changes = options.watch.then(NftWatch::open);
    restore(config, &containment, out)?;
    if let Some(changes) = changes {
        tell_systemd();
        hold(config, &containment, &changes?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn restore(config: &Config, containment: &Containment, out: &Output) -> Result<()> {
    let recovered = containment.recover()?;
    let found = containment.current();
    let is_over = found.as_ref().is_some_and(|spec| Lease::of(spec).is_over());
    match found {
        Some(spec) if is_over => open_over(config, containment, &spec)?,
        Some(spec) => drop(keep_time(containment, spec)),
        None => {}
    }
    // The host is as it is to be: a disk that takes no record changes nothing of that.
    if let Err(error) = report_of_restore(config, &recovered) {
        let why = crate::chain(error.as_ref());
        tracing::error!(%why, "what was found could not be recorded");
    }
    // A disk that takes nothing names it for longer than it is in force.
    let current = containment.current().filter(|_| !is_over);
    let isolated = current.map(|spec| spec.id);
    let object = json!({ "isolated": isolated.is_some(), "isolation": isolated });
    out.say(&object, || match (isolated, &recovered) {
        (Some(id), _) => format!("isolation {id} is in force"),
        (None, Recovered::ShutUnknown { why }) => {
            format!("the host is shut by rules that do not say for whom ({why}): `cordon-agent release` opens it")
        }
        (None, _) => "the host is open".to_owned(),
    })?;
    Ok(())
}

fn open_over(config: &Config, containment: &Containment, spec: &IsolationSpec) -> Result<()> {
    let opened = containment.release()?;
    tracing::info!(id = %spec.id, "the lease was over");
    if let Some(error) = &opened.still_on_disk {
        tracing::error!(why = %crate::chain(error), "the disk still says that the host is isolated");
    }
    let report = hands_on::released(spec, "lease is over".to_owned());
    if let Err(error) = hands_on::record(config, report) {
        let why = crate::chain(error.as_ref());
        tracing::error!(%why, "the host is open, but that could not be recorded");
    }
    Ok(())
}

/// Reports what is mended or set aside by now: the daemon does not find it any more. That the rules had to be put in again
/// is what every boot does.
fn report_of_restore(config: &Config, recovered: &Recovered) -> Result<()> {
    let body = match recovered {
        Recovered::Released(spec) => Some(hands_on::released(spec, INTERRUPTED_RELEASE.to_owned())),
        Recovered::FromKernel(_) | Recovered::OpenDamaged { .. } => {
            found_tampered(recovered).map(RecordBody::Tamper)
        }
        _ => None,
    };
    body.map_or(Ok(()), |body| hands_on::record(config, body))
}

/// Until the daemon holds it, or there is nothing to hold any more.
fn hold(config: &Config, containment: &Containment, changes: &NftWatch) -> Result<()> {
    let lease = containment.current().map(|spec| Lease::of(&spec));
    let is_over = || lease.as_ref().is_some_and(Lease::is_over);
    let goes_on = || !is_over() && !daemon_answers(config);
    let mended = |looked| match looked {
        Ok(health) => was_mended(config, &health),
        Err(error) => {
            let why = crate::chain(&error);
            tracing::error!(%why, "the isolation cannot be looked after, trying again");
        }
    };
    containment.hold(changes, goes_on, mended)?;
    match containment.current().filter(|_| is_over()) {
        Some(over) => open_over(config, containment, &over),
        None => Ok(()),
    }
}

/// It answers from when it holds the isolation itself.
fn daemon_answers(config: &Config) -> bool {
    matches!(
        local::ask(&config.socket(), &Question::Status),
        Ok(Answer::Status(_))
    )
}

/// Devices appear at every boot. Whatever else was changed somebody did.
fn was_mended(config: &Config, health: &Health) {
    let what = what_happened(health);
    tracing::warn!(what, "the isolation is whole again");
    if matches!(health, Health::Uncovered { .. }) {
        return;
    }
    let report = RecordBody::Tamper(TamperReport {
        what,
        repaired: true,
        micros: 0,
        by: None,
    });
    if let Err(error) = hands_on::record(config, report) {
        let why = crate::chain(error.as_ref());
        tracing::error!(%why, "that could not be recorded");
    }
}

/// What waits for this unit may go on. Whoever started it by hand gave no socket.
fn tell_systemd() {
    let Some(socket) = std::env::var_os(NOTIFY_SOCKET) else {
        return;
    };
    let told = notify(Path::new(&socket));
    if let Err(error) = told {
        let socket = socket.to_string_lossy().into_owned();
        tracing::error!(%error, socket, "systemd cannot be told that the rules are in");
    }
}

fn notify(socket: &Path) -> std::io::Result<()> {
    let path = socket.as_os_str().as_encoded_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sent = UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address);
    sent.map(drop)
}
