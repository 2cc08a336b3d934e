//! Who is connected, in memory: sessions, heartbeats, last signs of life.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_proto::id::HostId;
use cordon_proto::pb::Heartbeat;
use cordon_proto::record::IsolationReport;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::session::End;

/// What is known of a host's newest session.
#[derive(Clone, Debug)]
pub struct LiveHost {
    /// Whether the session is open. A silent line is found dead within about 20 seconds.
    pub online: bool,
    /// When it began.
    pub connected_at: Timestamp,
    /// Controller's clock of the host's last message.
    pub last_heard_at: Timestamp,
    /// The last heartbeat of this session.
    pub heartbeat: Option<Heartbeat>,
    /// Where the connection comes from.
    pub peer: Option<SocketAddr>,
    /// The host's boot.
    pub boot_id: String,
    /// The isolation that the host said it is in when it connected.
    pub isolation_at_hello: Option<IsolationReport>,
}

struct Entry {
    session: u64,
    host: LiveHost,
    /// The sign of life that the database has.
    flushed_at: Option<Timestamp>,
    wake: Arc<Notify>,
    end: watch::Sender<Option<End>>,
}

/// All sessions. Entries of hosts that left stay, so that what was last heard is shown.
#[derive(Default)]
pub(crate) struct Live(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    newest: u64,
    hosts: HashMap<HostId, Entry>,
}

/// A session's place in [`Live`]; leaving it marks the host as gone.
pub(crate) struct Place<'a> {
    live: &'a Live,
    host: HostId,
    session: u64,
    /// Something may be there for the host.
    pub wake: Arc<Notify>,
    /// Set when the session must end.
    pub end: watch::Receiver<Option<End>>,
}

impl Live {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing panics while it holds the lock, and no change is in two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, host: HostId) -> Option<LiveHost> {
        let sessions = self.sessions();
        sessions.hosts.get(&host).map(|entry| entry.host.clone())
    }

    /// Enters a session. An open one of the same host ends and is returned.
    pub(crate) fn enter(&self, host: HostId, facts: LiveHost) -> (Place<'_>, Option<LiveHost>) {
        let mut sessions = self.sessions();
        sessions.newest += 1;
        let session = sessions.newest;
        let (wake, (end, ended)) = (Arc::new(Notify::new()), watch::channel(None));
        let entry = Entry {
            session,
            host: facts,
            flushed_at: None,
            wake: Arc::clone(&wake),
            end,
        };
        let before = sessions.hosts.insert(host, entry);
        let superseded = before.filter(|entry| entry.host.online).map(|entry| {
            entry.end.send_replace(Some(End::Superseded));
            entry.host
        });
        let place = Place {
            live: self,
            host,
            session,
            wake,
            end: ended,
        };
        (place, superseded)
    }

    /// Makes a host's session look for orders and policies.
    pub(crate) fn wake(&self, host: HostId) {
        if let Some(entry) = self.sessions().hosts.get(&host) {
            entry.wake.notify_one();
        }
    }

    pub(crate) fn wake_all(&self) {
        for entry in self.sessions().hosts.values() {
            entry.wake.notify_one();
        }
    }

    pub(crate) fn evict(&self, host: HostId) {
        if let Some(entry) = self.sessions().hosts.get(&host) {
            entry.end.send_replace(Some(End::Evicted));
        }
    }

    /// Signs of life that the database does not have yet.
    pub(crate) fn unflushed(&self) -> Vec<(HostId, Timestamp)> {
        let sessions = self.sessions();
        let newer = |(host, entry): (&HostId, &Entry)| {
            let heard = entry.host.last_heard_at;
            (entry.flushed_at != Some(heard)).then_some((*host, heard))
        };
        sessions.hosts.iter().filter_map(newer).collect()
    }

    pub(crate) fn flushed(&self, seen: &[(HostId, Timestamp)]) {
        let mut sessions = self.sessions();
        for (host, at) in seen {
            if let Some(entry) = sessions.hosts.get_mut(host) {
                entry.flushed_at = Some(*at);
            }
        }
    }
}

impl Place<'_> {
    /// The host was heard. A session that was superseded has nothing more to say here.
    pub(crate) fn heard(&self, now: Timestamp, heartbeat: Option<Heartbeat>) {
        self.change(|host| {
            host.last_heard_at = now;
            host.heartbeat = heartbeat.or(host.heartbeat);
        });
    }

    fn change(&self, change: impl FnOnce(&mut LiveHost)) {
        let mut sessions = self.live.sessions();
        let entry = sessions.hosts.get_mut(&self.host);
        if let Some(entry) = entry.filter(|entry| entry.session == self.session) {
            change(&mut entry.host);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.change(|host| host.online = false);
    }
}
