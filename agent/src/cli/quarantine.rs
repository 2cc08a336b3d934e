//! `quarantine`, by root at the machine. The daemon's unit lets it write to its own folders alone, so this is done here,
//! and the daemon tells of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use cordon_contain::{Facts, Held, Quarantine};
use cordon_proto::record::{QuarantineAct, QuarantineReport, RecordBody};
use cordon_sensor::{PackageOwner, owner_of};
use jiff::Timestamp;
use serde_json::json;

use super::hands_on::{record, without_agent};
use super::output::{Output, plain};
use crate::config::Config;
use crate::identity::Identity;
use crate::local::{self, LocalError, Question};
use crate::policy_store::PolicyStore;

/// What is done.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Act {
    /// Take a file: nothing has its name afterwards, and what it held is kept encrypted.
    Add {
        /// Its path, with no symbolic link in it.
        path: PathBuf,
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
        /// Take it although a package owns it, or may.
        #[arg(long)]
        of_package: bool,
    },
    /// Show what is held.
    List,
    /// Put a file back as it was: path, content, owner, mode, times, extended attributes.
    Restore {
        /// As `list` shows it.
        id: String,
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
    },
    /// Destroy what is held.
    Delete {
        /// As `list` shows it.
        id: String,
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
    },
}

pub(super) fn run(config: &Config, act: &Act, out: &Output) -> Result<ExitCode> {
    let quarantine = Quarantine::open(&config.state_dir)?;
    let (held, act, reason) = match act {
        Act::List => return list(&quarantine.list()?, out),
        Act::Add {
            path,
            reason,
            of_package,
        } => {
            let stays = Stays::read(config, *of_package);
            let must_stay = |path: &Path, facts: &Facts| stays.why(path, facts);
            let held = quarantine.take(path, reason, &must_stay, Timestamp::now())?;
            (held, QuarantineAct::Taken, reason)
        }
        Act::Restore { id, reason } => (quarantine.restore(id)?, QuarantineAct::Restored, reason),
        Act::Delete { id, reason } => (quarantine.delete(id)?, QuarantineAct::Deleted, reason),
    };
    tell(config, &held, act, reason);
    let object = json!({ "done": true, "act": act, "held": held });
    out.say(&object, || {
        let path = plain(&held.path.display().to_string());
        match act {
            QuarantineAct::Taken => format!("{path} is held as {}", held.id),
            QuarantineAct::Restored => format!("{path} is back"),
            QuarantineAct::Deleted => format!("what was {path} is destroyed"),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn list(held: &[Held], out: &Output) -> Result<ExitCode> {
    let line = |held: &Held| {
        let path = held.path.display().to_string();
        let (path, reason) = (plain(&path), plain(&held.reason));
        format!("{} {} {path}: {reason}", held.id, held.at)
    };
    out.say(&json!({ "held": held }), || match held {
        [] => "nothing is held".to_owned(),
        held => held.iter().map(line).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// It is done by now, whatever becomes of the report.
fn tell(config: &Config, held: &Held, act: QuarantineAct, reason: &str) {
    let report = |reason| {
        Box::new(QuarantineReport {
            act,
            id: held.id.clone(),
            path: held.path.display().to_string(),
            sha256: held.sha256.clone(),
            bytes: held.facts.bytes,
            uid: held.facts.uid,
            reason,
        })
    };
    let question = Question::Quarantined {
        report: report(format!("at the machine: {reason}")),
    };
    let told = match local::ask(&config.socket(), &question) {
        Err(LocalError::NotRunning(_)) => {
            let report = report(without_agent(reason));
            record(config, RecordBody::Quarantine(report))
        }
        answer => answer.map(drop).map_err(Into::into),
    };
    if let Err(error) = told {
        let why = crate::chain(error.as_ref());
        eprintln!("warning: it is done, but could not be reported: {why}");
    }
}

/// What must stay where it is.
struct Stays {
    of_package: bool,
    protected: Vec<String>,
    /// Device and inode of what the first process and the agent run.
    runs: Vec<(u64, u64)>,
}

impl Stays {
    fn read(config: &Config, of_package: bool) -> Self {
        let identity = Identity::load(&config.state_dir).ok();
        let store = identity.map(|identity| PolicyStore::load(&config.state_dir, &identity));
        let policy = store.as_ref().and_then(PolicyStore::policy);
        let image = |path| fs::metadata(path).ok().map(|is| (is.dev(), is.ino()));
        let runs = ["/proc/1/exe", "/proc/self/exe"].into_iter();
        Self {
            of_package,
            protected: policy.map_or_else(Vec::new, |policy| policy.protected_processes.clone()),
            runs: runs.filter_map(image).collect(),
        }
    }

    fn why(&self, path: &Path, facts: &Facts) -> Option<String> {
        if self.runs.contains(&(facts.device, facts.inode)) {
            return Some("the first process of the system or the agent runs it".to_owned());
        }
        let text = path.to_str().unwrap_or_default();
        if self.protected.iter().any(|one| one == text) {
            return Some("protected by the policy".to_owned());
        }
        if self.of_package {
            return None;
        }
        let said = match owner_of(path) {
            PackageOwner::Nobody => return None,
            PackageOwner::Package(name) => format!("package {name} owns it"),
            PackageOwner::Unknown => "which package owns it cannot be told".to_owned(),
        };
        Some(format!("{said}: --of-package takes it all the same"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_owns_or_the_policy_protects_stays() {
        let facts = Facts {
            device: 1,
            inode: 2,
            bytes: 3,
            uid: 0,
            gid: 0,
            mode: 0o755,
            times: [(0, 0); 2],
            attributes: Vec::new(),
        };
        let mut stays = Stays {
            of_package: false,
            protected: vec!["/opt/payroll".into()],
            runs: Vec::new(),
        };
        // Whose it is, or that it cannot be told, is this machine's to say.
        let why = stays.why(Path::new("/usr/bin/env"), &facts).unwrap();
        assert!(
            why.ends_with(": --of-package takes it all the same"),
            "{why}"
        );
        stays.of_package = true;
        assert_eq!(stays.why(Path::new("/usr/bin/env"), &facts), None);
        let why = stays.why(Path::new("/opt/payroll"), &facts);
        assert_eq!(why.as_deref(), Some("protected by the policy"));
        stays.runs.push((1, 2));
        let why = stays.why(Path::new("/opt/other"), &facts).unwrap();
        assert!(why.contains("runs it"), "{why}");
    }
}
