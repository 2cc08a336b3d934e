//! Who logs in, rises, or tries to: from the account files and the log of authentication.
//!
//! Looked at when inotify says so, and every two seconds in any case. Only what is written after the
//! start counts. Text in these files is hostile: whoever fails to log in picks part of it.

mod log;
mod same;
mod tail;
mod utmp;

use std::io::{self, ErrorKind, PipeReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cordon_behavior::event::{EventBody, Login};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::out::Out;
use crate::sensor::Source;
use crate::task;
use crate::{Coverage, LoginFiles, Scope, SensorConfig};
pub use log::parse_login_line;
use same::Same;
use tail::Tail;
pub use utmp::{UTMP_BYTES, decode_utmp};

const LOOK: Duration = Duration::from_secs(2);
/// A file that is written all the time is looked at this often, not at each write.
const PAUSE: Duration = Duration::from_millis(200);
const CLASS: &str = "login";

/// Starts watching, as far as this host allows.
pub(crate) fn start(config: &SensorConfig, out: &Out) -> Source {
    let row = coverage(&config.logins);
    let watch = Watch::new(config, out.clone());
    Source::spawn("cordon-logins", vec![row], move |stopped| {
        watch.run(stopped);
    })
}

/// What would be seen.
pub(crate) fn probe(config: &SensorConfig) -> Vec<Coverage> {
    vec![coverage(&config.logins)]
}

/// A file that is not there may come, and is read then; what is told now is about now.
fn coverage(files: &LoginFiles) -> Coverage {
    let can_read = |path: &PathBuf| std::fs::File::open(path).is_ok();
    let has_log = files.logs.iter().any(can_read);
    match (
        can_read(&files.sessions),
        can_read(&files.failures),
        has_log,
    ) {
        (true, true, true) => Coverage::part(
            CLASS,
            "wtmp, btmp, log of authentication",
            "formats of OpenSSH, su, sudo and PAM",
            None,
        ),
        (true, _, false) => Coverage::part(
            CLASS,
            "wtmp, btmp",
            "no log of authentication (the journal's own files are not read): sessions without a \
             terminal, su and sudo show as execs and credentials only",
            Some("install rsyslog, which writes /var/log/auth.log or /var/log/secure"),
        ),
        (_, _, true) => Coverage::part(
            CLASS,
            "log of authentication",
            "wtmp or btmp cannot be read: logins at a terminal of the machine are missed",
            Some("create /var/log/wtmp and /var/log/btmp, readable for the agent"),
        ),
        (false, _, false) => Coverage::missing(
            CLASS,
            "wtmp, btmp, log of authentication",
            "none of them can be read",
            Some(
                "install rsyslog, or create /var/log/wtmp and /var/log/btmp, readable for the agent",
            ),
        ),
    }
}

/// A login, and the pid that the file names.
type Told = (u32, Login);

struct Watch {
    inotify: Option<Inotify>,
    sessions: Tail,
    failures: Tail,
    logs: Vec<Tail>,
    same: Same,
    started: Instant,
    /// A cgroup has no logins of its own: only those of its processes are told.
    is_cgroup: bool,
    out: Out,
}

impl Watch {
    fn new(config: &SensorConfig, out: Out) -> Self {
        let files = &config.logins;
        let mut paths = vec![&files.sessions, &files.failures];
        paths.extend(&files.logs);
        let inotify = watch_files(&paths);
        if let Err(error) = &inotify {
            tracing::info!(%error, "no inotify: looking for logins every two seconds");
        }
        Self {
            inotify: inotify.ok(),
            sessions: Tail::new(files.sessions.clone()),
            failures: Tail::new(files.failures.clone()),
            logs: files.logs.iter().cloned().map(Tail::new).collect(),
            same: Same::default(),
            started: Instant::now(),
            is_cgroup: matches!(config.scope, Scope::Cgroup(_)),
            out,
        }
    }

    fn run(mut self, stopped: &PipeReader) {
        loop {
            let stop = self.sleep(stopped);
            self.look();
            if stop || task::nap(stopped, PAUSE) {
                return;
            }
        }
    }

    fn sleep(&self, stopped: &PipeReader) -> bool {
        let Some(inotify) = &self.inotify else {
            return task::nap(stopped, LOOK);
        };
        let stop = task::wait([task::readable(inotify)], stopped, Some(LOOK));
        // What it says does not matter: every file is looked at.
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        stop
    }

    fn look(&mut self) {
        let sessions = self.sessions.records(UTMP_BYTES, &self.out);
        let failures = self.failures.records(UTMP_BYTES, &self.out);
        let records = |from: Vec<Vec<u8>>, success| {
            let told = from
                .into_iter()
                .filter_map(move |it| decode_utmp(&it, success));
            told.collect::<Vec<_>>()
        };
        self.tell(same::Source::Accounts, records(sessions, true));
        self.tell(same::Source::Accounts, records(failures, false));
        for index in 0..self.logs.len() {
            let lines = self.logs[index].lines(&self.out);
            let told = lines.iter().filter_map(|line| parse_login_line(line));
            self.tell(same::Source::Log, told.collect());
        }
    }

    fn tell(&mut self, source: same::Source, told: Vec<Told>) {
        let now = self.started.elapsed();
        for (pid, login) in told {
            if self.same.is_told(source, &login, now) {
                continue;
            }
            // The process may be one of another PID namespace, or gone.
            let known = self.out.known(pid).is_some();
            if known || !self.is_cgroup {
                let pid = if known { pid } else { 0 };
                self.out
                    .event_of_pid(pid, EventBody::Login(Box::new(login)));
            }
        }
    }
}

/// Writes to the files that are there, and files that come into their folders.
fn watch_files(paths: &[&PathBuf]) -> io::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let come = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    let mut any = false;
    for path in paths {
        let watches = [
            (path.as_path(), AddWatchFlags::IN_MODIFY),
            (path.parent().unwrap_or(Path::new("/")), come),
        ];
        for (path, what) in watches {
            match inotify.add_watch(path, what) {
                Ok(_) => any = true,
                Err(error) => tracing::debug!(path = %path.display(), %error, "cannot watch"),
            }
        }
    }
    if any {
        Ok(inotify)
    } else {
        Err(ErrorKind::NotFound.into())
    }
}
