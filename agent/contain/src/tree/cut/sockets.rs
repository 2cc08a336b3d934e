//! Sockets that the cut-off held before: they belong to the cgroups of before for ever, so they are destroyed.

use std::collections::BTreeSet;
use std::fs;

/// Sockets of processes.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Inodes of those that nobody else holds.
    pub(super) own: BTreeSet<u64>,
    /// How many others hold too: a server's that its child inherited, for example. They are left alone.
    pub(super) shared: usize,
}

/// What these processes hold. Asks everybody else too, where they hold anything.
pub(super) fn held_by(inside: &BTreeSet<u32>) -> Held {
    let mut own: BTreeSet<u64> = inside.iter().flat_map(|pid| inodes(*pid)).collect();
    if own.is_empty() {
        return Held::default();
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut shared = 0;
    for pid in pids.filter(|pid| !inside.contains(pid)) {
        for inode in inodes(pid) {
            shared += usize::from(own.remove(&inode));
        }
    }
    Held { own, shared }
}

fn inodes(pid: u32) -> Vec<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        inode.parse().ok()
    };
    open.flatten().filter_map(inode).collect()
}

/// Whether a process is in the network namespace that this one is in, whose sockets alone can be destroyed.
pub(super) fn is_in_our_network(pid: u32) -> bool {
    let own = fs::read_link("/proc/thread-self/ns/net").ok();
    own.is_some() && fs::read_link(format!("/proc/{pid}/ns/net")).ok() == own
}
