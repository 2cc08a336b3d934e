//! What a sensor saw, whatever sensor it was.
//!
//! A body that a sensor of this host can't see is never made up: absence of an event says nothing
//! where the sensor's coverage does not name the class as covered.

mod exec;
mod file;
mod network;
mod process;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use exec::{Exec, FileIdentity, Listed, Origin};
pub use file::{FileChange, FileOp, FileRates, Sensitivity};
pub use network::{Closed, Direction, Dns, Protocol, SocketFamily};
pub use process::{Credentials, Login, LoginMethod, Namespaces};

use std::net::SocketAddr;

/// A process, over pid reuse: the pid in the scope's namespace and the kernel's start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Pid (thread group id) as seen in the sensor's scope.
    pub pid: u32,
    /// `task_struct::start_boottime`, nanoseconds. Fallback sensors know it to a clock tick only.
    pub start_ns: u64,
}

impl ProcessKey {
    /// Nobody that is known: of events that the kernel does not attribute, and of notices.
    pub const NONE: Self = Self {
        pid: 0,
        start_ns: 0,
    };
}

/// A container, as its cgroup names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The runtime's id of it, 64 hexadecimal digits; its name with lxc and systemd-nspawn.
    pub id: String,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`; empty when unknown.
    pub runtime: String,
    /// The image's name when the runtime tells it, else empty.
    pub image: String,
}

/// One observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// CLOCK_MONOTONIC, nanoseconds, stamped in the kernel; at the reading end for sources without
    /// a stamp (fanotify, logins).
    pub mono_ns: u64,
    /// CLOCK_REALTIME, nanoseconds.
    pub wall_ns: u64,
    /// Who did it; [`ProcessKey::NONE`] where the source does not say.
    pub process: ProcessKey,
    /// cgroup v2 id (inode number) of the doer; 0 when unknown.
    pub cgroup_id: u64,
    /// The container that the cgroup belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "shared")]
    pub container: Option<Arc<Container>>,
    /// What was done.
    pub body: EventBody,
}

/// The kinds of observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// A new program image; also each process that a start-up snapshot finds.
    Exec(Box<Exec>),
    /// `process` made `child`.
    Fork {
        /// The new process.
        child: ProcessKey,
    },
    /// `process` ended.
    Exit {
        /// Exit status, 0 when killed.
        code: i32,
        /// Signal that ended it, 0 when it returned.
        signal: i32,
    },
    /// The credentials of `process` changed: by setuid and its kin, or by an image that gives other
    /// rights (set-uid, file capabilities).
    Credential(Box<Credentials>),
    /// `process` is in other namespaces than before, by unshare, setns or clone.
    Namespace {
        /// Those that changed.
        changed: Namespaces,
    },
    /// `process` traces `target`.
    Ptrace {
        /// The traced process.
        target: ProcessKey,
    },
    /// Memory that was not mapped from a program's code became executable (mprotect W to X, or an
    /// anonymous executable mapping).
    ExecutableMemory {
        /// `//anon`, `[heap]`, `/memfd:x` or the file's path.
        path: String,
        /// Writable and executable at once.
        writable: bool,
    },
    /// A kernel module was loaded.
    Module {
        /// Its name.
        name: String,
    },
    /// A BPF program was loaded.
    Bpf {
        /// The kernel's id of the program.
        id: u32,
        /// Its name, up to 15 bytes; empty when it has none.
        name: String,
        /// Its type, as bpftool names it (`tracing`, `cgroup_skb`, ...); empty when unknown.
        program_type: String,
    },
    /// Something was mounted or unmounted.
    Mount {
        /// Where.
        path: String,
        /// Mounted, else unmounted.
        attached: bool,
        /// File system type; empty when unknown.
        fs_type: String,
    },
    /// A cgroup was made or removed: names the ids that other events carry.
    Cgroup {
        /// Its id.
        id: u64,
        /// Its path below the cgroup2 root.
        path: String,
        /// Made (or found at start), else removed.
        created: bool,
    },
    /// An outbound TCP connection was begun.
    Connect {
        /// Where to.
        remote: SocketAddr,
    },
    /// A listening socket accepted a connection. `process` is who listens.
    Accept {
        /// Where from.
        remote: SocketAddr,
        /// Local port.
        local_port: u16,
    },
    /// A TCP connection ended.
    Close(Box<Closed>),
    /// A TCP socket listens, or a UDP socket is bound.
    Listen {
        /// Where.
        local: SocketAddr,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// A UDP peer that the process had not sent to before (as far as is remembered).
    Udp {
        /// The peer.
        remote: SocketAddr,
    },
    /// A DNS question or answer over UDP, by the process that asked.
    Dns(Box<Dns>),
    /// A raw or packet socket was opened.
    RawSocket {
        /// Which family.
        family: SocketFamily,
        /// IP protocol or ethertype; 0 when unknown.
        protocol: u16,
    },
    /// Something was done to a file on a watched path.
    File(Box<FileChange>),
    /// How much a process changed files since the last such event of it.
    FileRates(Box<FileRates>),
    /// Somebody logged in, or failed to.
    Login(Box<Login>),
    /// A cgroup makes more events than are taken: from here on some are counted and not handed
    /// over (`started`), or it is over.
    Throttle {
        /// The cgroup.
        cgroup: u64,
        /// It began, else it ended.
        started: bool,
        /// Events counted and not handed over since it began; each is in a loss event too.
        dropped: u64,
    },
    /// Events that never reached user space.
    Loss {
        /// Ring or source and type, for example `ring/exec`, `throttle/fork`, `fanotify/overflow`.
        source: String,
        /// How many.
        count: u64,
    },
}

/// Every event of a container shares one description of it; written, each has its own.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Container;

    #[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
    pub(super) fn serialize<S: Serializer>(
        container: &Option<Arc<Container>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        container.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Container>>, D::Error> {
        Ok(Option::<Container>::deserialize(deserializer)?.map(Arc::new))
    }
}

impl Event {
    /// The class that coverage and metrics count this under, for example `exec`.
    pub fn class(&self) -> &'static str {
        match &self.body {
            EventBody::Exec(_) => "exec",
            EventBody::Fork { .. } => "fork",
            EventBody::Exit { .. } => "exit",
            EventBody::Credential(_) => "credential",
            EventBody::Namespace { .. } => "namespace",
            EventBody::Ptrace { .. } => "ptrace",
            EventBody::ExecutableMemory { .. } => "executable_memory",
            EventBody::Module { .. } => "module",
            EventBody::Bpf { .. } => "bpf",
            EventBody::Mount { .. } => "mount",
            EventBody::Cgroup { .. } => "cgroup",
            EventBody::Connect { .. } => "connect",
            EventBody::Accept { .. } => "accept",
            EventBody::Close(_) => "close",
            EventBody::Listen { .. } => "listen",
            EventBody::Udp { .. } => "udp",
            EventBody::Dns(_) => "dns",
            EventBody::RawSocket { .. } => "raw_socket",
            EventBody::File(_) => "file",
            EventBody::FileRates(_) => "file_rates",
            EventBody::Login(_) => "login",
            EventBody::Throttle { .. } => "throttle",
            EventBody::Loss { .. } => "loss",
        }
    }
}
