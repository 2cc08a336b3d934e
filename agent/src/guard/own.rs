//! Which files are the agent's own.

use std::path::{Path, PathBuf};

use cordon_behavior::event::{FileChange, FileOp};

use crate::config::Config;
use crate::daemon::spool_dir;

/// Where units may lie, and where they can be overridden.
const UNIT_FOLDERS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const UNITS: [&str; 4] = [
    "cordon-agent.service",
    "cordon-agent-restore.service",
    "cordon-agent-quarantine.socket",
    "cordon-agent-quarantine@.service",
];

/// The agent's program, configuration, units and state. Whoever changes them changes the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFiles {
    program: String,
    files: Vec<PathBuf>,
    /// What lies in them is its own, what lies in folders below is not.
    folders: Vec<PathBuf>,
}

impl OwnFiles {
    /// Of a daemon that runs this program by this configuration.
    pub fn of(program: &Path, config_file: &Path, config: &Config) -> Self {
        let mut files = vec![program.to_owned(), config_file.to_owned()];
        let quarantine = config.state_dir.join("quarantine");
        let mut folders = vec![config.state_dir.clone(), spool_dir(config), quarantine];
        for folder in UNIT_FOLDERS.map(Path::new) {
            files.extend(UNITS.map(|unit| folder.join(unit)));
            folders.extend(UNITS.map(|unit| folder.join(format!("{unit}.d"))));
        }
        Self {
            program: program.to_string_lossy().into_owned(),
            files,
            folders,
        }
    }

    /// What the sensor has to watch for [`Self::has`] to be asked.
    pub fn watched(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().chain(&self.folders).cloned()
    }

    /// Path of the program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether something of ours was changed.
    pub fn has(&self, change: &FileChange) -> bool {
        let is_own = |path: &str| {
            let path = Path::new(path);
            let is_in_folder = |folder: &PathBuf| path == folder || path.parent() == Some(folder);
            self.files.iter().any(|file| file == path) || self.folders.iter().any(is_in_folder)
        };
        change.op != FileOp::Read
            && (is_own(&change.path) || change.to.as_deref().is_some_and(is_own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_behavior::event::Sensitivity;

    #[test]
    fn what_is_the_agents_and_what_is_not() {
        let own = OwnFiles::of(
            Path::new("/usr/sbin/cordon-agent"),
            Path::new("/etc/cordon/agent.toml"),
            &Config::default(),
        );
        let change = |op, path: &str, to: Option<&str>| FileChange {
            op,
            path: path.to_owned(),
            to: to.map(str::to_owned),
            sensitivity: Sensitivity::Watched,
        };
        for path in [
            "/usr/sbin/cordon-agent",
            "/etc/cordon/agent.toml",
            "/var/lib/cordon",
            "/var/lib/cordon/identity.json",
            "/var/lib/cordon/spool/records.redb",
            "/etc/systemd/system/cordon-agent.service.d/x.conf",
            "/lib/systemd/system/cordon-agent-restore.service",
            "/etc/systemd/system/cordon-agent-quarantine@.service.d/x.conf",
        ] {
            assert!(own.has(&change(FileOp::Write, path, None)), "{path}");
            assert!(!own.has(&change(FileOp::Read, path, None)), "{path}");
            assert!(
                own.has(&change(FileOp::Rename, "/tmp/x", Some(path))),
                "{path}"
            );
        }
        for path in [
            "/usr/sbin/cordon-agent.old",
            "/etc/cordon",
            "/etc/cordon/rules/x.yml",
            "/var/lib",
            "/var/lib/cordon/a/b",
            "/etc/systemd/system/ssh.service",
        ] {
            assert!(!own.has(&change(FileOp::Unlink, path, None)), "{path}");
        }
    }
}
