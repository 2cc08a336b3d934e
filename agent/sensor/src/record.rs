//! Decoding what the eBPF programs write: the mirror of `bpf/records.h`.
//!
//! The structs are never made from the bytes; they say where each field is.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cordon_behavior::event::{Event, EventBody, Exec, ProcessKey};
use cordon_behavior::story::StdioKind;

/// Kinds of record, the index of the loss counters too.
pub(crate) const KINDS: [&str; 5] = ["", "exec", "fork", "exit", "connect"];
const EXEC: u32 = 1;
const FORK: u32 = 2;
const EXIT: u32 = 3;
const CONNECT: u32 = 4;

const FLAG_TTY: u8 = 1;
const FLAG_DELETED: u8 = 1 << 1;
const FLAG_MEMFD: u8 = 1 << 2;
const FLAG_ARGV_TRUNCATED: u8 = 1 << 3;
const FLAG_EXE_TRUNCATED: u8 = 1 << 4;
const FLAG_CWD_TRUNCATED: u8 = 1 << 5;
const FLAG_SNAPSHOT: u8 = 1 << 6;

#[repr(C)]
struct Key {
    pid: u32,
    hole: u32,
    start_ns: u64,
}

#[repr(C)]
struct Head {
    kind: u32,
    hole: u32,
    mono_ns: u64,
    process: Key,
    cgroup_id: u64,
}

#[repr(C)]
struct ForkRecord {
    head: Head,
    child: Key,
}

#[repr(C)]
struct ExitRecord {
    head: Head,
    code: u32,
    signal: u32,
}

#[repr(C)]
struct ConnectRecord {
    head: Head,
    family: u16,
    port: u16,
    hole: u32,
    address: [u8; 16],
}

#[repr(C)]
struct ExecRecord {
    head: Head,
    parent: Key,
    uid: u32,
    euid: u32,
    stdio: [u8; 3],
    flags: u8,
    exe_bytes: u16,
    cwd_bytes: u16,
    argv_bytes: u16,
    hole: [u16; 3],
}

const _: () = {
    assert!(size_of::<Head>() == 40);
    assert!(size_of::<ForkRecord>() == 56);
    assert!(size_of::<ExitRecord>() == 48);
    assert!(size_of::<ConnectRecord>() == 64);
    assert!(size_of::<ExecRecord>() == 80);
};

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the record says it has.
    #[error("record of {bytes} bytes is too short for its kind")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// No such kind.
    #[error("record kind {0} is not known")]
    Kind(u32),
    /// No such address family.
    #[error("address family {0} is not known")]
    Family(u16),
}

/// One record as an event; `None` for a fork whose parent is outside the scope.
///
/// `wall_offset_ns` is what to add to the kernel's monotonic time to get the wall time.
pub fn decode(bytes: &[u8], wall_offset_ns: i64) -> Result<Option<Event>, RecordError> {
    Ok(decode_sized(bytes, wall_offset_ns)?.0)
}

/// Records of a snapshot lie end to end.
pub(crate) fn decode_all(mut bytes: &[u8], wall_offset_ns: i64) -> Result<Vec<Event>, RecordError> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (event, size) = decode_sized(bytes, wall_offset_ns)?;
        events.extend(event);
        bytes = &bytes[size..];
    }
    Ok(events)
}

