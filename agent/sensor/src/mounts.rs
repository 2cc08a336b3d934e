//! What is mounted and unmounted in the agent's mount namespace.
//!
//! fanotify tells who (Linux 6.15); before, `/proc/self/mountinfo` tells that something changed, and
//! who did it is not known.

mod notice;
mod stat;
mod table;

use std::io::{self, PipeReader};
use std::os::fd::AsFd;

use cordon_behavior::event::EventBody;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::out::Out;
use crate::sensor::Source;
use crate::task::{self, Task};
use crate::{Coverage, Scope, SensorConfig};
use notice::Marked;
pub use notice::{MountNotice, NoticeError, decode_mount_notice};
pub use stat::decode_statmount;
use table::{Change, Table};

/// So that the main source has told who the process is.
const LATER_MS: u16 = 100;
const CLASS: &str = "mount";
const TABLE: &str = "/proc/self/mountinfo";
const GIVE_FANOTIFY: &str = "run on Linux 6.15 or newer as root or with CAP_SYS_ADMIN";
const ELSEWHERE: &str = "only the agent's own mount namespace: those of containers are told by their processes' namespaces";

/// Starts watching, as far as this host allows.
pub(crate) fn start(config: &SensorConfig, out: &Out) -> Source {
    let (scope, out) = (config.scope.clone(), out.clone());
    match Way::open(config) {
        Ok((row, Way::Fanotify(marked))) => spawn(row, move |stopped| {
            by_fanotify(&marked, &scope, &out, stopped);
        }),
        Ok((row, Way::Table(table))) => spawn(row, move |stopped| by_table(table, &out, stopped)),
        Err(row) => Source {
            coverage: vec![row],
            task: None,
        },
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

fn spawn(part: Coverage, work: impl FnOnce(&PipeReader) + Send + 'static) -> Source {
    match Task::spawn("cordon-mounts", work) {
        Ok(task) => Source {
            coverage: vec![part],
            task: Some(task),
        },
        Err(error) => Source {
            coverage: vec![Coverage::missing(
                CLASS,
                "none",
                format!("cannot start its thread: {error}"),
                None,
            )],
            task: None,
        },
    }
}

fn by_fanotify(marked: &Marked, scope: &Scope, out: &Out, stopped: &PipeReader) {
    let mut names = stat::Names::new();
    out.register(names.gauge());
    loop {
        let stop = sleep(marked, PollFlags::POLLIN, stopped);
        let notices = marked.read(out);
        // At once: a mount may be gone later.
        let told: Vec<_> = notices
            .iter()
            .flat_map(|notice| names.tell(notice).map(|body| (notice.pid, body)))
            .collect();
        let stop = stop || task::pause(stopped, LATER_MS);
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
        let stop = sleep(&table, PollFlags::POLLPRI, stopped);
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
        if stop || task::pause(stopped, LATER_MS) {
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

/// True when it is time to stop.
fn sleep(source: &impl AsFd, what: PollFlags, stopped: &PipeReader) -> bool {
    let mut fds = [
        PollFd::new(source.as_fd(), what),
        PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
    ];
    let woken = poll(&mut fds, PollTimeout::NONE).is_ok();
    woken && fds[1].any().unwrap_or(false)
}
