//! Where a site keeps its things, and how they are written and read. `docs/controller.md` says who
//! may hold which.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Paths under the data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Of the site in this directory.
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Settings, read once at start.
    pub fn config(&self) -> PathBuf {
        self.root.join("controller.toml")
    }

    /// Everything that changes.
    pub fn database(&self) -> PathBuf {
        self.root.join("cordon.db")
    }

    /// Keys and certificates.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The CA's certificate: what everybody trusts.
    pub fn ca_certificate(&self) -> PathBuf {
        self.keys().join("ca.pem")
    }

    /// Makes hosts and controllers.
    pub fn ca_key(&self) -> PathBuf {
        self.keys().join("ca.key")
    }

    /// The controller's own certificate, then the CA's.
    pub fn server_certificate(&self) -> PathBuf {
        self.keys().join("server.pem")
    }

    /// Its key.
    pub fn server_key(&self) -> PathBuf {
        self.keys().join("server.key")
    }

    /// Signs policies; the server never reads it, and it belongs elsewhere.
    pub fn policy_key(&self) -> PathBuf {
        self.keys().join("policy.key")
    }

    /// Its public half, 64 hex digits.
    pub fn policy_public(&self) -> PathBuf {
        self.keys().join("policy.pub")
    }

    /// Signs orders.
    pub fn order_key(&self) -> PathBuf {
        self.keys().join("order.key")
    }

    /// Its public half, 64 hex digits.
    pub fn order_public(&self) -> PathBuf {
        self.keys().join("order.pub")
    }

    /// Opens hosts that lost the controller; the server never reads it.
    pub fn release_key(&self) -> PathBuf {
        self.keys().join("release.key")
    }

    /// Its public half, 64 hex digits.
    pub fn release_public(&self) -> PathBuf {
        self.keys().join("release.pub")
    }

    /// An API token of role admin, for `cordonctl` on this machine.
    pub fn local_token(&self) -> PathBuf {
        self.root.join("cordonctl.token")
    }
}

/// Makes a directory that only its owner may enter.
pub fn make_private_dir(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a new file that only its owner may read, and brings it to the disk.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A file's text, or an error that names it.
pub fn read_text(path: &Path) -> Result<String> {
    let failed = || {
        format!(
            "cannot read {}: it must be there and readable by the account that runs this program",
            path.display()
        )
    };
    fs::read_to_string(path).with_context(failed)
}
