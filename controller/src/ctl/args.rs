//! The command line of `cordonctl`.

mod analysis;
mod rules;
pub mod steps;
mod times;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use cordon_proto::id::ProposalId;
use cordon_proto::release::Challenge;
use cordon_store::Role;

use crate::http::access::parse_role;
use steps::StepCommand;

use times::{duration, lease};

pub use analysis::{IncidentsArgs, IncidentsCommand, LabelsCommand, VerdictArgs};
pub use rules::{
    Condition, ExceptionCommand, HistoryArgs, IocCommand, ProposeArgs, Reach, RulesCommand, TryArgs,
};

/// Where a controller keeps its site unless told otherwise.
pub const DEFAULT_DATA: &str = "/var/lib/cordon-controller";

/// Look at a Cordon fleet and give it orders.
///
/// Exit codes: 0 done; 1 a file or an answer cannot be used; 2 the command line is wrong;
/// 3 the controller cannot be reached or is not the pinned one; 4 the controller refused;
/// 5 the order failed, was refused or expired; 6 still not done when --wait ended;
/// 7 the audit trail was tampered with; 8 the exception would hide what people called malicious.
#[derive(Debug, Parser)]
#[command(name = "cordonctl", version)]
pub struct Cli {
    /// How to reach the controller.
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the controller.
#[derive(Debug, Args)]
pub struct Connection {
    /// Data directory of a controller on this machine.
    #[arg(long, global = true, default_value = DEFAULT_DATA, value_name = "DIR")]
    pub data: PathBuf,
    /// A controller elsewhere: HOST, HOST:PORT or https://HOST:PORT.
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File with the API token, for --server.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The site's CA certificate in PEM, for --server.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "ca_fingerprint"
    )]
    pub ca: Option<PathBuf>,
    /// SHA-256 of the site's CA certificate, for --server.
    #[arg(long, global = true, value_name = "HEX")]
    pub ca_fingerprint: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List hosts.
    Hosts,
    /// List incidents, tell one in full, or say what one was.
    Incidents(IncidentsArgs),
    /// Stories of which somebody said what they were.
    #[command(subcommand)]
    Labels(LabelsCommand),
    /// Sigma rules, checked and tried before hosts have them.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Indicators, checked and tried before hosts have them.
    #[command(subcommand)]
    Ioc(IocCommand),
    /// Exceptions from rules, indicators and the model.
    #[command(subcommand)]
    Exception(ExceptionCommand),
    /// List what hosts reported, newest first.
    Events {
        /// Only of this host, by name or id.
        #[arg(long)]
        host: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Cut a host off.
    Isolate {
        /// Name or id.
        host: String,
        /// The host opens by itself after this time, as 90s, 30m, 4h or 2d; `none`: only a release opens it.
        #[arg(long, default_value = "1h", value_parser = lease)]
        lease: Duration,
        /// Also when as many hosts of its group are isolated as the policy lets be at one time (caps.hosts_at_once).
        #[arg(long)]
        beyond_cap: bool,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Open a host again.
    Release {
        /// Name or id.
        host: String,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Steps against an attack, milder than to cut the host off.
    #[command(flatten)]
    Step(StepCommand),
    /// List what hosts propose and nobody answered yet, and until when they wait.
    Approvals,
    /// Let a host do what it proposes. What it does and when it ends by itself its policy says.
    Approve(ApproveArgs),
    /// Tell a host not to do what it proposes, nor to propose more about the same processes.
    Refuse {
        /// Goes into the signed order and the audit trail.
        #[arg(long)]
        reason: String,
        /// Which, and whether to wait.
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Make the code that opens an isolated host without its line to the controller.
    ///
    /// With HOST from what the host reported, which the audit trail tells; with --challenge from what `cordon-agent
    /// status` shows on it: that needs no controller and no network, only the release key, and is in no audit trail. The
    /// host reports its use, with the key's name.
    ReleaseCode(ReleaseCodeArgs),
    /// Make the code that stops an agent, or takes it off its host, where the policy wants one for that.
    ///
    /// From the challenge that `cordon-agent stop` shows. Needs no controller and no network, only the release key, so
    /// that it was made is in no audit trail; the host reports its use, with the key's name. A stop code opens no isolated
    /// host.
    StopCode(StopCodeArgs),
    /// Make a release key and print its public half, for `release_keys` in policies. Needs no controller.
    ReleaseKey {
        /// Where the private half goes; a new file.
        file: PathBuf,
    },
    /// Tell one order's life.
    Order {
        /// The order.
        id: String,
    },
    /// List orders, newest first.
    Orders,
    /// Join tokens for new hosts.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Signed policies.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Models of the site's own. Needs no controller.
    #[command(subcommand)]
    Model(ModelCommand),
    /// The audit trail.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Accounts of people.
    #[command(subcommand)]
    User(UserCommand),
}

/// What every order needs.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// Goes into the signed order and the audit trail.
    #[arg(long)]
    pub reason: String,
    /// Wait for the host's signed word.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most, as 90s or 5m.
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "TIME")]
    pub wait_limit: Duration,
}

