//! The command line.

mod doctor;
mod ending;
mod hands_on;
mod judge;
mod lines;
mod output;
mod quarantine;
mod record;
mod replay;
mod respond;
mod restore;
mod status;
mod tune;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use cordon_history::Format;
use serde_json::json;

pub use lines::MAX_LINE_BYTES;

use crate::config::{Config, DEFAULT_PATH};
use crate::daemon;
use crate::engine::End;
use crate::enroll::{self, Invitation};
use crate::host::HostFacts;
use crate::trust::Fingerprint;
use output::Output;

/// The command failed, or the host is not as it was asked to be.
pub const FAILED: u8 = 1;
/// `judge`, `replay`, `respond`, `tune`: some lines could not be read.
pub const BAD_LINES: u8 = 3;
/// `doctor`: the agent works, not in full.
pub const DEGRADED: u8 = 4;
/// `status`: the daemon is not running.
pub const NOT_RUNNING: u8 = 5;
/// `run`: ended by `stop` or `uninstall`, and not to be started again by itself.
pub const STOPPED: u8 = 6;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the last line on stderr says what, on what, and what to do
  2  wrong arguments
  3  judge, replay, respond, tune: some lines could not be read; each is reported with its number
  4  doctor: degraded
  5  status: the daemon is not running
  6  run: stopped by leave (stop, uninstall), and not to be started again by itself";

/// Watches this host, judges what it sees, and stops it or cuts the host off when the policy says so.
#[derive(Debug, clap::Parser)]
#[command(name = "cordon-agent", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Configuration file; the default one may be missing.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the daemon.
    Run,
    /// Trade a join token for this host's identity.
    Enroll {
        /// The controller's agent port.
        #[arg(long, value_name = "HOST:PORT")]
        controller: String,
        /// SHA-256 of the controller's CA, as `cordon-controller init` printed it.
        #[arg(long, value_name = "HEX")]
        ca_fingerprint: Fingerprint,
        /// From `cordonctl token create`.
        #[arg(long)]
        token: String,
        /// Replace the identity that this host has.
        #[arg(long)]
        force: bool,
    },
    /// Say what works on this host, what does not, and what would mend it.
    Doctor,
    /// Say how the daemon stands.
    Status,
    /// Judge stories, one JSON object a line, and print one verdict a line.
    Judge {
        /// `-` is standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
        #[command(flatten)]
        by: judge::By,
    },
    /// Read a recording or another tool's log, and print the stories that are in it, one JSON object a line.
    #[command(after_help = replay::FORMATS)]
    Replay {
        /// `-` is standard input. Plain or compressed with zstd.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// stories, events, audit, laurel, sysmon or ocsf; found out from the lines when absent.
        #[arg(long)]
        format: Option<Format>,
        /// Print a verdict in place of each story, as `judge` does.
        #[arg(long)]
        judge: bool,
        #[command(flatten)]
        by: judge::By,
    },
    /// Watch this host without judging or reporting, and write its stories to compressed files.
    Record(record::Options),
    /// Fit the model's last layer and calibration again on labelled stories of this site, into a new model.
    ///
    /// Needs no GPU and takes less than a minute. There is no new model where it would find fewer of the attacks or mistake
    /// more of the benign stories that come with Cordon for this, and no host's labels move what is said of others by much.
    #[command(after_help = tune::FORM)]
    Tune(tune::Options),
    /// Cut this host off now.
    Isolate {
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
        /// The host opens by itself after this; 0: only a release opens it. The policy's when absent.
        #[arg(long, value_name = "SECONDS")]
        lease: Option<u64>,
    },
    /// Open this host again. Works without a daemon and without a network.
    ///
    /// Where the policy keeps root from that, it takes an answer to the challenge that `status` shows: --code or --file.
    Release(hands_on::Release),
    /// Let every process go on that the agent froze. Works without a daemon and without a network.
    Thaw {
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
    },
    /// Cut a process and what descends from it off the network; it runs on, and the rest of the host is untouched.
    CutOff {
        /// Which.
        pid: u32,
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
    },
    /// Let every process that is cut off back to the network. Works without a daemon.
    Rejoin {
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
    },
    /// Take a file out of reach, show what is held, put it back or destroy it. Works without a daemon.
    Quarantine {
        #[command(subcommand)]
        act: quarantine::Act,
    },
    /// Let a remote end be reached again before its time is over. Works without a daemon.
    Unblock {
        /// Its address, as `status` lists it.
        address: IpAddr,
        /// Why; it is reported.
        #[arg(long)]
        reason: String,
    },
    /// Stop the daemon. What it did to the host stays in force.
    ///
    /// Where the policy takes a code for that, the challenge is shown that a code has to answer: `cordonctl stop-code`.
    Stop(ending::Leave),
    /// Undo what the agent did to this host, tell the controller, and stop. Works without a daemon.
    ///
    /// Needs what `stop` needs. A host that is isolated has to be released first. Files in quarantine stay unless they are
    /// to be destroyed. What is left afterwards are files.
    Uninstall(ending::Uninstall),
    /// Say what would be done about stories under the policy in force, and why. Does nothing.
    Respond(respond::Options),
    /// Put an isolation on disk back into the kernel; for the boot unit.
    Restore(restore::Options),
    /// Print the version.
    Version,
}

