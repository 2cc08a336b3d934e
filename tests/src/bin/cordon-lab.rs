//! `cordon-lab`: a fleet on one machine, from the command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cordon_tests::{command, demo, lab, record};

/// A fleet of network namespaces on one machine. Needs root; changes nothing of the machine's own.
#[derive(Parser)]
#[command(name = "cordon-lab", version)]
struct Arguments {
    /// Which lab, when several run side by side.
    #[arg(long, global = true, default_value = "lab")]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build a fleet and leave it running in the background.
    Up {
        /// How many endpoints.
        #[arg(long, default_value_t = 3)]
        endpoints: u8,
        /// Nodes only: no controller, no agents.
        #[arg(long)]
        bare: bool,
    },
    /// Run a command in a node: controller, ep1 and on, outside.
    Exec {
        /// The node.
        node: String,
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Pull a node's cable.
    Cut {
        /// The node.
        node: String,
    },
    /// Plug a node's cable in again.
    Mend {
        /// The node.
        node: String,
    },
    /// Say what is running.
    Status {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// End the fleet and remove it.
    Down,
    /// The product's main job on real input: an attack, judged, cut off, told, undone.
    Demo {
        /// End when done, instead of keeping the lab up.
        #[arg(long)]
        once: bool,
        /// Print one JSON object on standard output; the steps go to standard error.
        #[arg(long)]
        json: bool,
    },
    /// Run the training scenarios in disposable nodes and record what our own sensor sees.
    Record(record::Arguments),
    #[command(hide = true)]
    Watch { orders: std::path::PathBuf },
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        endpoints: u8,
        #[arg(long)]
        bare: bool,
    },
    #[command(hide = true)]
    NodeStart { plan: String },
    #[command(hide = true)]
    NodeInit { plan: String },
}

fn main() -> ExitCode {
    if is_first_process() {
        return finish(lab::be_first_process());
    }
    let arguments = Arguments::parse();
    finish(run(arguments))
}

/// Inside a node this program is `/sbin/init`.
fn is_first_process() -> bool {
    std::process::id() == 1
        && std::env::args_os()
            .next()
            .is_some_and(|name| name == lab::FIRST_PROCESS)
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let name = &arguments.name;
    match arguments.action {
        Action::Up { endpoints, bare } => command::up(name, endpoints, bare),
        Action::Exec { node, command } => command::exec(name, &node, &command),
        Action::Cut { node } => command::set_link(name, &node, false),
        Action::Mend { node } => command::set_link(name, &node, true),
        Action::Status { json } => command::status(name, json),
        Action::Down => command::down(name),
        Action::Demo { once, json } => demo::run(once, json),
        Action::Record(arguments) => record::run(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Watch { orders } => record::watch(&orders).map(|()| ExitCode::SUCCESS),
        Action::Supervise { endpoints, bare } => command::supervise(name, endpoints, bare),
        Action::NodeStart { plan } => {
            let status = lab::enter_namespaces(&plan)?;
            Ok(ExitCode::from(u8::from(!status.success())))
        }
        Action::NodeInit { plan } => lab::prepare(&plan).map(|()| ExitCode::SUCCESS),
    }
}

fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("cordon-lab: {error:#}");
        ExitCode::FAILURE
    })
}
