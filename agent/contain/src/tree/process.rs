//! One process, by name: looking at it, and signalling it and nobody else.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use super::plan::{Name, Row, Table};

/// `task_struct::flags`, linux/sched.h: a thread of the kernel.
const PF_KTHREAD: u64 = 0x0020_0000;

/// proc_pid_stat(5) numbers fields from 1; the third is the first behind the name.
const FIRST_FIELD: usize = 3;
const USER_TICKS: usize = 14;

/// What a thread is doing, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ended,
    /// By a signal, or by a tracer.
    Stopped,
    Other,
}

impl Name {
    /// The process that has the pid now.
    pub(super) fn read(pid: u32) -> Option<Self> {
        let row = row(pid)?;
        Some(Self {
            pid,
            start_ticks: row.start_ticks,
        })
    }

    /// Sends a signal. False when the process has ended before.
    pub(super) fn signal(self, signal: i32) -> io::Result<bool> {
        let sent = pidfd_open(self.pid).and_then(|process| {
            // Whoever has this name now had it when the descriptor was made: a process that came later started later.
            if self.is_there() {
                send(&process, signal)
            } else {
                Err(io::Error::from_raw_os_error(libc::ESRCH))
            }
        });
        match sent {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Nothing of it runs any more. What its parent did not ask for yet has ended all the same.
    pub(super) fn has_ended(self) -> bool {
        !self.is_there() || self.threads().iter().all(|state| *state == State::Ended)
    }

    /// None of its threads runs, and it has not ended.
    pub(super) fn is_stopped(self) -> bool {
        let threads = self.threads();
        self.is_there() && threads.contains(&State::Stopped) && !threads.contains(&State::Other)
    }

    /// Time that it ran in user mode, clock ticks; `None` when it is not there.
    pub(super) fn user_ticks(self) -> Option<u64> {
        let stat = fs::read(format!("/proc/{}/stat", self.pid)).ok()?;
        let (_, row) = parse(&stat)?;
        (row.start_ticks == self.start_ticks)
            .then(|| fields(&stat)?.get(USER_TICKS - FIRST_FIELD)?.parse().ok())
            .flatten()
    }

    /// Path of its image; empty when it cannot be told.
    pub(super) fn exe(self) -> String {
        let link = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        let path = link.to_string_lossy();
        // An image that was replaced while it runs, as by an upgrade.
        path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
    }

    fn is_there(self) -> bool {
        Self::read(self.pid) == Some(self)
    }

    /// A process whose first thread has ended goes on as long as another runs, so all of them count.
    fn threads(self) -> Vec<State> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid));
        let stats = threads.into_iter().flatten().flatten();
        stats
            .filter_map(|thread| parse(&fs::read(thread.path().join("stat")).ok()?))
            .map(|(state, _)| state)
            .collect()
    }
}

/// Everybody.
pub(super) fn all() -> io::Result<Table> {
    let mut table = Table::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some((pid, row)) = pid.and_then(|pid| Some((pid, row(pid)?))) {
            table.insert(pid, row);
        }
    }
    Ok(table)
}

/// These, and those above them.
pub(super) fn lineages(pids: impl Iterator<Item = u32>) -> Table {
    let mut table = Table::new();
    for mut pid in pids {
        while let Some(row) = row(pid).filter(|_| !table.contains_key(&pid)) {
            table.insert(pid, row);
            pid = row.parent;
        }
    }
    table
}

fn row(pid: u32) -> Option<Row> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat).map(|(_, row)| row)
}

/// `PID (NAME) STATE PPID ...`, proc_pid_stat(5). The name may be anything: its end is the last parenthesis.
fn parse(stat: &[u8]) -> Option<(State, Row)> {
    let fields = fields(stat)?;
    let field = |number: usize| fields.get(number - FIRST_FIELD)?.parse::<u64>().ok();
    let state = match *fields.first()? {
        "Z" | "X" | "x" => State::Ended,
        "T" | "t" => State::Stopped,
        _ => State::Other,
    };
    let row = Row {
        parent: u32::try_from(field(4)?).ok()?,
        // -1 of a process that has ended says nothing.
        session: field(6)
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0),
        start_ticks: field(22)?,
        is_kernel: field(9)? & PF_KTHREAD != 0,
    };
    Some((state, row))
}

/// Those behind the name.
fn fields(stat: &[u8]) -> Option<Vec<&str>> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    Some(rest.split_ascii_whitespace().collect())
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn send(process: &OwnedFd, signal: i32) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the default one; the descriptor lives as long as the call.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_whatever_the_process_calls_itself() {
        let stat = b"7 (a) Z 1 (\xff) T 3 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 991 0 0";
        let (state, row) = parse(stat).unwrap();
        assert_eq!(state, State::Stopped);
        let wanted = Row {
            parent: 3,
            session: 6,
            start_ticks: 991,
            is_kernel: false,
        };
        assert_eq!(row, wanted);
        for damaged in [
            &b""[..],
            b"7 (a) T 3",
            b"7 (a T 3 5 6",
            b"7 (a) T x 5 6 0 0 0",
        ] {
            assert_eq!(parse(damaged), None);
        }
    }

    #[test]
    fn a_signal_is_for_a_name_and_not_for_whoever_has_the_pid() {
        let own = Name::read(std::process::id()).unwrap();
        assert!(own.signal(0).unwrap());
        let before = Name {
            start_ticks: own.start_ticks - 1,
            ..own
        };
        assert!(!before.signal(libc::SIGKILL).unwrap());
        assert!(before.has_ended() && !own.has_ended() && !own.is_stopped());
    }
}
