//! `cordon-controller`: makes a site and serves it.
#![forbid(unsafe_code)]

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use cordon_controller::ctl::args::DEFAULT_DATA;
use cordon_controller::init::{Made, Plan, init};
use cordon_controller::serve::serve;
use tracing_subscriber::EnvFilter;

/// The controller of a Cordon site.
///
/// Exit codes: 0 done, or stopped when asked to; 1 failed, the last line on standard error says why;
/// 2 the command line is wrong.
#[derive(Parser)]
#[command(name = "cordon-controller", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new site: CA, keys, database, settings, the first account.
    Init {
        /// Where to keep it: a folder that is not there yet, or empty.
        #[arg(long, default_value = DEFAULT_DATA, value_name = "DIR")]
        data: PathBuf,
        /// Name of the site; it stands in every certificate and policy.
        #[arg(long)]
        site: String,
        /// Where agents will reach this controller; may be given several times, all with one port.
        #[arg(long = "address", required = true, value_name = "IP:PORT")]
        addresses: Vec<SocketAddr>,
        /// Print JSON for programs instead of text for people.
        #[arg(long)]
        json: bool,
    },
    /// Serve a site: agents, console, REST interface. Logs to standard error; CORDON_LOG says how much.
    Serve {
        /// Where `init` put it.
        #[arg(long, default_value = DEFAULT_DATA, value_name = "DIR")]
        data: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Init {
            data,
            site,
            addresses,
            json,
        } => {
            make(
                Plan {
                    data,
                    site,
                    addresses,
                },
                json,
            )
            .await
        }
        Command::Serve { data } => {
            log_to_stderr();
            serve(&data).await
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cordon-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn make(plan: Plan, json: bool) -> Result<()> {
    let made = init(&plan).await?;
    let text = if json {
        serde_json::to_string(&made).context("cannot write JSON")?
    } else {
        words(&plan, &made)
    };
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

fn words(plan: &Plan, made: &Made) -> String {
    let data = plan.data.display();
    format!(
        "Site {site} is in {data}.\n\n\
         CA fingerprint  {ca}\n\
         first account   {user}\n\
         password        {password}  (one-time: set your own; it is shown only now)\n\n\
         Move {data}/keys/policy.key to an officer's offline medium: it signs what agents may do.\n\
         Then: cordon-controller serve --data {data}",
        site = plan.site,
        ca = made.ca_fingerprint,
        user = made.admin_user,
        password = made.admin_password,
    )
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("CORDON_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
