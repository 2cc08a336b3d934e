//! Whether an order about processes, a remote end or a file is carried out: the signed policy decides, whoever ordered it.

use std::borrow::Cow;
use std::net::IpAddr;

use cordon_proto::order::{Form, Verb};
use cordon_proto::policy::Policy;
use cordon_proto::process::ProcessName;

use crate::block::Never;

/// What is known of the host when an order arrives.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// Id of this boot.
    pub boot_id: &'a str,
    /// Steps that were ordered and begun in the last hour, this one aside.
    pub steps_last_hour: u32,
    /// Whom no policy blocks.
    pub never: &'a Never,
}

/// Why nothing is done. The text goes into the receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not written as it must be.
    #[error(transparent)]
    Form(#[from] Form),
    /// So many were ordered that one more is too many.
    #[error(
        "{count} such orders in the last hour reach the cap of {cap} (caps.ordered_per_hour, policy version {version}): wait, do it at the machine, or sign a policy with another cap"
    )]
    Capped {
        /// Begun in the last hour.
        count: u32,
        /// The policy's.
        cap: u32,
        /// The policy.
        version: u64,
    },
    /// The host was started anew since.
    #[error("process {0} is of another boot of this host: nothing of it runs any more")]
    OtherBoot(ProcessName),
    /// Never blocked.
    #[error("{address} is not blocked: {why}")]
    Never {
        /// The address.
        address: IpAddr,
        /// Why.
        why: Cow<'static, str>,
    },
    /// Never stopped or taken.
    #[error("{path} is protected by the policy (protected_processes): nothing was done to it")]
    Protected {
        /// The executable, or the file.
        path: String,
    },
}

/// What is decided before anything is begun. What undoes a step needs no cap.
pub fn admit(verb: &Verb, policy: &Policy, here: Here<'_>) -> Result<(), Denied> {
    verb.check()?;
    match verb {
        Verb::KillTree { process }
        | Verb::FreezeTree { process }
        | Verb::ThawTree { process }
        | Verb::CutOff { process }
        | Verb::Rejoin { process }
            if !process.is_of_boot(here.boot_id) =>
        {
            return Err(Denied::OtherBoot(process.clone()));
        }
        Verb::BlockRemote { address, .. } => {
            let address = address.to_canonical();
            if let Some(why) = here.never.why(address) {
                return Err(Denied::Never { address, why });
            }
        }
        Verb::QuarantineFile { path, .. } => unprotected(path, policy)?,
        _ => {}
    }
    let cap = policy.caps.ordered_per_hour.unwrap_or(0);
    if verb.is_step() && here.steps_last_hour >= cap {
        return Err(Denied::Capped {
            count: here.steps_last_hour,
            cap,
            version: policy.version,
        });
    }
    Ok(())
}

/// Of an executable, or a file: whether the policy lets it be touched.
pub fn unprotected(path: &str, policy: &Policy) -> Result<(), Denied> {
    if policy.protected_processes.iter().any(|one| one == path) {
        return Err(Denied::Protected {
            path: path.to_owned(),
        });
    }
    Ok(())
}
