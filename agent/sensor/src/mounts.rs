//! What is mounted and unmounted in the agent's mount namespace.
//!
//! fanotify tells who (Linux 6.15); before, `/proc/self/mountinfo` tells that something changed, and
//! who did it is not known.

mod notice;
mod stat;
mod table;

use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::time::Duration;

use cordon_behavior::event::EventBody;
use nix::poll::{PollFd, PollFlags};

use crate::out::Out;
use crate::sensor::Source;
use crate::task;
use crate::{Coverage, Scope, SensorConfig};
use notice::Marked;
pub use notice::{MountNotice, NoticeError, decode_mount_notice};
pub use stat::decode_statmount;
use table::{Change, Table};

/// So that the main source has told who the process is.
const LATER: Duration = Duration::from_millis(100);
const CLASS: &str = "mount";
const THREAD: &str = "cordon-mounts";
const TABLE: &str = "/proc/self/mountinfo";
const GIVE_FANOTIFY: &str = "run on Linux 6.15 or newer as root or with CAP_SYS_ADMIN";
const ELSEWHERE: &str = "only the agent's own mount namespace: those of containers are told by their processes' namespaces";

/// Starts watching, as far as this host allows.
pub(crate) fn start(config: &SensorConfig, out: &Out) -> Source {
    let (scope, out) = (config.scope.clone(), out.clone());
    match Way::open(config) {
        Ok((row, Way::Fanotify(marked))) => Source::spawn(THREAD, vec![row], move |stopped| {
            by_fanotify(&marked, &scope, &out, stopped);
        }),
        Ok((row, Way::Table(table))) => Source::spawn(THREAD, vec![row], move |stopped| {
            by_table(table, &out, stopped);
        }),
        Err(row) => Source::refused(vec![row]),
    }
}

/// What would be seen.
pub(crate) fn probe(config: &SensorConfig) -> Vec<Coverage> {
    let row = Way::open(config).map_or_else(|row| row, |(row, _)| row);
    vec![row]
}

/// How mounts are watched here.
enum Way {
    Fanotify(Marked),
    Table(Table),
}

impl Way {
    /// With what is seen by it; an error is the row of a class that is not seen.
    fn open(config: &SensorConfig) -> Result<(Coverage, Self), Coverage> {
        match Marked::open() {
            Ok(marked) => {
                let row = Coverage::part(CLASS, "fanotify", ELSEWHERE, None);
                Ok((row, Self::Fanotify(marked)))
            }
            Err(error) => Self::table(&error, config),
        }
    }

    fn table(why: &io::Error, config: &SensorConfig) -> Result<(Coverage, Self), Coverage> {
        let missing = |why: String| Coverage::missing(CLASS, TABLE, why, Some(GIVE_FANOTIFY));
        if matches!(config.scope, Scope::Cgroup(_)) {
            let why = format!("{TABLE} does not tell of which cgroup a mount is (fanotify: {why})");
            return Err(missing(why));
        }
        let table = Table::open().map_err(|error| missing(format!("cannot read it: {error}")))?;
        let why = format!("who did it is not known (fanotify: {why}); {ELSEWHERE}");
        let row = Coverage::part(CLASS, TABLE, why, Some(GIVE_FANOTIFY));
        Ok((row, Self::Table(table)))
    }
}

fn by_fanotify(marked: &Marked, scope: &Scope, out: &Out, stopped: &PipeReader) {
    let mut names = stat::Names::new();
    out.register(names.gauge());
    loop {
        let stop = task::wait([task::readable(marked)], stopped, None);
        let notices = marked.read(out);
        // At once: a mount may be gone later.
        let told: Vec<_> = notices
            .iter()
            .flat_map(|notice| names.tell(notice).map(|body| (notice.pid, body)))
            .collect();
        let stop = stop || task::nap(stopped, LATER);
        for (pid, body) in told {
            if *scope == Scope::Host || out.known(pid).is_some() {
                out.event_of_pid(pid, body);
            }
        }
        if stop {
            return;
        }
    }
}

fn by_table(mut table: Table, out: &Out, stopped: &PipeReader) {
    loop {
        let table_fd = PollFd::new(table.as_fd(), PollFlags::POLLPRI);
        let stop = task::wait([table_fd], stopped, None);
        match table.changes() {
            Ok(changes) => changes
                .into_iter()
                .for_each(|it| out.event_of_pid(0, body(it))),
            Err(error) => {
                tracing::warn!(%error, "cannot read the table of mounts");
                out.loss("mountinfo", 1);
            }
        }
        // A storm of mounts is read ten times a second, not once for each.
        if stop || task::nap(stopped, LATER) {
            return;
        }
    }
}

fn body(change: Change) -> EventBody {
    EventBody::Mount {
        path: change.path,
        attached: change.attached,
        fs_type: change.fs_type,
    }
}
