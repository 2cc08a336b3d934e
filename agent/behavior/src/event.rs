//! What a sensor saw, whatever sensor it was.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::story::StdioKind;

/// A process, over pid reuse: the pid in the scope's namespace and the kernel's start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Pid (thread group id) as seen in the sensor's scope.
    pub pid: u32,
    /// `task_struct::start_boottime`, nanoseconds. Fallback sensors know it to a clock tick only.
    pub start_ns: u64,
}

/// One observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// CLOCK_MONOTONIC, nanoseconds, stamped in the kernel.
    pub mono_ns: u64,
    /// CLOCK_REALTIME, nanoseconds.
    pub wall_ns: u64,
    /// Who did it.
    pub process: ProcessKey,
    /// cgroup v2 id (inode number) of the doer; 0 when unknown.
    pub cgroup_id: u64,
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
    /// An outbound TCP connection was begun.
    Connect {
        /// Where to.
        remote: SocketAddr,
    },
    /// A listening socket accepted a connection.
    Accept {
        /// Where from.
        remote: SocketAddr,
        /// Local port.
        local_port: u16,
    },
    /// Events that never reached user space.
    Loss {
        /// Ring or source name.
        source: String,
        /// How many.
        count: u64,
    },
}

/// A process image.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Parent, when it is inside the scope.
    pub parent: Option<ProcessKey>,
    /// Path of the image as executed.
    pub exe: String,
    /// Arguments, lossy UTF-8, up to the sensor's stated bound.
    pub argv: Vec<String>,
    /// The kernel had more of it.
    pub argv_truncated: bool,
    /// Working directory; empty when unknown.
    pub cwd: String,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Has a controlling terminal.
    pub tty: bool,
    /// File descriptors 0, 1 and 2.
    pub stdio: [StdioKind; 3],
    /// The image was unlinked when it was executed.
    pub deleted_exe: bool,
    /// The image lives in a memfd.
    pub memfd: bool,
    /// Found by the start-up snapshot rather than seen happening.
    pub snapshot: bool,
}
