//! Rules, indicators and exceptions: checked, and tried on what hosts reported.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use cordon_rules::Scope;
use jiff::Timestamp;

use super::times::{duration, since, until};

/// Sigma rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Read rules as agents do, and say what of them does not count. Needs no controller.
    Check(FilesArgs),
    /// Say what rules would have matched in the stories that hosts reported.
    Try(TryArgs),
}

/// Lists of indicators.
#[derive(Debug, Subcommand)]
pub enum IocCommand {
    /// Read STIX 2.1 bundles and plain lists as agents do, and say what of them does not count. Needs no controller.
    Check(FilesArgs),
    /// Say which indicators the stories have that hosts reported.
    Try(TryArgs),
}

/// Files of rules or indicators.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// Files, and folders with such files.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// What to try, and on what.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// What.
    #[command(flatten)]
    pub files: FilesArgs,
    /// On what.
    #[command(flatten)]
    pub history: HistoryArgs,
}

/// How far back, and how much of it.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only stories that came since then: a date, a time with its zone, or so long ago.
    #[arg(long, value_parser = since, default_value = "30d", value_name = "TIME")]
    pub since: Timestamp,
    /// At most so many stories, the newest.
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER")]
    pub most: u64,
    /// For at most so long, as 90s or 5m.
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub time_limit: Duration,
}

/// Exceptions.
#[derive(Debug, Subcommand)]
pub enum ExceptionCommand {
    /// Propose the narrowest exception that fits a story, and say what it would have matched.
    ///
    /// It is written to --out only, a file that takes the place of /etc/cordon/rules/exceptions.json on hosts: the
    /// controller delivers no exceptions.
    Propose(Box<ProposeArgs>),
    /// List the exceptions of a file. Needs no controller.
    List {
        /// The file.
        file: PathBuf,
    },
    /// Read files of exceptions as agents do, and say what of them does not count. Needs no controller.
    Check {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// An exception to be proposed.
#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// The incident; or one detection, by its number.
    #[arg(value_name = "INCIDENT|DETECTION")]
    pub of: String,
    /// What it is an exception of: `model`, `rule:ID` or `ioc:INDICATOR`.
    #[arg(long, value_parser = scope)]
    pub scope: Scope,
    /// Until when it holds: a date, a time with its zone, or for how long, as 12h or 30d; at most 366 days.
    #[arg(long, value_parser = until, value_name = "TIME")]
    pub expires: Timestamp,
    /// Why that is harmless.
    #[arg(long)]
    pub reason: String,
    /// Who says so; your account unless said.
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Where it holds.
    #[arg(long, value_enum, default_value_t = Reach::Host)]
    pub on: Reach,
    /// Conditions to leave out, which lets it reach further.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CONDITION")]
    pub without: Vec<Condition>,
    /// Rules beside those that come with Cordon: files, and folders with such files.
    #[arg(long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// Where it is written to; added to the exceptions that are there.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write it although it would have hidden what people called malicious.
    #[arg(long)]
    pub force: bool,
    /// On what it is tried.
    #[command(flatten)]
    pub history: HistoryArgs,
}

/// Where an exception holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reach {
    /// On the story's host.
    Host,
    /// On all hosts of its group.
    Group,
    /// Everywhere.
    Site,
}

/// A condition that may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Condition {
    /// Path of the image: only where its SHA-256 is known.
    Exe,
    /// All arguments.
    Argv,
    /// SHA-256 of the image: it changes with the program's next update.
    Sha256,
    /// The user.
    Uid,
    /// Path of the parent's image.
    Parent,
}

fn scope(text: &str) -> Result<Scope, String> {
    match text.split_once(':') {
        None if text == "model" => Ok(Scope::Model),
        Some(("rule", id)) if !id.is_empty() => Ok(Scope::Rule(id.to_owned())),
        Some(("ioc", listed)) if !listed.is_empty() => Ok(Scope::Ioc(listed.to_owned())),
        _ => Err(format!(
            "{text:?} is nothing to be excepted from: write model, rule:ID or ioc:INDICATOR"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read() {
        for (text, wanted) in [
            ("model", Scope::Model),
            ("rule:6f0f2a54", Scope::Rule("6f0f2a54".to_owned())),
            ("rule:a:b", Scope::Rule("a:b".to_owned())),
            ("ioc:2001:db8::/32", Scope::Ioc("2001:db8::/32".to_owned())),
        ] {
            assert_eq!(scope(text), Ok(wanted));
        }
        for bad in ["", "models", "rule", "rule:", "ioc:", "host:x"] {
            assert!(scope(bad).unwrap_err().contains("rule:ID"), "{bad}");
        }
    }
}
