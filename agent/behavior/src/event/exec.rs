//! A process image.

use serde::{Deserialize, Serialize};

use super::{Namespaces, ProcessKey};
use crate::story::StdioKind;

/// Which file an image is, so that a verdict on its content can be kept until it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Device number, as `stat` gives it.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Last change of its content, nanoseconds of CLOCK_REALTIME.
    pub mtime_ns: u64,
    /// Bytes.
    pub size: u64,
}

/// Where an image comes from, as this host's records say. `None` is "not known", never "no".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// Name of the package (dpkg, rpm) that owns the path; an empty one: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// This host had not executed this image before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<bool>,
    /// Anybody may write the image or a directory above it (sticky ones, like /tmp, included).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world_writable: Option<bool>,
}

/// What the kernel did with a program that is on the list of those that must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listed {
    /// Nothing: it is only told.
    Told,
    /// Killed.
    Killed,
    /// Stopped, until it is known whether its content is listed: its size is.
    Held,
}

/// A process image.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// Parent, when it is inside the scope.
    pub parent: Option<ProcessKey>,
    /// Path of the image as executed: of the interpreter, where a script names one.
    pub exe: String,
    /// Path of the script, as it was executed but from the root on, when an interpreter runs it; else
    /// empty.
    pub script: String,
    /// Which file `exe` is.
    pub identity: Option<FileIdentity>,
    /// Arguments, lossy UTF-8, up to the sensor's stated bound.
    pub argv: Vec<String>,
    /// The kernel had more of it.
    pub argv_truncated: bool,
    /// Names of environment variables on the sensor's short list (`LD_PRELOAD` and the like) that
    /// are set.
    pub env: Vec<String>,
    /// Working directory; empty when unknown.
    pub cwd: String,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Real gid.
    pub gid: u32,
    /// Effective gid.
    pub egid: u32,
    /// Effective capabilities, bit n is capability n of capabilities(7).
    pub capabilities: u64,
    /// Uid that logged in (`/proc/PID/loginuid`); `None` when nobody did.
    pub login_uid: Option<u32>,
    /// Login session (`/proc/PID/sessionid`); `None` when there is none.
    pub session: Option<u32>,
    /// Namespaces in which it differs from its parent.
    pub namespaces: Namespaces,
    /// Has a controlling terminal.
    pub tty: bool,
    /// File descriptors 0, 1 and 2.
    pub stdio: [StdioKind; 3],
    /// The image was unlinked when it was executed.
    pub deleted_exe: bool,
    /// The image lives in a memfd.
    pub memfd: bool,
    /// Executed by file descriptor (fexecve) rather than by name.
    pub by_descriptor: bool,
    /// Where the image comes from.
    pub origin: Origin,
    /// Found by the start-up snapshot rather than seen happening.
    pub snapshot: bool,
    /// What was done because the policy lists the program, before its first instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
}