fn decode_sized(bytes: &[u8], wall_offset_ns: i64) -> Result<(Option<Event>, usize), RecordError> {
    let reader = Reader { bytes };
    let (body, size) = match reader.u32(offset_of!(Head, kind))? {
        EXEC => reader.exec()?,
        FORK => (reader.fork()?, size_of::<ForkRecord>()),
        EXIT => (reader.exit()?, size_of::<ExitRecord>()),
        CONNECT => (reader.connect()?, size_of::<ConnectRecord>()),
        unknown => return Err(RecordError::Kind(unknown)),
    };
    let Some(process) = reader.key(offset_of!(Head, process))? else {
        return Ok((None, size));
    };
    let mono_ns = reader.u64(offset_of!(Head, mono_ns))?;
    let event = Event {
        mono_ns,
        wall_ns: mono_ns.saturating_add_signed(wall_offset_ns),
        process,
        cgroup_id: reader.u64(offset_of!(Head, cgroup_id))?,
        body,
    };
    Ok((Some(event), size))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn slice(&self, at: usize, bytes: usize) -> Result<&'a [u8], RecordError> {
        self.bytes.get(at..at + bytes).ok_or(RecordError::Short {
            bytes: self.bytes.len(),
        })
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(at, N)?);
        Ok(array)
    }

    fn u16(&self, at: usize) -> Result<u16, RecordError> {
        Ok(u16::from_ne_bytes(self.array(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32, RecordError> {
        Ok(u32::from_ne_bytes(self.array(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64, RecordError> {
        Ok(u64::from_ne_bytes(self.array(at)?))
    }

    fn key(&self, at: usize) -> Result<Option<ProcessKey>, RecordError> {
        let pid = self.u32(at + offset_of!(Key, pid))?;
        let start_ns = self.u64(at + offset_of!(Key, start_ns))?;
        Ok((pid != 0).then_some(ProcessKey { pid, start_ns }))
    }

    fn fork(&self) -> Result<EventBody, RecordError> {
        let child = self.key(offset_of!(ForkRecord, child))?;
        Ok(EventBody::Fork {
            child: child.unwrap_or(ProcessKey {
                pid: 0,
                start_ns: 0,
            }),
        })
    }

    fn exit(&self) -> Result<EventBody, RecordError> {
        Ok(EventBody::Exit {
            code: self.u32(offset_of!(ExitRecord, code))?.cast_signed(),
            signal: self.u32(offset_of!(ExitRecord, signal))?.cast_signed(),
        })
    }

    fn connect(&self) -> Result<EventBody, RecordError> {
        let address: [u8; 16] = self.array(offset_of!(ConnectRecord, address))?;
        let family = self.u16(offset_of!(ConnectRecord, family))?;
        let ip: IpAddr = match i32::from(family) {
            libc::AF_INET => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
            libc::AF_INET6 => Ipv6Addr::from(address).to_canonical(),
            _ => return Err(RecordError::Family(family)),
        };
        let port = self.u16(offset_of!(ConnectRecord, port))?;
        Ok(EventBody::Connect {
            remote: SocketAddr::new(ip, port),
        })
    }

    fn exec(&self) -> Result<(EventBody, usize), RecordError> {
        let exe_bytes = usize::from(self.u16(offset_of!(ExecRecord, exe_bytes))?);
        let cwd_bytes = usize::from(self.u16(offset_of!(ExecRecord, cwd_bytes))?);
        let argv_bytes = usize::from(self.u16(offset_of!(ExecRecord, argv_bytes))?);
        let [flags] = self.array(offset_of!(ExecRecord, flags))?;
        let stdio: [u8; 3] = self.array(offset_of!(ExecRecord, stdio))?;
        let has = |flag: u8| flags & flag != 0;
        let exe_at = size_of::<ExecRecord>();
        let cwd_at = exe_at + exe_bytes;
        let argv_at = cwd_at + cwd_bytes;
        let exec = Exec {
            parent: self.key(offset_of!(ExecRecord, parent))?,
            exe: path(self.slice(exe_at, exe_bytes)?, has(FLAG_EXE_TRUNCATED), ""),
            argv: arguments(self.slice(argv_at, argv_bytes)?),
            argv_truncated: has(FLAG_ARGV_TRUNCATED),
            cwd: path(self.slice(cwd_at, cwd_bytes)?, has(FLAG_CWD_TRUNCATED), "/"),
            uid: self.u32(offset_of!(ExecRecord, uid))?,
            euid: self.u32(offset_of!(ExecRecord, euid))?,
            tty: has(FLAG_TTY),
            stdio: stdio.map(stdio_kind),
            deleted_exe: has(FLAG_DELETED),
            memfd: has(FLAG_MEMFD),
            snapshot: has(FLAG_SNAPSHOT),
        };
        Ok((EventBody::Exec(Box::new(exec)), argv_at + argv_bytes))
    }
}

/// NUL-terminated names, leaf first, as a path; one that was too long to walk begins with `/…`.
fn path(names: &[u8], truncated: bool, when_empty: &str) -> String {
    let mut path = String::from(if truncated { "/…" } else { "" });
    for name in names.split(|byte| *byte == 0).rev() {
        if !name.is_empty() {
            path.push('/');
            path.push_str(&String::from_utf8_lossy(name));
        }
    }
    if path.is_empty() {
        path.push_str(when_empty);
    }
    path
}

/// NUL-terminated arguments; the last may have been cut.
pub(crate) fn arguments(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let arguments = bytes.split(|byte| *byte == 0);
    arguments
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

fn stdio_kind(kind: u8) -> StdioKind {
    match kind {
        1 => StdioKind::Tty,
        2 => StdioKind::Null,
        3 => StdioKind::Pipe,
        4 => StdioKind::File,
        5 => StdioKind::Socket,
        6 => StdioKind::UnixSocket,
        7 => StdioKind::Closed,
        8 => StdioKind::Other,
        _ => StdioKind::Unknown,
    }
}
