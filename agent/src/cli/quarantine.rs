//! `quarantine`, by root at the machine. The daemon's unit lets it write to its own folders alone, so this is done here,
//! and the daemon tells of it. What orders ask for goes by [`crate::filing`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cordon_contain::{Facts, Held, Quarantine};
use cordon_proto::record::{QuarantineAct, RecordBody};
use jiff::Timestamp;
use serde_json::json;

use super::hands_on::{record, without_agent};
use super::output::{Output, plain};
use crate::config::Config;
use crate::filing::{self, Stays};
use crate::local::{self, LocalError, Question};

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
    /// Take or put back the file that the daemon asks for on standard input: systemd starts it for one order.
    #[command(hide = true)]
    Serve,
}

pub(super) fn run(config: &Config, act: &Act, out: &Output) -> Result<ExitCode> {
    let quarantine = Quarantine::open(&config.state_dir)?;
    let (held, act, reason) = match act {
        Act::Serve => {
            filing::serve(config).context("talking to the daemon failed")?;
            return Ok(ExitCode::SUCCESS);
        }
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
pub(super) fn tell(config: &Config, held: &Held, act: QuarantineAct, reason: &str) {
    let report = |reason: String| Box::new(filing::told(held, act, &reason));
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
