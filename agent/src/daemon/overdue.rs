//! An isolation whose lease is over while the daemon cannot start.

use std::path::Path;

use cordon_contain::Containment;
use cordon_proto::AGENT_SOCKET_MARK;

use crate::isolation::Lease;

/// A start that fails, for a disk that takes no outbox or whatever else, keeps no host shut beyond its lease: systemd
/// starts again and again, and nobody else counts it meanwhile.
pub(super) fn open(state_dir: &Path) {
    let opened = Containment::open(state_dir, AGENT_SOCKET_MARK).and_then(|containment| {
        let spec = containment.current();
        let over = spec.filter(|spec| Lease::of(spec).is_over());
        over.map(|_| containment.release()).transpose()
    });
    match opened {
        Ok(None) => {}
        Ok(Some(opened)) => {
            tracing::warn!(?opened, "the isolation's lease was over, the host is open");
        }
        Err(error) => {
            tracing::error!(error = %crate::chain(&error), "the host could not be opened");
        }
    }
}
