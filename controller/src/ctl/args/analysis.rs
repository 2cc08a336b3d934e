//! What analysts say of incidents, and what becomes of it.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use cordon_store::Label;
use jiff::Timestamp;

use super::times::since;

/// Which incident, and what to do with it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct IncidentsArgs {
    /// The incident to tell in full.
    pub id: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<IncidentsCommand>,
}

/// What to do with an incident.
#[derive(Debug, Subcommand)]
pub enum IncidentsCommand {
    /// Say what an incident was. It stays as open and as severe as it is; what was said before is kept beside it.
    Verdict(VerdictArgs),
}

/// What somebody says.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("label").required(true).args(["malicious", "benign"])))]
pub struct VerdictArgs {
    /// The incident.
    pub id: String,
    /// It was part of an attack.
    #[arg(long)]
    pub malicious: bool,
    /// It was honest work.
    #[arg(long)]
    pub benign: bool,
    /// Why; kept beside it and in the audit trail.
    #[arg(long)]
    pub reason: String,
    /// Only this detection, by its number; all that came so far unless said.
    #[arg(long, value_name = "NUMBER")]
    pub detection: Option<i64>,
}

impl VerdictArgs {
    /// The word for it.
    pub fn label(&self) -> Label {
        if self.malicious {
            Label::Malicious
        } else {
            Label::Benign
        }
    }
}

/// Labelled stories.
#[derive(Debug, Subcommand)]
pub enum LabelsCommand {
    /// Write the stories of which somebody said what they were, one JSON object a line, as `model tune` reads them.
    Export {
        /// Only what was said since then: a date, a time with its zone, or so long ago, as 12h or 30d.
        #[arg(long, value_parser = since, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Where they go; a new file. Standard output unless said.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
