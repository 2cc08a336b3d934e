//! The Story: what the judge reads, in the one JSON form that `record`, `judge`, fixtures and the
//! console share.
//!
//! Every field but `id` may be absent; at least one of `process`, `command`, `session` is there.
//! Unknown fields are ignored, so that a newer sensor's story can be judged by an older model.

mod facts;

use serde::{Deserialize, Serialize};

use crate::event::Container;
pub use facts::{Beacon, Facts, FileRates, Login, Mount};

/// What a file descriptor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdioKind {
    /// A terminal.
    Tty,
    /// `/dev/null`.
    Null,
    /// A pipe or FIFO.
    Pipe,
    /// A regular file.
    File,
    /// An internet socket.
    Socket,
    /// A local (AF_UNIX) socket.
    UnixSocket,
    /// Not open.
    Closed,
    /// Open, something else.
    Other,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One judged unit: a process in its tree, or shell text when only text is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// Names the story in answers.
    pub id: String,
    /// Names its process tree: stories with the same name, in the order in which they were judged, tell of each other.
    /// Empty when not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tree: String,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Relative>,
    /// In the order of their start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Relative>,
    /// In the order of their start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Connection>,
    /// Names that were asked for, in the order of the first question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// What was done to watched files, in the order of the first time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileOperation>,
    /// What else the process and its descendants did.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
    /// One shell line as typed, when only text is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Several shell lines, run in order by one shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session: Vec<String>,
}

/// The process that a story is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Process {
    /// Path of the image: of the interpreter, where a script names one.
    pub exe: String,
    /// Arguments.
    pub argv: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Real uid when it was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Effective uid when it was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub euid: Option<u32>,
    /// Has a controlling terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// File descriptor 0.
    pub stdin: StdioKind,
    /// File descriptor 1.
    pub stdout: StdioKind,
    /// File descriptor 2.
    pub stderr: StdioKind,
    /// The image was unlinked.
    pub deleted_exe: bool,
    /// The image lives in a memfd.
    pub memfd: bool,
    /// Real gid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Effective gid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egid: Option<u32>,
    /// There were more arguments than `argv` has.
    #[serde(skip_serializing_if = "is_false")]
    pub argv_truncated: bool,
    /// Path of the script that the interpreter runs; empty when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub script: String,
    /// Names of the environment variables that are set, of those that change how a program is
    /// loaded or run (`LD_PRELOAD` and the like).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The package that owns the image; empty: none does; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// This host had not executed this image before; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<bool>,
    /// Anybody may write the image or a directory above it; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world_writable: Option<bool>,
    /// Executed by file descriptor rather than by name.
    #[serde(skip_serializing_if = "is_false")]
    pub by_descriptor: bool,
    /// It rose to root after it was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid_raised: Option<Raised>,
    /// Effective capabilities that it gained after it was executed (`CAP_SYS_ADMIN`, ...).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities_gained: Vec<String>,
    /// Kinds of the namespaces that are not its parent's, or that it changed (`mnt`, `net`, ...).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Uid that logged in; absent when nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// Login session, the kernel's number of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// The container that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

/// A change of the effective uid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Raised {
    /// Before.
    pub from: u32,
    /// After.
    pub to: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// An ancestor or a child.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relative {
    /// Path of the image.
    pub exe: String,
    /// Arguments.
    pub argv: Vec<String>,
    /// Real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// A network flow of the process or its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// `out`, `in`, or `listen`: waits for others.
    pub direction: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The other end's address; of `listen` the local one.
    pub address: String,
    /// `out`: the remote port; `in`, `listen`: the local port.
    pub port: u16,
    /// How often, where more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Payload bytes that this host sent, all times together; absent until an end was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Payload bytes that this host received, all times together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// The longest time from beginning to end, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasted_ms: Option<u64>,
}

/// Something done to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileOperation {
    /// `write`, `create`, `rename`, `unlink`, `link`, `chmod` or `read`.
    pub op: String,
    /// Its path.
    pub path: String,
    /// The new name of a rename or link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it is told: `watched`, `secret` or `decoy`; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sensitivity: String,
}

/// Why a line is not a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoryError {
    /// Not JSON, or a field of the wrong type.
    Json(String),
    /// None of `process`, `command`, `session`.
    Empty,
}

impl std::fmt::Display for StoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(why) => write!(f, "not a story: {why}"),
            Self::Empty => {
                f.write_str("story has none of process, command, session: give at least one")
            }
        }
    }
}

impl std::error::Error for StoryError {}

impl Story {
    /// Reads one JSON line.
    pub fn from_json(line: &[u8]) -> Result<Self, StoryError> {
        let story: Self =
            serde_json::from_slice(line).map_err(|error| StoryError::Json(error.to_string()))?;
        if story.process.is_none() && story.command.is_none() && story.session.is_empty() {
            return Err(StoryError::Empty);
        }
        Ok(story)
    }
}

#[cfg(test)]
mod tests;
