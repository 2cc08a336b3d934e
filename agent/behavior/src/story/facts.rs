//! What a process and its descendants did beside making processes, connections and files.

use serde::{Deserialize, Serialize};

/// Typed facts. What is absent was not seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// How many files were changed, watched or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_rates: Option<FileRates>,
    /// Ends that were connected to again and again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beacons: Vec<Beacon>,
    /// Memory that became executable without being a program's code: `//anon`, `[heap]`,
    /// `/memfd:x` or a file's path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub executable_memory: Vec<String>,
    /// Programs that were traced (ptrace); empty where the program is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ptraced: Vec<String>,
    /// Kernel modules that were loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// BPF programs that were loaded, `type:name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bpf: Vec<String>,
    /// What was mounted and unmounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Raw and packet sockets that were opened: `raw4`, `raw6`, `packet`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub raw_sockets: Vec<String>,
    /// How somebody came in or rose: in the lineage, else the latest of the same user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Login>,
}

impl Facts {
    /// None is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes to files by the process and its descendants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRates {
    /// Files closed after writing.
    pub written: u64,
    /// Files made.
    pub created: u64,
    /// Renames.
    pub renamed: u64,
    /// Files removed.
    pub unlinked: u64,
    /// Most changes (written, renamed, removed) in one second.
    pub per_second: f32,
    /// Most directories that were changed in one interval of the sensor by one process.
    pub directories: u16,
    /// Mean Shannon entropy of what was written, bits a byte, 0 to 8; absent when it was not
    /// sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f32>,
    /// Most sampled files in one minute that look encrypted and took the place of others.
    #[serde(skip_serializing_if = "is_zero")]
    pub encrypted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Connections to one end that come back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beacon {
    /// The end.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// How often it was connected to; at least 5.
    pub times: u32,
    /// Mean time between two beginnings, milliseconds.
    pub every_ms: u64,
    /// Standard deviation of that time, divided by its mean: 0 is a clock.
    pub variation: f32,
}

/// Something mounted or unmounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Where.
    pub path: String,
    /// Mounted, else unmounted.
    pub attached: bool,
    /// File system type; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fs_type: String,
}

/// A login or a gain of privilege, or an attempt at one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// `ssh`, `su`, `sudo`, `console`, `service` or `other`.
    pub method: String,
    /// Name of the account; empty when only the uid is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Uid of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Remote host or address; empty for a local login.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// It succeeded.
    pub success: bool,
    /// How often.
    pub times: u32,
}
