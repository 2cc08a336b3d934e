//! What `/proc` tells of a process.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use cordon_behavior::event::{Exec, FileIdentity, ProcessKey};
use cordon_behavior::story::StdioKind;
use procfs::process::Process;

use crate::{clock, record};

/// As much as the eBPF program keeps.
const ARGV_BYTES: u64 = 4096;
const DELETED: &str = " (deleted)";
const MEMFD: &str = "/memfd:";

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub start_ns: u64,
    pub parent: u32,
    /// Where the arguments lie: another place after each exec, by address randomisation; 0 for those who
    /// may not know it.
    pub argv_at: u64,
    /// Not in the middle of an exec that has the place for them and reads as if there were none.
    pub is_laid_out: bool,
}

pub(crate) fn pids() -> std::io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

pub(super) fn see(pid: u32) -> Option<Seen> {
    let stat = Process::new(pid.cast_signed()).ok()?.stat().ok()?;
    let argv_at = stat.arg_start.unwrap_or(0);
    Some(Seen {
        start_ns: stat.starttime * clock::tick_ns(),
        parent: stat.ppid.cast_unsigned(),
        argv_at,
        is_laid_out: argv_at == 0 || stat.arg_end > stat.arg_start,
    })
}

/// Real and effective uid of a process now; `None` when it has ended.
pub(crate) fn user_ids(pid: u32) -> Option<(u32, u32)> {
    let status = Process::new(pid.cast_signed()).ok()?.status().ok()?;
    Some((status.ruid, status.euid))
}

/// The image of a process now; `None` when it has ended.
pub(super) fn read(pid: u32, parent: Option<ProcessKey>, snapshot: bool) -> Option<Exec> {
    let process = Process::new(pid.cast_signed()).ok()?;
    let stat = process.stat().ok()?;
    let status = process.status().ok()?;
    let (argv, argv_truncated) = arguments(pid)?;
    let link = |name| {
        let target = fs::read_link(format!("/proc/{pid}/{name}"));
        target.map_or(String::new(), |path| path.to_string_lossy().into_owned())
    };
    let mut exe = link("exe");
    let memfd = exe.starts_with(MEMFD);
    let is_deleted = exe.ends_with(DELETED);
    if is_deleted {
        exe.truncate(exe.len() - DELETED.len());
    }
    Some(Exec {
        parent,
        exe,
        argv,
        argv_truncated,
        cwd: link("cwd"),
        uid: status.ruid,
        euid: status.euid,
        tty: stat.tty_nr != 0,
        stdio: [0, 1, 2].map(|number| descriptor(pid, number)),
        deleted_exe: is_deleted && !memfd,
        memfd,
        identity: identity(pid),
        gid: status.rgid,
        egid: status.egid,
        capabilities: status.capeff,
        snapshot,
        ..Exec::default()
    })
}

/// Which file a process runs, also when it has no name any more.
fn identity(pid: u32) -> Option<FileIdentity> {
    let facts = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    let seconds = facts.mtime().cast_unsigned();
    Some(FileIdentity {
        device: facts.dev(),
        inode: facts.ino(),
        mtime_ns: seconds * 1_000_000_000 + facts.mtime_nsec().cast_unsigned(),
        size: facts.size(),
    })
}

/// The arguments of a process, and whether there were more; `None` unless the process with this pid
/// here is `key` and still runs the image whose arguments lie at `argv_at`.
pub(crate) fn arguments_of(key: ProcessKey, argv_at: u64) -> Option<(Vec<String>, bool)> {
    let arguments = arguments(key.pid)?;
    let tick_ns = clock::tick_ns();
    let seen = see(key.pid)?;
    let is_same = seen.start_ns / tick_ns == key.start_ns / tick_ns;
    // The place is told as 0 to those who may not know it.
    (is_same && (seen.argv_at == argv_at || seen.argv_at == 0)).then_some(arguments)
}

fn arguments(pid: u32) -> Option<(Vec<String>, bool)> {
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = Vec::new();
    file.take(ARGV_BYTES + 1).read_to_end(&mut bytes).ok()?;
    let truncated = bytes.len() as u64 > ARGV_BYTES;
    bytes.truncate(ARGV_BYTES as usize);
    Some((record::arguments(&bytes), truncated))
}

fn descriptor(pid: u32, number: u32) -> StdioKind {
    let path = format!("/proc/{pid}/fd/{number}");
    let Ok(facts) = fs::metadata(&path) else {
        let is_gone = !Path::new(&format!("/proc/{pid}/fd")).exists();
        return if is_gone {
            StdioKind::Unknown
        } else {
            StdioKind::Closed
        };
    };
    let kind = facts.file_type();
    if kind.is_file() {
        StdioKind::File
    } else if kind.is_fifo() {
        StdioKind::Pipe
    } else if kind.is_char_device() {
        match (libc::major(facts.rdev()), libc::minor(facts.rdev())) {
            (1, 3) => StdioKind::Null,
            (4 | 5 | 136..=143, _) => StdioKind::Tty,
            _ => StdioKind::Other,
        }
    } else if kind.is_socket() {
        socket(pid, facts.ino())
    } else {
        StdioKind::Other
    }
}

/// The family of a socket is only in the tables of its network namespace.
fn socket(pid: u32, inode: u64) -> StdioKind {
    let inode = inode.to_string();
    let has = |table: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines()
            .any(|line| line.split_whitespace().any(|field| field == inode))
    };
    if has("unix") {
        StdioKind::UnixSocket
    } else if ["tcp", "tcp6", "udp", "udp6"].into_iter().any(has) {
        StdioKind::Socket
    } else {
        StdioKind::Unknown
    }
}
