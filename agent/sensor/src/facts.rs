//! What this host knows of an image or a cgroup, looked up in memory as the event passes.
//!
//! [`Facts::enrich`] runs on the way of every event, so it never waits for a disk: what is read from
//! files is read by a thread beside it, the loader, and swapped in.
//!
//! | fact | where from | not known (`None`) |
//! |---|---|---|
//! | container | the cgroup's path; where that says nothing, `/proc/PID/cgroup` | in events before the loader's answer |
//! | its image | the runtime's files | where none tells it |
//! | owning package | dpkg's and rpm's databases | in a container; elsewhere than in the host's mounts until it is proved to be the host's file; for an unlinked file; what is not found while a database changes or is not readable |
//! | first seen here | [`seen`] | without the file's identity, and see there |
//! | anybody may write | the directories that are anybody's, where the source did not say | outside of those |

mod containers;
mod desk;
mod elsewhere;
mod layout;
mod loader;
mod packages;
mod prints;
mod seen;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use cordon_behavior::event::{Container, Event, EventBody, Exec, ProcessKey};

use crate::task::Task;
use crate::{CacheUse, SensorConfig};
use containers::{Containers, Place};
use desk::{Ask, Desk, News};
use elsewhere::Elsewhere;
use layout::Layout;
use loader::Loader;
use packages::{Index, Owner};
use prints::{Key, Prints, Put};
use seen::Seen;

pub(crate) use layout::INIT_ROOT;
pub(crate) use loader::identity_of;
pub use packages::{DatabaseError, ReadAt, ndb_blobs, rpm_name, rpm_paths, sqlite_column};

/// Who owns a path of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageOwner {
    /// A package, by its name.
    Package(String),
    /// No package does.
    Nobody,
    /// The databases could not be read in full, or there are none.
    Unknown,
}

/// Reads the package databases and answers once. Takes up to some hundred milliseconds; who asks more often keeps an
/// index.
pub fn owner_of(path: &std::path::Path) -> PackageOwner {
    let index = Index::load(Layout::of_host());
    let path = path.to_str();
    match path.map_or(Owner::Unknown, |path| index.owner(path)) {
        Owner::Package(name) => PackageOwner::Package(name.to_owned()),
        Owner::Nobody => PackageOwner::Nobody,
        Owner::Unknown => PackageOwner::Unknown,
    }
}

/// How long a start waits for the package databases, so that the processes found by the snapshot have their
/// packages.
const FIRST_LOAD: Duration = Duration::from_millis(500);
/// Images in other mount namespaces that were proved to be this host's, and those that were asked about.
const PROVED: usize = 8192;
/// What a path that was too long begins with.
const CUT: &str = "/…";

pub(crate) struct Facts {
    index: Arc<Index>,
    seen: Arc<Seen>,
    containers: Containers,
    elsewhere: Elsewhere,
    key: Key,
    proved: Prints,
    asked: Prints,
    asked_evicted: u64,
    /// A cgroup's id does not tell every container.
    by_process: bool,
    /// Without a loader nothing is ever asked.
    desk: Option<Arc<Desk>>,
    /// Dropping it stops the thread.
    loader: Option<Task>,
}

impl Default for Facts {
    /// Knows nothing and asks nobody.
    fn default() -> Self {
        Self {
            index: Arc::default(),
            seen: Arc::new(Seen::open(None)),
            containers: Containers::default(),
            elsewhere: Elsewhere::default(),
            key: Key::random(),
            proved: Prints::new(PROVED),
            asked: Prints::new(PROVED),
            asked_evicted: 0,
            by_process: false,
            desk: None,
            loader: None,
        }
    }
}

impl Facts {
    /// Starts the loader, and waits a moment for the first it has read.
    pub(crate) fn new(config: &SensorConfig) -> Self {
        let mut facts = Self {
            seen: Arc::new(Seen::open(config.state_dir.as_deref())),
            by_process: containers::has_version_one(),
            ..Self::default()
        };
        if let Err(error) = facts.start_loader(Layout::of_host(), loader::TICK) {
            tracing::error!(%error, "cannot start the thread that looks facts up: packages and images stay unknown");
        }
        facts
    }

    fn start_loader(&mut self, layout: Layout, tick: Duration) -> std::io::Result<()> {
        let (desk, woken) = Desk::new()?;
        let desk = Arc::new(desk);
        let (ready, is_ready) = sync_channel(1);
        let (for_loader, seen) = (Arc::clone(&desk), Arc::clone(&self.seen));
        self.loader = Some(Task::spawn("cordon-facts", move |stopped| {
            Loader::new(for_loader, seen, woken, layout, tick).run(stopped, &ready);
        })?);
        self.desk = Some(desk);
        // What is not there by then comes later.
        is_ready.recv_timeout(FIRST_LOAD).unwrap_or_default();
        Ok(())
    }

    /// Adds what is known.
    pub(crate) fn enrich(&mut self, event: &mut Event) {
        let is_stale = self.desk.as_ref().is_none_or(|desk| desk.is_stale());
        self.take_news();
        if let EventBody::Cgroup { id, path, created } = &event.body {
            self.learn_cgroup(*id, path, *created);
        }
        if event.process == ProcessKey::NONE {
            return;
        }
        if event.container.is_none() {
            event.container = self.container(event);
        }
        self.elsewhere.learn(event);
        self.image(event, is_stale);
        if matches!(event.body, EventBody::Exit { .. }) {
            self.elsewhere.end(event.process);
            self.containers.end_process(event.process);
        }
    }

