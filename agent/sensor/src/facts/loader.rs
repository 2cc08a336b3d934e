//! The thread that reads what facts are made of: package databases, `/proc`, the runtimes' files.

use std::collections::HashMap;
use std::fs;
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use cordon_behavior::event::{Container, FileIdentity, ProcessKey};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::containers::{self, Place};
use super::desk::{Ask, Desk, News};
use super::layout::Layout;
use super::packages::{self, Index, State};
use super::seen::Seen;

/// How often the databases are looked at. A change is read when they look the same twice.
pub(super) const TICK: Duration = Duration::from_secs(2);
const SAVE: Duration = Duration::from_mins(1);
/// A runtime may write its files after it made the cgroup.
const TRIES: u8 = 5;
/// Containers whose image is remembered, and those whose image is still looked for.
const REMEMBERED: usize = 1024;
const UNNAMED: usize = 256;

pub(super) struct Loader {
    desk: Arc<Desk>,
    seen: Arc<Seen>,
    woken: PipeReader,
    watch: Option<Inotify>,
    layout: Layout,
    tick: Duration,
    loaded: State,
    before: State,
    /// Kept until the next one is there, so that the events' way never frees it.
    index: Arc<Index>,
    named: HashMap<String, Arc<Container>>,
    unnamed: Vec<(u64, Arc<Container>, u8)>,
}

impl Loader {
    /// Reads below `layout`'s root, and looks at the databases every `tick`.
    pub(super) fn new(
        desk: Arc<Desk>,
        seen: Arc<Seen>,
        woken: PipeReader,
        layout: Layout,
        tick: Duration,
    ) -> Self {
        Self {
            desk,
            seen,
            woken,
            watch: watch(&layout),
            layout,
            tick,
            loaded: State::default(),
            before: State::default(),
            index: Arc::default(),
            named: HashMap::new(),
            unnamed: Vec::new(),
        }
    }

    /// Works until `stopped` closes; says once when the databases are read.
    pub(super) fn run(mut self, stopped: &PipeReader, ready: &SyncSender<()>) {
        self.before = State::read(self.layout.root());
        self.load();
        // The starter may have gone on without.
        ready.try_send(()).unwrap_or_default();
        let (mut ticked, mut saved) = (Instant::now(), Instant::now());
        let mut is_changing = false;
        loop {
            let left = self.tick.saturating_sub(ticked.elapsed());
            let Woken { stop, changed } = self.wait(stopped, left, !is_changing);
            if stop {
                return self.seen.save();
            }
            if changed {
                is_changing = true;
                self.desk.set_stale(true);
            }
            self.answer();
            if ticked.elapsed() >= self.tick {
                (ticked, is_changing) = (Instant::now(), false);
                self.look();
            }
            if saved.elapsed() >= SAVE {
                saved = Instant::now();
                self.seen.save();
            }
        }
    }

