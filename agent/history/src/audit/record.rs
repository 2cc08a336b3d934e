//! One line of the log.

use super::fields::Fields;
use super::login::Way;
use crate::Damage;

/// When, and which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Milliseconds of CLOCK_REALTIME.
    pub ms: u64,
    pub serial: u64,
}

impl Stamp {
    pub(crate) fn wall_ns(self) -> u64 {
        self.ms.saturating_mul(1_000_000)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syscall,
    Execve,
    Cwd,
    Path,
    ProcTitle,
    SockAddr,
    Module,
    Bpf,
    ObjPid,
    End,
    Login(Way),
    Other,
}

/// Names, and the numbers that stand for them in the kernel's own log.
const KINDS: &[(&str, &str, Kind)] = &[
    ("SYSCALL", "1300", Kind::Syscall),
    ("PATH", "1302", Kind::Path),
    ("CWD", "1307", Kind::Cwd),
    ("PROCTITLE", "1327", Kind::ProcTitle),
    ("EXECVE", "1309", Kind::Execve),
    ("SOCKADDR", "1306", Kind::SockAddr),
    ("EOE", "1320", Kind::End),
    ("KERN_MODULE", "1330", Kind::Module),
    ("BPF", "1334", Kind::Bpf),
    ("OBJ_PID", "1318", Kind::ObjPid),
    ("USER_AUTH", "1100", Kind::Login(Way::Auth)),
    ("USER_LOGIN", "1112", Kind::Login(Way::Login)),
    ("USER_CMD", "1123", Kind::Login(Way::Command)),
];

pub(super) struct Record<'a> {
    pub kind: Kind,
    pub stamp: Stamp,
    /// Everything after the stamp.
    pub rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Whatever stands before `type=` (a node's name, syslog's head) is passed over.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Damage> {
        let missing = |what| Damage::Missing { what };
        let at = memchr::memmem::find(line, b"type=").ok_or(missing("type="))?;
        let after = &line[at + 5..];
        let end = memchr::memchr(b' ', after).ok_or(missing("audit(TIME:SERIAL)"))?;
        let (kind, after) = (&after[..end], &after[end..]);
        let at = memchr::memmem::find(after, b"audit(").ok_or(missing("audit(TIME:SERIAL)"))?;
        let after = &after[at + 6..];
        let end = memchr::memchr(b')', after).ok_or(missing("audit(TIME:SERIAL)"))?;
        let stamp = stamp(&after[..end])
            .ok_or_else(|| Damage::field("audit()", "TIME:SERIAL", &after[..end]))?;
        let rest = &after[end + 1..];
        Ok(Self {
            kind: kind_of(kind),
            stamp,
            rest: rest.strip_prefix(b":").unwrap_or(rest),
        })
    }

    pub(super) fn fields(&self) -> Fields<'a> {
        Fields::of(self.rest)
    }

    pub(super) fn enrichment(&self) -> Fields<'a> {
        Fields::enrichment(self.rest)
    }
}

fn kind_of(name: &[u8]) -> Kind {
    KINDS
        .iter()
        .find(|(word, number, _)| word.as_bytes() == name || number.as_bytes() == name)
        .map_or(Kind::Other, |(_, _, kind)| *kind)
}

/// `1700000000.123:456`.
fn stamp(text: &[u8]) -> Option<Stamp> {
    Stamp::parse(str::from_utf8(text).ok()?)
}

impl Stamp {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (time, serial) = text.split_once(':')?;
        let (seconds, part) = time.split_once('.').unwrap_or((time, "0"));
        let seconds: u64 = seconds.parse().ok()?;
        let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
        Some(Self {
            ms: seconds.checked_mul(1000)?.checked_add(part)?,
            serial: serial.parse().ok()?,
        })
    }
}
