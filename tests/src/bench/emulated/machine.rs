//! The emulated machine: in the network of a node of the lab, whose place it takes, with a line to it.
//!
//! Everything of it lies in the node's memory and runs in the node, and so ends with the lab: the changes of its disk too.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lab::{Guest, Node};
use crate::wait;

/// Shared with the guest, where it is `/share`.
pub const SHARE: &str = "/run/guest";
/// Device of the node that the guest's card is joined to.
pub const TAP: &str = "guest";

const CONSOLE: &str = "/run/guest-console";
const LINE: &str = "/run/guest-line";
const LOG: &str = "/run/guest-qemu";
/// The kernel's last word before the machine begins anew.
const RESTARTS: &str = "reboot: Restarting system";
/// Emulated, on a busy machine.
const BOOT_LIMIT: Duration = Duration::from_mins(10);
const START_LIMIT: Duration = Duration::from_secs(30);
/// How much of the console an error shows.
const CONSOLE_TAIL: usize = 2000;

/// A running one. It ends with the node.
pub struct Machine {
    node: Node,
    qemu: Guest,
    line: UnixStream,
    said: Receiver<String>,
    asked: usize,
    reboots: usize,
}

impl Machine {
    /// Starts it: `command` is QEMU with a processor, memory, a kernel and a disk, `options` are more of its. Its network is
    /// `lan`.
    pub fn start(node: &Node, command: &[String], options: &[&str]) -> Result<Self> {
        let more = [
            format!("-serial file:{CONSOLE}"),
            format!("-chardev socket,id=line,path={LINE},server=on,wait=off -serial chardev:line"),
            format!("-virtfs local,path={SHARE},mount_tag=share,security_model=none"),
            format!(
                "-netdev tap,id=lan,ifname={TAP},script=no,downscript=no,vhost=off,vnet_hdr=off"
            ),
            "-device virtio-net-pci,netdev=lan,mac=52:54:00:99:00:11".to_owned(),
        ];
        let more = more.iter().flat_map(|words| words.split(' '));
        let command = command.iter().map(String::as_str).chain(more);
        let command: Vec<&str> = command.chain(options.iter().copied()).collect();
        let mut qemu = node.spawn(&command, LOG)?;
        let line = wait::until("the emulated machine", START_LIMIT, || {
            still_runs(node, &mut qemu)?;
            Ok(Some(UnixStream::connect(node.path(LINE))?))
        })?;
        let (say, said) = channel();
        let listener = BufReader::new(line.try_clone()?);
        // Ends with the line, which ends with the machine.
        thread::spawn(move || {
            for words in listener.split(b'\n').map_while(Result::ok) {
                if say
                    .send(String::from_utf8_lossy(&words).trim().to_owned())
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            node: node.clone(),
            qemu,
            line,
            said,
            asked: 0,
            reboots: 0,
        })
    }

    /// Waits until it has booted and listens.
    pub fn wait_booted(&mut self) -> Result<()> {
        self.wait_for(BOOT_LIMIT, |words| (words == "ready").then_some(()))
            .context("the guest did not boot")
    }

    /// Runs a script in it as root to its end, and returns what it said.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<String> {
        let (code, said) = self.attempt(script, limit)?;
        ensure!(
            code == "0",
            "in the guest: {script:?} failed ({code}): {}",
            said.trim()
        );
        Ok(said)
    }

    /// Like [`Self::run`], with the exit code.
    pub fn attempt(&mut self, script: &str, limit: Duration) -> Result<(String, String)> {
        let number = self.ask(script)?;
        let answer = format!("done {number} ");
        let code = self
            .wait_for(limit, |words| {
                words.strip_prefix(&answer).map(str::to_owned)
            })
            .with_context(|| format!("in the guest: {script:?}"))?;
        Ok((code, self.node.read(&format!("{SHARE}/{number}.out"))?))
    }

    fn ask(&mut self, script: &str) -> Result<usize> {
        self.asked += 1;
        let number = self.asked;
        self.node.write(&format!("{SHARE}/{number}.sh"), script)?;
        writeln!(self.line, "{number}")?;
        Ok(number)
    }

    /// Has it go down by a script that makes it boot anew, and waits until it has.
    pub fn go_down(&mut self, script: &str) -> Result<()> {
        // Who would answer is among the first to be ended.
        self.ask(script)?;
        self.reboots += 1;
        let (node, qemu, reboots) = (&self.node, &mut self.qemu, self.reboots);
        wait::until("the guest's going down", BOOT_LIMIT, || {
            still_runs(node, qemu)?;
            let console = console(node)?;
            Ok((console.matches(RESTARTS).count() >= reboots).then_some(()))
        })
    }

    /// Ends it at once.
    pub fn end(self) -> Result<()> {
        self.qemu.kill()
    }

    fn wait_for<T>(&mut self, limit: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(words) => {
                    if let Some(found) = wanted(&words) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no answer within {limit:?}; {}", self.console_tail())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    still_runs(&self.node, &mut self.qemu)?;
                    bail!("the line to the guest is gone; {}", self.console_tail())
                }
            }
        }
    }

    fn console_tail(&self) -> String {
        let console = console(&self.node).unwrap_or_default();
        let begin = console.floor_char_boundary(console.len().saturating_sub(CONSOLE_TAIL));
        format!("its console's end:\n{}", &console[begin..])
    }
}

fn still_runs(node: &Node, qemu: &mut Guest) -> Result<()> {
    match qemu.ended()? {
        None => Ok(()),
        Some(status) => bail!("QEMU ended ({status}): {}", node.read(LOG)?.trim()),
    }
}

fn console(node: &Node) -> Result<String> {
    let bytes = std::fs::read(node.path(CONSOLE))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
