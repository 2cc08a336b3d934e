//! The commands that order steps against an attack, and what undoes them.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use cordon_proto::id::OrderId;
use cordon_proto::process::ProcessName;

use super::{OrderArgs, duration};

/// Steps against an attack, and what undoes them.
#[derive(Debug, Subcommand)]
pub enum StepCommand {
    /// End a process and everything that descends from it. Nothing undoes it.
    KillTree(TreeArgs),
    /// Stop a process and everything that descends from it where they stand.
    FreezeTree(TreeArgs),
    /// Let a frozen process and everything that descends from it go on.
    ThawTree(TreeArgs),
    /// Cut a process and everything that descends from it off the network; they run on.
    CutOff(TreeArgs),
    /// Let a process that is cut off, and everything that descends from it, back to the network.
    Rejoin(TreeArgs),
    /// Let nothing pass between a host and an address.
    BlockRemote {
        /// Name or id.
        host: String,
        /// IPv4 or IPv6; one.
        address: IpAddr,
        /// It can be reached again after this time, as 90s, 30m, 4h or 2d; at most 7d.
        #[arg(long = "for", default_value = "1h", value_parser = duration, value_name = "TIME")]
        lasts: Duration,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Let an address be reached again before its time is over.
    UnblockRemote {
        /// Name or id.
        host: String,
        /// The address.
        address: IpAddr,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Take a file out of reach, and keep what it held.
    QuarantineFile {
        /// Name or id.
        host: String,
        /// Absolute, with no symbolic link in it.
        path: String,
        /// Its content: when it holds something else by then, it stays.
        #[arg(long, value_name = "HEX", value_parser = digest)]
        sha256: Option<String>,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Put a file back as it was.
    RestoreFile {
        /// Name or id.
        host: String,
        /// What holds it, 32 digits: the receipt of the quarantine says so.
        held: String,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Undo what an order had a host do: thaw, rejoin, unblock, restore or release.
    Undo {
        /// The order.
        id: OrderId,
        /// Why, and whether to wait.
        #[command(flatten)]
        order: OrderArgs,
    },
}

/// Which process tree, and why.
#[derive(Debug, Args)]
pub struct TreeArgs {
    /// Name or id.
    pub host: String,
    /// Its uppermost process, BOOT:PID:START, as `cordonctl incidents ID` lists it; never somebody who has the pid by then.
    #[arg(value_name = "PROCESS")]
    pub process: ProcessName,
    /// Why, and whether to wait.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// A SHA-256 in hex, in lower case as orders have it.
fn digest(text: &str) -> Result<String, String> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() == 64 && is_hex {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("wanted 64 hexadecimal digits, as `sha256sum` prints".to_owned())
    }
}
