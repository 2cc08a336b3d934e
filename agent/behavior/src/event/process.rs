//! Credentials, namespaces and logins.

use serde::{Deserialize, Serialize};

/// Credentials after a change, and the uid before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// Effective uid before.
    pub old_euid: Option<u32>,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Real gid.
    pub gid: Option<u32>,
    /// Effective gid.
    pub egid: Option<u32>,
    /// Effective capabilities before, when known.
    pub old_capabilities: Option<u64>,
    /// Effective capabilities, bit n is capability n of capabilities(7).
    pub capabilities: Option<u64>,
}

/// A set of namespace kinds.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a kind of namespaces(7)"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Mounts.
    pub mnt: bool,
    /// Process ids.
    pub pid: bool,
    /// Network.
    pub net: bool,
    /// Users.
    pub user: bool,
    /// Host name.
    pub uts: bool,
    /// System V IPC and POSIX queues.
    pub ipc: bool,
    /// cgroup root.
    pub cgroup: bool,
    /// Clocks.
    pub time: bool,
}

impl Namespaces {
    /// None of them.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Those that are in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            mnt: self.mnt || other.mnt,
            pid: self.pid || other.pid,
            net: self.net || other.net,
            user: self.user || other.user,
            uts: self.uts || other.uts,
            ipc: self.ipc || other.ipc,
            cgroup: self.cgroup || other.cgroup,
            time: self.time || other.time,
        }
    }

    /// Their names, as in `/proc/PID/ns`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let kinds = [
            ("mnt", self.mnt),
            ("pid", self.pid),
            ("net", self.net),
            ("user", self.user),
            ("uts", self.uts),
            ("ipc", self.ipc),
            ("cgroup", self.cgroup),
            ("time", self.time),
        ];
        kinds
            .into_iter()
            .filter_map(|(name, is)| is.then_some(name))
    }
}

/// How somebody came in, or rose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginMethod {
    /// sshd.
    Ssh,
    /// su.
    Su,
    /// sudo, doas or pkexec.
    Sudo,
    /// A terminal of the machine.
    Console,
    /// cron, at, systemd or another service that opens sessions.
    Service,
    /// Not known.
    #[default]
    #[serde(other)]
    Other,
}

impl LoginMethod {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Su => "su",
            Self::Sudo => "sudo",
            Self::Console => "console",
            Self::Service => "service",
            Self::Other => "other",
        }
    }
}

/// A login or a gain of privilege, or an attempt at one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// By which way.
    pub method: LoginMethod,
    /// Name of the account; empty when only the uid is known.
    pub user: String,
    /// Uid of the account.
    pub uid: Option<u32>,
    /// Remote host or address, as the log gives it; empty for a local login.
    pub from: String,
    /// Terminal; empty when there is none.
    pub tty: String,
    /// It succeeded.
    pub success: bool,
}
