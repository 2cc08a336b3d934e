//! The emulated machine: in the network of a node of the lab, whose place it takes, with a line to it and a capture of what
//! leaves it.
//!
//! Everything of it lies in the node's memory and runs in the node, and so ends with the lab: the changes of its disk too.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

use super::capture::Reader;
use super::frames::{Ends, Tally};
use crate::lab::{Guest, Node};
use crate::wait;

/// Shared with the guest, where it is `/share`.
pub const SHARE: &str = "/run/guest";
/// Device of the node that the guest's card is joined to.
pub const TAP: &str = "guest";

const CONSOLE: &str = "/run/guest-console";
const LINE: &str = "/run/guest-line";
const CAPTURE: &str = "/run/guest.pcap";
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
    capture: File,
    reader: Reader,
    ends: Ends,
}

impl Machine {
    /// Starts it: `command` is QEMU with a processor, memory, a kernel and a disk.
    pub fn start(node: &Node, command: &[String], ends: Ends) -> Result<Self> {
        let more = [
            format!("-serial file:{CONSOLE}"),
            format!("-chardev socket,id=line,path={LINE},server=on,wait=off -serial chardev:line"),
            format!("-virtfs local,path={SHARE},mount_tag=share,security_model=none"),
            format!(
                "-netdev tap,id=lan,ifname={TAP},script=no,downscript=no,vhost=off,vnet_hdr=off"
            ),
            "-device virtio-net-pci,netdev=lan,mac=52:54:00:99:00:11".to_owned(),
            // What the card sends, and nothing that is sent to it: no address has to be believed.
            format!("-object filter-dump,id=capture,netdev=lan,queue=rx,file={CAPTURE}"),
        ];
        let more = more.iter().flat_map(|words| words.split(' '));
        let command = command.iter().map(String::as_str).chain(more);
        let mut qemu = node.spawn(&command.collect::<Vec<_>>(), LOG)?;
        let (line, capture) = wait::until("the emulated machine", START_LIMIT, || {
            still_runs(node, &mut qemu)?;
            let line = UnixStream::connect(node.path(LINE))?;
            Ok(Some((line, File::open(node.path(CAPTURE))?)))
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
            capture,
            reader: Reader::default(),
            ends,
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
    fn attempt(&mut self, script: &str, limit: Duration) -> Result<(String, String)> {
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

    /// Has it boot anew, and waits until it has gone down.
    pub fn reboot(&mut self) -> Result<()> {
        // Who would answer is among the first to be ended.
        self.ask("systemctl reboot")?;
        self.reboots += 1;
        let (node, qemu, reboots) = (&self.node, &mut self.qemu, self.reboots);
        wait::until("the guest's going down", BOOT_LIMIT, || {
            still_runs(node, qemu)?;
            let console = console(node)?;
            Ok((console.matches(RESTARTS).count() >= reboots).then_some(()))
        })
    }

    /// What left it since this was last asked.
    pub fn take(&mut self) -> Result<Tally> {
        let mut bytes = Vec::new();
        self.capture.read_to_end(&mut bytes)?;
        let mut tally = Tally::default();
        for frame in self.reader.push(&bytes)? {
            tally.add(&frame, &self.ends);
        }
        Ok(tally)
    }

    /// Ends it, and checks that the capture has all of the last frame.
    pub fn end(self) -> Result<()> {
        let Self {
            qemu,
            mut capture,
            mut reader,
            ..
        } = self;
        qemu.kill()?;
        let mut bytes = Vec::new();
        capture.read_to_end(&mut bytes)?;
        reader.push(&bytes)?;
        ensure!(reader.is_whole(), "the capture ends within a frame");
        Ok(())
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

/// The clock of captures, microseconds since 1970, to a second: QEMU begins its own at a full one.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
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
