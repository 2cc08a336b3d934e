//! `restore`: an isolation on disk is back in the kernel before any network is there.

use std::process::ExitCode;

use anyhow::Result;
use cordon_contain::{Containment, IsolationSpec, Recovered};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::record::RecordBody;
use serde_json::json;

use super::output::Output;
use super::{hands_on, log_to_stderr};
use crate::config::Config;
use crate::isolation::{INTERRUPTED_RELEASE, Lease, found_tampered, keep_time};

pub(super) fn run(config: &Config, out: &Output) -> Result<ExitCode> {
    log_to_stderr();
    let containment = Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?;
    restore(config, &containment, out)?;
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