/// A yes.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Goes into the signed order and the audit trail.
    #[arg(long, default_value = "approved")]
    pub reason: String,
    /// Which, and whether to wait.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// Which proposal is answered.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// The proposal, as `cordonctl approvals` lists it.
    pub id: ProposalId,
    /// Name or id of the host; looked up in what waits unless said.
    #[arg(long)]
    pub host: Option<String>,
    /// Wait for the host's signed word.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most, as 90s or 5m.
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "TIME")]
    pub wait_limit: Duration,
}

/// Which challenge to answer, by which key, and how.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("asked").required(true).args(["host", "challenge"])))]
pub struct ReleaseCodeArgs {
    /// Name or id; that its challenge was taken is in the audit trail.
    #[arg(requires = "reason")]
    pub host: Option<String>,
    /// As the host shows it; case, dashes and spaces do not matter.
    #[arg(long, value_name = "TEXT")]
    pub challenge: Option<Challenge>,
    /// The release key; that of --data unless said.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Why; goes into the audit trail, and into a release file.
    #[arg(long)]
    pub reason: Option<String>,
    /// Print a signed release file for a stick, in place of a code.
    #[arg(long, requires = "reason")]
    pub file: bool,
}

/// Which challenge to answer, and by which key.
#[derive(Debug, Args)]
pub struct StopCodeArgs {
    /// As the host shows it; case, dashes and spaces do not matter.
    #[arg(long, value_name = "TEXT")]
    pub challenge: Challenge,
    /// The release key; that of --data unless said.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// Join tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make one; it is shown once.
    Create {
        /// Group of the hosts that join with it.
        #[arg(long)]
        group: String,
        /// How many hosts may join with it.
        #[arg(long)]
        uses: u32,
        /// It ends after this time, as 30m, 4h or 7d.
        #[arg(long, default_value = "24h", value_parser = duration, value_name = "TIME")]
        expires: Duration,
    },
    /// List them, without the secret part.
    List,
}

/// Signed policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Sign a policy with the offline key and print the envelope. Needs no controller.
    Sign {
        /// The site's policy key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The policy.
        #[arg(value_name = "POLICY.json")]
        policy: PathBuf,
    },
    /// Give a signed policy to the controller, which gives it to the group's hosts.
    Push {
        /// The envelope.
        file: PathBuf,
    },
    /// Show the policies in force.
    Show,
}

/// Models of the site's own.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Sign a model with the offline key: writes signature.json into its folder.
    Sign {
        /// By whom, for whom.
        #[command(flatten)]
        key: ModelKey,
        /// Folder of the model.
        #[arg(value_name = "DIR")]
        model: PathBuf,
    },
    /// Fit a model's last layer and calibration again on labelled stories, as cordon-agent tune does, and sign it.
    Tune {
        /// By whom, for whom.
        #[command(flatten)]
        key: ModelKey,
        /// Folder of the model to begin with.
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// Folder of the new model; made, and must not be there.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Labelled stories, one JSON object a line.
        #[arg(value_name = "LABELS.jsonl")]
        labels: PathBuf,
    },
}

/// Who vouches for a model, and on whose hosts.
#[derive(Debug, Args)]
pub struct ModelKey {
    /// The site's policy key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The site.
    #[arg(long, value_name = "NAME")]
    pub site: String,
}

/// The audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what was done, newest first.
    Show {
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Check the chain of hashes in the database. Needs no controller.
    Verify {
        /// The database, or better a copy of it; that of --data unless said.
        #[arg(long, value_name = "FILE")]
        database: Option<PathBuf>,
    },
}

/// Accounts of people.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List accounts.
    List,
    /// Make an account; its one-time password is shown once.
    Create {
        /// The name to sign in with.
        name: String,
        /// viewer, responder, engineer or admin.
        #[arg(long, value_parser = parse_role)]
        role: Role,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
