//! One machine of the lab, as seen by its supervisor.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::guest::{self, Guest};

/// Longest run of a command given to [`Node::exec`].
pub const EXEC_LIMIT: Duration = Duration::from_mins(2);

/// A cheap handle; the node lives as long as its [`super::Lab`].
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    pid: i32,
    number: u8,
}

impl Node {
    /// `pid` is that of the node's first process, as the machine sees it.
    pub fn new(name: &str, pid: i32, number: u8) -> Self {
        Self {
            name: name.to_owned(),
            pid,
            number,
        }
    }

    /// Host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's first process, as the machine sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Last part of its addresses.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its IPv4 address.
    pub fn address_v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number)
    }

    /// Its IPv6 address: the same number, read as hexadecimal digits, so that both look alike.
    pub fn address_v6(&self) -> Ipv6Addr {
        let digits = u16::from_str_radix(&self.number.to_string(), 16);
        let last = digits.expect("decimal digits are hexadecimal digits");
        Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, last)
    }

    /// Both addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.address_v4().into(), self.address_v6().into()]
    }

    /// Where a file of the node lies for processes of the machine.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        Path::new(&format!("/proc/{}/root", self.pid))
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Writes a file in the node, its folders too.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(inside);
        let failed = || format!("cannot write {inside} in {}", self.name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        fs::write(path, content).with_context(failed)
    }

    /// Reads a file of the node.
    pub fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.path(inside))
            .with_context(|| format!("cannot read {inside} in {}", self.name))
    }

    /// Runs a command to its end, for at most [`EXEC_LIMIT`], and returns what it said.
    pub fn exec(&self, command: &[&str]) -> Result<Output> {
        guest::run(self, command, EXEC_LIMIT)
    }

    /// Like [`Self::exec`], but a failed command is an error that carries what it said.
    pub fn succeed(&self, command: &[&str]) -> Result<String> {
        let output = self.exec(command)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(anyhow!(
            "in {}: {command:?} failed ({}): {}{}",
            self.name,
            output.status,
            said.trim(),
            complaint.trim()
        ))
    }

    /// Starts a command and leaves it running; what it says goes to the file `log` in the node.
    pub fn spawn(&self, command: &[&str], log: &str) -> Result<Guest> {
        self.write(log, "")?;
        let file = File::options().append(true).open(self.path(log))?;
        Guest::start(self, command, file)
    }

    /// Does something with the node's network: sockets made in `act` belong to it. Runs on a thread
    /// of its own, because the network namespace is a property of a thread.
    pub fn within_network<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let network = self.network()?;
        let enter = move || {
            setns(&network, CloneFlags::CLONE_NEWNET).context("cannot enter the network")?;
            act()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_| anyhow!("a thread in the network of {} panicked", self.name))?
    }

    /// The node's network namespace.
    pub(super) fn network(&self) -> Result<File> {
        File::open(format!("/proc/{}/ns/net", self.pid))
            .with_context(|| format!("node {} is gone", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_show_the_same_number() {
        let node = Node::new("outside", 1, 200);
        let shown = node.addresses().map(|address| address.to_string());
        assert_eq!(shown, ["10.99.0.200", "fd99::200"]);
    }
}
