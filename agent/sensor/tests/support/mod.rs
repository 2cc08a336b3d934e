//! A running sensor whose events a test waits for, with a deadline and never a sleep.
#![allow(dead_code, reason = "each test program uses its part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cordon_sensor::{Coverage, Event, EventBody, Exec, Mode, Scope, Sensor, SensorConfig};

/// Generous: the machine may be compiling something else, or be emulated.
pub const DEADLINE: Duration = Duration::from_mins(2);

pub struct Watch {
    pub sensor: Sensor,
    events: Receiver<Event>,
    pub seen: Vec<Event>,
}

impl Watch {
    pub fn start(scope: Scope, mode: Mode) -> Self {
        Self::with(SensorConfig {
            scope,
            mode,
            ..SensorConfig::default()
        })
    }

    pub fn with(config: SensorConfig) -> Self {
        let (sink, events) = channel();
        let sensor = Sensor::start(config, move |event| {
            // The test may have seen enough and be gone.
            sink.send(event).unwrap_or_default();
        })
        .expect("these tests need root and a kernel with BTF");
        Self {
            sensor,
            events,
            seen: Vec::new(),
        }
    }

    /// The first event, past or coming, for which `find` has an answer.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(&find) {
            return found;
        }
        let end = Instant::now() + DEADLINE;
        while let Ok(event) = self
            .events
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            let found = find(&event);
            self.seen.push(event);
            if let Some(found) = found {
                return found;
            }
        }
        let mut classes = std::collections::BTreeMap::new();
        for event in &self.seen {
            *classes.entry(event.class()).or_insert(0) += 1;
        }
        panic!("no {what} within {DEADLINE:?} among {classes:?}");
    }

    /// The live exec that has `mark` among its arguments.
    #[track_caller]
    pub fn exec(&mut self, mark: &str) -> (Event, Exec) {
        self.exec_where(&format!("exec of {mark}"), |_, exec| {
            !exec.snapshot && exec.argv.iter().any(|arg| arg == mark)
        })
    }

    /// The first exec, or process of the snapshot, of which `is_it` is true.
    #[track_caller]
    pub fn exec_where(
        &mut self,
        what: &str,
        is_it: impl Fn(&Event, &Exec) -> bool,
    ) -> (Event, Exec) {
        self.wait(what, |event| {
            let exec = exec_of(event).filter(|exec| is_it(event, exec))?;
            Some((event.clone(), exec.clone()))
        })
    }

    /// What the sensor says of a class.
    #[track_caller]
    pub fn row(&self, class: &str) -> &Coverage {
        let mut rows = self.sensor.coverage().iter();
        rows.find(|row| row.class == class).unwrap()
    }
}

pub fn exec_of(event: &Event) -> Option<&Exec> {
    match &event.body {
        EventBody::Exec(exec) => Some(exec),
        _ => None,
    }
}

/// A command that ends at once and carries the mark.
pub fn marked(program: &str, mark: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", ":", mark]).stdin(Stdio::null());
    command
}

/// An argument that no other process has.
pub fn mark(name: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    format!("cordon-{name}-{}-{}", std::process::id(), now.as_nanos())
}

/// A fanotify group with handles that watches one file or directory, readable without waiting; `None` where
/// the kernel refuses that, as it does on overlays before Linux 6.6.
pub fn watching(place: &Path, mask: u64) -> Option<File> {
    let path = CString::new(place.as_os_str().as_bytes()).unwrap();
    let flags = libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_REPORT_FID;
    // SAFETY: no pointers; the result is checked before use, and nobody else owns the descriptor.
    let group = unsafe {
        let group = libc::fanotify_init(flags, 0);
        assert!(group >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(group)
    };
    // SAFETY: the path is a live string with its end, which is only read.
    let done = unsafe {
        let (group, path) = (group.as_raw_fd(), path.as_ptr());
        libc::fanotify_mark(group, libc::FAN_MARK_ADD, mask, libc::AT_FDCWD, path)
    };
    let error = std::io::Error::last_os_error();
    let is_refused = error.raw_os_error() == Some(libc::EOPNOTSUPP);
    assert!(done == 0 || is_refused, "{error}");
    (done == 0).then(|| group.into())
}

/// Whether the running kernel has a tracepoint.
pub fn has_tracepoint(name: &str) -> bool {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let name = format!("\0btf_trace_{name}\0").into_bytes();
    types.windows(name.len()).any(|bytes| bytes == name)
}

/// Where cgroup2 is mounted.
pub fn cgroup_root() -> &'static Path {
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let mut roots = roots.into_iter().map(Path::new);
    let root = roots.find(|root| root.join("cgroup.procs").exists());
    root.expect("these tests need a cgroup2 tree")
}

/// A cgroup and some below it, removed also when the test fails.
pub struct Groups {
    top: PathBuf,
    below: Vec<PathBuf>,
}

impl Groups {
    pub fn make(name: &str, below: &[&str]) -> Self {
        let top = cgroup_root().join(name);
        std::fs::create_dir(&top).unwrap();
        let mut groups = Self {
            top,
            below: Vec::new(),
        };
        for name in below {
            let path = groups.path(name);
            std::fs::create_dir(&path).unwrap();
            groups.below.push(path);
        }
        groups
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.top.join(below)
    }

    /// Runs a line of shell in one of them and waits for its end.
    pub fn run(&self, below: &str, line: &str) {
        let join = format!("echo $$ >{}/cgroup.procs; ", self.path(below).display());
        let status = Command::new("/bin/sh")
            .args(["-c", &(join + line)])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in self.below.iter().chain([&self.top]) {
            if let Err(error) = std::fs::remove_dir(group) {
                eprintln!("cannot remove {}: {error}", group.display());
            }
        }
    }
}

/// Ends and reaps a shell also when the test fails.
pub struct Shell(pub Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            eprintln!("cannot end shell {}: {error}", self.0.id());
        }
    }
}

/// Runs a line of shell in a cgroup: an exec in it, and an exit at its end.
pub fn shell(groups: &Groups, below: &str, line: &str) -> Shell {
    let join = format!(
        "echo $$ >{}/cgroup.procs; exec /bin/sh -c '{line}'",
        groups.path(below).display()
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &join]).stdin(Stdio::null());
    Shell(command.spawn().unwrap())
}