    fn take_news(&mut self) {
        let Some(desk) = self.desk.as_ref().filter(|desk| desk.has_news()) else {
            return;
        };
        for news in desk.news() {
            match news {
                News::Packages(index) => self.index = index,
                News::Cgroup(id, place) => self.containers.answer_cgroup(id, place),
                News::Process(process, container) => {
                    self.containers.answer_process(process, container);
                }
                News::Same(print) => drop(self.proved.put(print)),
            }
        }
    }

    fn learn_cgroup(&mut self, id: u64, path: &str, created: bool) {
        if !created {
            return self.containers.remove_cgroup(id);
        }
        let Some(container) = containers::of_path(path).map(Arc::new) else {
            return self.containers.put_cgroup(id, Place::Host);
        };
        self.containers
            .put_cgroup(id, Place::Container(Arc::clone(&container)));
        self.ask(Ask::Image(id, container));
    }

    fn container(&mut self, event: &Event) -> Option<Arc<Container>> {
        if event.cgroup_id != 0 {
            match self.containers.cgroup(event.cgroup_id) {
                Some(Place::Container(container)) => return Some(Arc::clone(container)),
                Some(Place::Host | Place::Asked) => {}
                None => {
                    self.containers.put_cgroup(event.cgroup_id, Place::Asked);
                    self.ask(Ask::Cgroup(event.cgroup_id, event.process));
                }
            }
        }
        let is_told = event.cgroup_id != 0 && !self.by_process;
        if is_told {
            None
        } else {
            self.container_by_process(event)
        }
    }

    /// A process is in the container of its maker, until `/proc` tells of another.
    fn container_by_process(&mut self, event: &Event) -> Option<Arc<Container>> {
        let mut known = self.containers.process(event.process);
        match &event.body {
            EventBody::Fork { child } if known.is_some() => {
                self.containers.put_process(*child, known.clone());
            }
            EventBody::Exec(exec) => {
                let of_parent = || self.containers.process(exec.parent?);
                known = known.or_else(of_parent);
                // Whoever enters a container changes namespaces; a source that tells no cgroup tells no namespaces.
                if event.cgroup_id == 0 || exec.snapshot || !exec.namespaces.is_empty() {
                    self.containers.put_process(event.process, known.clone());
                    self.ask(Ask::Process(event.process));
                }
            }
            _ => {}
        }
        known
    }

    fn image(&mut self, event: &mut Event, is_stale: bool) {
        let is_elsewhere = event.container.is_some() || self.elsewhere.has(event.process);
        let in_container = event.container.is_some();
        let wall_ns = event.wall_ns;
        let EventBody::Exec(exec) = &mut event.body else {
            return;
        };
        let is_path = exec.exe.starts_with('/') && !exec.exe.starts_with(CUT);
        if exec.memfd {
            // No package has files in memory.
            exec.origin.package.get_or_insert_default();
        } else if is_path && !exec.exe.contains(char::REPLACEMENT_CHARACTER) {
            if exec.origin.package.is_none() && !in_container && !exec.deleted_exe {
                exec.origin.package = self.owner(exec, is_elsewhere, is_stale);
            }
            if exec.origin.world_writable.is_none()
                && !is_elsewhere
                && self.index.layout().is_open(&exec.exe)
            {
                exec.origin.world_writable = Some(true);
            }
            self.learn_image(exec, wall_ns);
        }
    }

    fn owner(&mut self, exec: &Exec, is_elsewhere: bool, is_stale: bool) -> Option<String> {
        if is_elsewhere && !self.is_proved(exec) {
            return None;
        }
        match self.index.owner(&exec.exe) {
            Owner::Package(name) => Some(name.to_owned()),
            Owner::Nobody if !is_stale => Some(String::new()),
            Owner::Nobody | Owner::Unknown => None,
        }
    }

    /// Whether an image that a process elsewhere runs is this host's file at that path; asks when it was not asked yet.
    fn is_proved(&mut self, exec: &Exec) -> bool {
        let Some(identity) = exec.identity else {
            return false;
        };
        let print = self.key.exact_print(&exec.exe, &identity);
        if self.proved.has(print) {
            return true;
        }
        let put = self.asked.put(print);
        if put != Put::Known {
            let path = exec.exe.clone();
            self.ask(Ask::Same {
                print,
                path,
                identity,
            });
        }
        self.asked_evicted += u64::from(put == Put::InPlaceOfAnother);
        false
    }

    fn learn_image(&mut self, exec: &mut Exec, wall_ns: u64) {
        let Some(identity) = &exec.identity else {
            return;
        };
        let first = self.seen.executed(&exec.exe, identity, wall_ns);
        if !exec.snapshot && exec.origin.first_seen.is_none() {
            exec.origin.first_seen = first;
        }
    }

    fn ask(&self, ask: Ask) {
        if let Some(desk) = &self.desk {
            desk.ask(ask);
        }
    }

    /// How full its caches are.
    pub(crate) fn usage(&mut self) -> Vec<CacheUse> {
        self.take_news();
        let proved = self.proved.bytes() + self.asked.bytes();
        let mut all = vec![
            self.index.usage(),
            self.seen.usage(),
            self.elsewhere.usage(),
            CacheUse {
                name: "proved_images",
                bytes: proved,
                limit_bytes: proved,
                entries: self.asked.all().count() as u64,
                evicted: self.asked_evicted,
            },
        ];
        all.extend(self.containers.usage());
        all.extend(self.desk.as_ref().map(|desk| desk.usage()));
        all
    }
}

#[cfg(test)]
mod tests;