/// Runs a command.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments {
        config,
        json,
        command,
    } = arguments;
    let out = Output::new(json);
    let load = || Config::load(config.as_deref());
    match command {
        Command::Run => {
            log_to_stderr();
            let config_file = config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
            Ok(match daemon::run(&load()?, config_file)? {
                End::Signalled => ExitCode::SUCCESS,
                End::ByLeave => ExitCode::from(STOPPED),
            })
        }
        Command::Enroll {
            controller,
            ca_fingerprint,
            token,
            force,
        } => {
            let invitation = Invitation {
                controller,
                ca_fingerprint,
                token,
                force,
            };
            enroll(&load()?, &invitation, &out)
        }
        Command::Doctor => doctor::run(config.as_deref(), &out),
        Command::Status => status::run(&load()?, &out),
        Command::Judge { file, by } => judge::run(&file, &by, config.as_deref()),
        Command::Replay {
            file,
            format,
            judge,
            by,
        } => {
            if !judge && by.is_given() {
                let said = "what to judge with was given, and not --judge: give both or neither\n";
                Arguments::command()
                    .error(clap::error::ErrorKind::MissingRequiredArgument, said)
                    .exit();
            }
            let judge = judge.then(|| judge::open(&by, &load()?, ("", "")));
            replay::run(&file, format, judge.transpose()?, json)
        }
        Command::Record(options) => record::run(&options, &load()?, &out),
        Command::Tune(options) => tune::run(&options, &load()?, &out),
        Command::Isolate { reason, lease } => hands_on::isolate(&load()?, reason, lease, &out),
        Command::Release(way) => hands_on::release(&load()?, way, &out),
        Command::Thaw { reason } => hands_on::thaw(&load()?, &reason, &out),
        Command::Quarantine { act } => quarantine::run(&load()?, &act, &out),
        Command::CutOff { pid, reason } => hands_on::cut_off(&load()?, pid, reason, &out),
        Command::Rejoin { reason } => hands_on::rejoin(&load()?, &reason, &out),
        Command::Unblock { address, reason } => hands_on::unblock(&load()?, address, &reason, &out),
        Command::Stop(leave) => ending::stop(&load()?, &leave, &out),
        Command::Uninstall(wanted) => ending::uninstall(&load()?, &wanted, &out),
        Command::Respond(options) => respond::run(&options, &load()?, &out),
        Command::Restore(options) => restore::run(&options, &load()?, &out),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            out.say(&json!({ "version": version }), || {
                format!("cordon-agent {version}")
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn enroll(config: &Config, invitation: &Invitation, out: &Output) -> Result<ExitCode> {
    let facts = HostFacts::read().context("cannot read the boot id: mount /proc")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let identity = runtime.block_on(enroll::enroll(&config.state_dir, &facts, invitation))?;
    let object = json!({
        "host": identity.host,
        "site": identity.audience.site,
        "group": identity.audience.group,
        "controller": identity.controller,
        "certificate_until": identity.validity.until,
    });
    out.say(&object, || {
        let (site, group) = (&identity.audience.site, &identity.audience.group);
        let host = identity.host;
        format!(
            "enrolled as host {host} in {site}/{group}\nstart the agent: systemctl enable --now cordon-agent"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CORDON_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
