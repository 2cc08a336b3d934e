//! The Story: what the judge reads, in the one JSON form that `record`, `judge`, fixtures and the
//! console share.
//!
//! Every field but `id` may be absent; at least one of `process`, `command`, `session` is there.
//! Unknown fields are ignored, so that a newer sensor's story can be judged by an older model.

use serde::{Deserialize, Serialize};

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
    /// Names that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// What was done to files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileOperation>,
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
pub struct Process {
    /// Path of the image.
    pub exe: String,
    /// Arguments.
    pub argv: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Effective uid.
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
    /// `out` or `in`.
    pub direction: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The other end's address.
    pub address: String,
    /// `out`: the remote port; `in`: the local port.
    pub port: u16,
}

/// Something done to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileOperation {
    /// `write`, `create`, `rename`, `unlink`, `link`, `chmod` or `read`.
    pub op: String,
    /// Its path.
    pub path: String,
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
mod tests {
    use super::*;

    /// The example of the design, word for word: it must be read in full and written back the same.
    const GOLDEN: &str = r#"{"id":"a1",
 "process":{"exe":"/usr/bin/bash","argv":["bash","-c","..."],"cwd":"/tmp","uid":33,"euid":0,"tty":false,
            "stdin":"socket","stdout":"socket","stderr":"socket","deleted_exe":false,"memfd":false},
 "ancestors":[{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"],"uid":33}],
 "children":[{"exe":"/usr/bin/id","argv":["id"],"uid":33}],
 "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}],
 "dns":["update.example.net"],
 "files":[{"op":"write","path":"/etc/cron.d/x"}],
 "command":"one shell line as typed, when only text is known",
 "session":["several shell lines, run in order by one shell"]}"#;

    #[test]
    fn golden_story_is_read_and_written_back_whole() {
        let story = Story::from_json(GOLDEN.as_bytes()).unwrap();
        let written = serde_json::to_value(&story).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<serde_json::Value>(GOLDEN).unwrap()
        );
    }

    #[test]
    fn unknown_fields_and_unknown_stdio_kinds_are_read() {
        let line =
            br#"{"id":"x","later":1,"process":{"exe":"/bin/true","stdin":"hologram","new":[]}}"#;
        let story = Story::from_json(line).unwrap();
        assert_eq!(story.process.unwrap().stdin, StdioKind::Unknown);
    }

    #[test]
    fn a_story_about_nothing_is_an_error() {
        assert_eq!(Story::from_json(br#"{"id":"x"}"#), Err(StoryError::Empty));
    }

    #[test]
    fn wrong_types_are_an_error_that_says_where() {
        let error = Story::from_json(br#"{"id":"x","process":{"argv":7}}"#).unwrap_err();
        assert!(error.to_string().contains("expected a sequence"), "{error}");
    }
}
