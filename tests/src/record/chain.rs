//! Chains: under what a scenario's work starts.

use serde::Deserialize;

/// One lineage, from `chains.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// How often it is drawn.
    pub weight: u32,
    /// Stand-ins, outermost first: image, user, stdio, arguments.
    #[serde(default)]
    pub links: Vec<Vec<String>>,
    /// A real server in the node instead.
    #[serde(default)]
    pub server: Vec<String>,
    /// Run before the recorder starts, as root.
    #[serde(default)]
    pub setup: String,
    /// The server's user; the work's when empty.
    #[serde(default)]
    pub owner: String,
    /// Only scenarios that name it start under it.
    #[serde(default)]
    pub only_named: bool,
    /// Forks between the server and the work.
    #[serde(default)]
    pub depth: u32,
    /// Peer mode that reaches the server.
    #[serde(default)]
    pub caller: String,
    /// The server's port.
    #[serde(default)]
    pub port: u16,
    /// How the work is started.
    pub shell: Vec<String>,
    /// Its standard descriptors.
    #[serde(default)]
    pub stdio: Vec<String>,
    /// Its working directory.
    #[serde(default)]
    pub cwd: Vec<String>,
    /// Its user.
    pub users: Vec<String>,
}

/// User names of a node with their ids; the node's `passwd` has them all.
pub const USERS: &[(&str, u32, &str)] = &[
    ("root", 0, "/root"),
    ("www-data", 33, "/var/www"),
    ("backup", 34, "/var/backups"),
    ("nobody", 65_534, "/nonexistent"),
    ("postgres", 105, "/var/lib/postgresql"),
    ("app", 998, "/opt/app"),
    ("deploy", 1000, "/home/deploy"),
    ("admin", 1001, "/home/admin"),
    ("ubuntu", 1002, "/home/ubuntu"),
    ("ci", 1003, "/home/ci"),
];

/// The uid and home of a user name; root's when unknown.
pub fn user(name: &str) -> (u32, &'static str) {
    USERS
        .iter()
        .find(|(known, ..)| *known == name)
        .map_or((0, "/root"), |(_, uid, home)| (*uid, home))
}
