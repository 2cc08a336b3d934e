//! Who connects and who listens, as far as `/proc/net` still shows it half a second later.
//!
//! `/proc/net/tcp` names sockets by inode; who has one is found by the links in `/proc/PID/fd`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::PipeReader;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cordon_behavior::event::{EventBody, Protocol};
use procfs::net::{TcpNetEntry, TcpState};

use super::image::pids;
use crate::cache::Bounded;
use crate::coverage::GIVE_EBPF;
use crate::out::Out;
use crate::sensor::Source;
use crate::task;
use crate::{CacheUse, Coverage};

const INTERVAL: Duration = Duration::from_millis(500);
/// Looking takes at most one part in this many of one core, however many sockets there are.
const SHARE: u32 = 20;
/// Most sockets remembered; those beyond are not told of, and counted.
const KNOWN: usize = 65_536;
/// An upper estimate of an inode number with its place in the table.
const ENTRY_BYTES: usize = 24;

const SOURCE: &str = "/proc/net/tcp, polled";

/// Starts looking.
pub(crate) fn start(out: &Out) -> Source {
    let usage = Arc::new(Usage::default());
    out.register(usage.clone());
    let own_out = out.clone();
    Source::spawn("cordon-sockets", seen(), move |stopped| {
        watch(&own_out, &usage, stopped);
    })
}

pub(crate) fn seen() -> Vec<Coverage> {
    let brief = "connections that end within half a second and those of other network namespaces are missed";
    let listen = "bound UDP sockets and listeners of other network namespaces are missed";
    vec![
        Coverage::part("connect", SOURCE, brief, Some(GIVE_EBPF)),
        Coverage::part("listen", SOURCE, listen, Some(GIVE_EBPF)),
    ]
}

fn watch(out: &Out, usage: &Usage, stopped: &PipeReader) {
    let mut known = HashSet::new();
    loop {
        let begun = Instant::now();
        let mut table = table();
        out.loss("proc/sockets", usage.keep(&mut table));
        tell(&mut news(&known, &table), out);
        known = table.iter().map(|entry| entry.inode).collect();
        let rest = INTERVAL.max(begun.elapsed() * SHARE);
        if task::nap(stopped, rest) {
            return;
        }
    }
}

/// Every TCP socket of this network namespace that somebody has.
fn table() -> Vec<TcpNetEntry> {
    let mut table = Vec::new();
    for read in [procfs::net::tcp(), procfs::net::tcp6()] {
        match read {
            Ok(entries) => table.extend(entries),
            // Without IPv6 there is no such file.
            Err(error) => tracing::debug!(%error, "cannot read a table of TCP sockets"),
        }
    }
    table.retain(|entry| entry.inode != 0);
    table
}

/// What the sockets that were not known do, by inode.
fn news(known: &HashSet<u64>, table: &[TcpNetEntry]) -> HashMap<u64, EventBody> {
    let listening = table.iter().filter(|entry| entry.state == TcpState::Listen);
    let ports: HashSet<u16> = listening.map(|entry| entry.local_address.port()).collect();
    let unknown = table.iter().filter(|entry| !known.contains(&entry.inode));
    let told = unknown.filter_map(|entry| {
        let body = if entry.state == TcpState::Listen {
            let local = canonical(entry.local_address);
            let protocol = Protocol::Tcp;
            EventBody::Listen { local, protocol }
        } else if ports.contains(&entry.local_address.port()) {
            // The other end began it.
            return None;
        } else {
            let remote = canonical(entry.remote_address);
            EventBody::Connect { remote }
        };
        Some((entry.inode, body))
    });
    told.collect()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Tells each with the first process that has the socket. Those that nobody here has are of processes
/// outside the scope.
fn tell(news: &mut HashMap<u64, EventBody>, out: &Out) {
    for pid in pids().unwrap_or_default() {
        if news.is_empty() {
            return;
        }
        for inode in sockets_of(pid) {
            if let Some(body) = news.remove(&inode) {
                out.event_of_pid(pid, body);
            }
        }
    }
}

/// Inodes of the sockets that a process has; none when it has ended.
fn sockets_of(pid: u32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inodes = links.filter_map(|link| {
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    });
    inodes.collect()
}

/// How full the table of known sockets is.
#[derive(Default)]
struct Usage {
    entries: AtomicU64,
    refused: AtomicU64,
}

impl Usage {
    /// The sockets to remember; those beyond the bound are looked at no more.
    fn keep(&self, table: &mut Vec<TcpNetEntry>) -> u64 {
        let beyond = table.len().saturating_sub(KNOWN);
        table.truncate(KNOWN);
        self.entries.store(table.len() as u64, Ordering::Relaxed);
        self.refused.fetch_add(beyond as u64, Ordering::Relaxed);
        beyond as u64
    }
}

impl Bounded for Usage {
    fn usage(&self) -> CacheUse {
        let entries = self.entries.load(Ordering::Relaxed);
        CacheUse {
            name: "sockets",
            bytes: entries * ENTRY_BYTES as u64,
            limit_bytes: (KNOWN * ENTRY_BYTES) as u64,
            entries,
            evicted: self.refused.load(Ordering::Relaxed),
        }
    }
}
