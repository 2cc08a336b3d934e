//! The part of the schema that is read. Attributes have had these names since 1.0, except where said.

use jiff::Timestamp;
use serde::Deserialize;

use crate::lenient::{Maybe, Number, Text};

const MS: u64 = 1_000_000;

#[expect(clippy::struct_field_names, reason = "the schema's names")]
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Activity {
    pub class_uid: Number,
    pub activity_id: Number,
    /// Milliseconds.
    pub time: Number,
    pub time_dt: Text,
    /// Milliseconds.
    pub duration: Number,
    pub status: Text,
    pub status_id: Number,
    pub actor: Maybe<Actor>,
    pub process: Option<Box<Process>>,
    pub exit_code: Number,
    pub src_endpoint: Maybe<Endpoint>,
    pub dst_endpoint: Maybe<Endpoint>,
    pub connection_info: Maybe<Connection>,
    pub traffic: Maybe<Traffic>,
    pub query: Maybe<Query>,
    pub answers: Option<Vec<Answer>>,
    pub rcode_id: Number,
    pub file: Maybe<File>,
    /// What a rename made of it.
    pub file_result: Option<File>,
    pub user: Maybe<User>,
    pub service: Maybe<Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Actor {
    pub process: Option<Box<Process>>,
}

#[expect(clippy::struct_field_names, reason = "the schema's names")]
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process {
    pub pid: Number,
    pub uid: Text,
    pub name: Text,
    /// Since 1.5; before, `file.path`.
    pub path: Text,
    pub cmd_line: Text,
    /// Since 1.3.
    pub working_directory: Text,
    pub file: Maybe<File>,
    pub user: Option<User>,
    /// Of the `linux` profile.
    pub euid: Number,
    pub auid: Number,
    pub tty: Text,
    /// Milliseconds.
    pub created_time: Number,
    pub created_time_dt: Text,
    pub parent_process: Option<Box<Process>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub path: Text,
    pub name: Text,
    pub parent_folder: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    pub uid: Text,
    pub name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Endpoint {
    pub ip: Text,
    pub port: Number,
    pub hostname: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub direction_id: Number,
    pub protocol_num: Number,
    pub protocol_name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Traffic {
    pub bytes_in: Number,
    pub bytes_out: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    pub hostname: Text,
    #[serde(rename = "type")]
    pub query_type: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub rdata: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub name: Text,
}

impl Activity {
    pub(super) fn wall_ns(&self) -> Option<u64> {
        time(self.time, &self.time_dt)
    }

    pub(super) fn duration_ns(&self) -> u64 {
        self.duration.small::<u64>().unwrap_or(0).saturating_mul(MS)
    }
}

impl Process {
    pub(super) fn exe(&self) -> String {
        let found = [&self.path, &self.file.path]
            .into_iter()
            .find_map(Text::some);
        found.map_or_else(|| self.file.full_path(), str::to_owned)
    }

    pub(super) fn start_ns(&self) -> Option<u64> {
        time(self.created_time, &self.created_time_dt)
    }
}

impl File {
    pub(super) fn full_path(&self) -> String {
        match (self.path.some(), self.parent_folder.some()) {
            (Some(path), _) => path.to_owned(),
            (None, Some(folder)) => format!("{}/{}", folder.trim_end_matches('/'), self.name.0),
            (None, None) => self.name.0.clone(),
        }
    }
}

impl Connection {
    pub(super) fn is_udp(&self) -> bool {
        match self.protocol_num.0 {
            Some(number) => number == 17,
            None => self.protocol_name.0.eq_ignore_ascii_case("udp"),
        }
    }
}

impl Traffic {
    /// Bytes sent and received by this host; a producer's `in` and `out` are the source's.
    pub(super) fn of(&self, is_inbound: bool) -> (u64, u64) {
        let bytes = |number: Number| number.small().unwrap_or(0);
        let (bytes_in, bytes_out) = (bytes(self.bytes_in), bytes(self.bytes_out));
        if is_inbound {
            (bytes_in, bytes_out)
        } else {
            (bytes_out, bytes_in)
        }
    }
}

/// Milliseconds since 1970, or a text of RFC 3339; nothing before 1970.
fn time(ms: Number, text: &Text) -> Option<u64> {
    if let Some(ms) = ms.small::<u64>() {
        return Some(ms.saturating_mul(MS));
    }
    let time: Timestamp = text.some()?.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}