    fn wait(&self, stopped: &PipeReader, limit: Duration, and_changes: bool) -> Woken {
        let mut fds = vec![
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.woken.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(watch) = self.watch.as_ref().filter(|_| and_changes) {
            fds.push(PollFd::new(watch.as_fd(), PollFlags::POLLIN));
        }
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        // An interrupted poll is an early wake-up, and that harms nobody.
        let woken = poll(&mut fds, limit).is_ok();
        let is_ready =
            |index: usize| woken && fds.get(index).is_some_and(|fd| fd.any().unwrap_or(false));
        Woken {
            stop: is_ready(0),
            changed: is_ready(2),
        }
    }

    fn look(&mut self) {
        if let Some(watch) = &self.watch {
            // What changes after this shows again.
            while watch.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        let now = State::read(self.layout.root());
        if now == self.loaded {
            self.desk.set_stale(false);
        } else {
            self.desk.set_stale(true);
            if now == self.before {
                self.load();
            }
        }
        self.before = now;
        self.name_later();
    }

    fn load(&mut self) {
        let began = Instant::now();
        let layout = Layout::below(self.layout.root());
        let index = Arc::new(Index::load(layout.clone()));
        let is_first = self.loaded == State::default();
        let is_same = State::read(layout.root()) == self.before;
        if !is_same && !is_first {
            return;
        }
        let usage = index.usage();
        tracing::debug!(
            paths = usage.entries,
            bytes = usage.bytes,
            micros = began.elapsed().as_micros() as u64,
            "read the package databases"
        );
        self.layout = layout;
        self.loaded = self.before.clone();
        self.index = Arc::clone(&index);
        self.desk.tell(News::Packages(index));
        self.desk.set_stale(!is_same);
    }

    fn answer(&mut self) {
        for ask in self.desk.asked(&self.woken) {
            let news = match ask {
                Ask::Image(cgroup, container) => self.name(cgroup, container, TRIES),
                Ask::Cgroup(cgroup, process) => Some(self.cgroup(cgroup, process)),
                Ask::Process(process) => Some(self.process(process)),
                Ask::Same {
                    print,
                    path,
                    identity,
                } => self.is_same(&path, &identity).then_some(News::Same(print)),
            };
            if let Some(news) = news {
                self.desk.tell(news);
            }
        }
    }

    fn cgroup(&mut self, cgroup: u64, process: ProcessKey) -> News {
        let place = match containers::of_process(process) {
            Err(containers::Gone) => None,
            Ok(None) => Some(Place::Host),
            Ok(Some(container)) => {
                let container = Arc::new(container);
                match self.name(cgroup, Arc::clone(&container), TRIES) {
                    Some(named) => return named,
                    None => Some(Place::Container(container)),
                }
            }
        };
        News::Cgroup(cgroup, place)
    }

    fn process(&mut self, process: ProcessKey) -> News {
        let container = containers::of_process(process).unwrap_or_default();
        let container = container.map(|container| {
            self.named(&container)
                .unwrap_or_else(|| Arc::new(container))
        });
        News::Process(process, container)
    }

    /// The container with its image, or a later try.
    fn name(&mut self, cgroup: u64, container: Arc<Container>, tries: u8) -> Option<News> {
        if let Some(named) = self.named(&container) {
            return Some(News::Cgroup(cgroup, Some(Place::Container(named))));
        }
        if tries > 0 && self.unnamed.len() < UNNAMED {
            self.unnamed.push((cgroup, container, tries - 1));
        }
        None
    }

    fn name_later(&mut self) {
        for (cgroup, container, tries) in std::mem::take(&mut self.unnamed) {
            if let Some(news) = self.name(cgroup, container, tries) {
                self.desk.tell(news);
            }
        }
    }

    fn named(&mut self, container: &Container) -> Option<Arc<Container>> {
        if let Some(named) = self.named.get(&container.id) {
            return Some(Arc::clone(named));
        }
        let image = containers::image_of(self.layout.root(), container)?;
        let named = Arc::new(Container {
            image,
            ..container.clone()
        });
        if self.named.len() >= REMEMBERED {
            self.named.clear();
        }
        self.named.insert(container.id.clone(), Arc::clone(&named));
        Some(named)
    }

    /// Whether this host has this very file at this path.
    fn is_same(&self, path: &str, identity: &FileIdentity) -> bool {
        let here = self.layout.root().join(path.trim_start_matches('/'));
        fs::symlink_metadata(here).is_ok_and(|facts| identity_of(&facts) == *identity)
    }
}

struct Woken {
    stop: bool,
    changed: bool,
}

/// Which file this is.
pub(crate) fn identity_of(facts: &fs::Metadata) -> FileIdentity {
    let mtime_ns = facts.mtime() * 1_000_000_000 + facts.mtime_nsec();
    FileIdentity {
        device: facts.dev(),
        inode: facts.ino(),
        mtime_ns: mtime_ns.cast_unsigned(),
        size: facts.size(),
    }
}

/// Tells of every change in the databases' directories; without it they are looked at every tick only.
fn watch(layout: &Layout) -> Option<Inotify> {
    let changes = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
    let watch = watch.inspect_err(|error| tracing::warn!(%error, "cannot watch the package databases: looking at them every other second"));
    let watch = watch.ok()?;
    for directory in packages::directories(layout.root()) {
        if let Err(error) = watch.add_watch(&directory, changes) {
            tracing::debug!(%error, directory = %directory.display(), "no package database is watched there");
        }
    }
    Some(watch)
}
