//! The controller's addresses: resolved while that works, remembered on disk for when it does not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::durable;

const FILE: &str = "controller-addresses.json";
const MAX_BYTES: u64 = 64 << 10;
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// More addresses than this of one name are not remembered.
const MOST: usize = 16;

/// Why the controller has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve controller {controller} ({why}): check name and DNS")]
pub struct ResolveError {
    controller: String,
    why: String,
}

/// The controller's addresses.
#[derive(Debug)]
pub struct Pins {
    controller: String,
    path: PathBuf,
    known: Mutex<Vec<SocketAddr>>,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    controller: String,
    addresses: Vec<SocketAddr>,
}

impl Pins {
    /// What is remembered of `controller` (`HOST:PORT`).
    pub fn load(state_dir: &Path, controller: &str) -> Self {
        let path = state_dir.join(FILE);
        let read = durable::read(&path, MAX_BYTES).unwrap_or_default();
        let known = read
            .and_then(|bytes| serde_json::from_slice::<OnDisk>(&bytes).ok())
            .filter(|on_disk| on_disk.controller == controller);
        Self {
            controller: controller.to_owned(),
            path,
            known: Mutex::new(known.map_or_else(Vec::new, |on_disk| on_disk.addresses)),
        }
    }

    /// What is known now, without asking anybody.
    pub fn known(&self) -> Vec<SocketAddr> {
        self.known.lock().map_or_else(|_| Vec::new(), |k| k.clone())
    }

    /// Resolves the name; falls back to what is known.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        match lookup(&self.controller).await {
            Ok(found) => {
                self.remember(&found);
                Ok(found)
            }
            Err(error) => self.fall_back(error),
        }
    }

    fn fall_back(&self, error: ResolveError) -> Result<Vec<SocketAddr>, ResolveError> {
        let known = self.known();
        if known.is_empty() {
            return Err(error);
        }
        tracing::warn!(%error, "using the controller's earlier addresses");
        Ok(known)
    }

    /// Keeps `found`, in memory and on disk.
    pub fn remember(&self, found: &[SocketAddr]) {
        let mut sorted = found.to_vec();
        sorted.sort();
        sorted.dedup();
        let Ok(mut known) = self.known.lock() else {
            return;
        };
        if *known == sorted {
            return;
        }
        known.clone_from(&sorted);
        drop(known);
        let on_disk = OnDisk {
            controller: self.controller.clone(),
            addresses: sorted,
        };
        let json = serde_json::to_vec(&on_disk).expect("addresses have string keys only");
        if let Err(error) = durable::replace(&self.path, &json) {
            tracing::warn!(error = %crate::chain(&error), "controller's addresses not remembered");
        }
    }
}

/// Asks the system's resolver for `HOST:PORT`.
pub async fn lookup(controller: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let asked = tokio::net::lookup_host(controller);
    let why = match tokio::time::timeout(RESOLVE_LIMIT, asked).await {
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.take(MOST).collect();
            if !found.is_empty() {
                return Ok(found);
            }
            "the name has no address".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", RESOLVE_LIMIT.as_secs()),
    };
    Err(ResolveError {
        controller: controller.to_owned(),
        why,
    })
}
