//! Decoding what the eBPF programs write: the mirror of `bpf/records.h`.
//!
//! The structs are never made from the bytes; they say where each field is.

mod exec;
mod network;
mod privilege;
mod process;

use std::mem::offset_of;

use cordon_behavior::event::{Event, EventBody, ProcessKey};

pub(crate) use exec::arguments;
pub(crate) use network::FLOW_BYTES;

/// Kinds of record, the index of the loss counters too.
pub(crate) const KINDS: [&str; 17] = [
    "",
    "exec",
    "fork",
    "exit",
    "connect",
    "credential",
    "namespace",
    "cgroup",
    "module",
    "ptrace",
    "listen",
    "accept",
    "close",
    "udp",
    "dns",
    "raw_socket",
    "throttle",
];
const EXEC: u32 = 1;
const FORK: u32 = 2;
const EXIT: u32 = 3;
const CONNECT: u32 = 4;
const CGROUP: u32 = 7;
const LISTEN: u32 = 10;
const ACCEPT: u32 = 11;
const CLOSE: u32 = 12;
const UDP: u32 = 13;
const DNS: u32 = 14;
const RAW_SOCKET: u32 = 15;
const MODULE: u32 = 8;
const PTRACE: u32 = 9;
const THROTTLE: u32 = 16;

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

/// `bpf/cgroup.h`; the path follows.
#[repr(C)]
struct CgroupRecord {
    head: Head,
    id: u64,
    created: u32,
    path_bytes: u32,
}

/// `bpf/throttle.h`
#[repr(C)]
struct ThrottleRecord {
    head: Head,
    dropped: u64,
    started: u64,
}

const _: () = {
    assert!(size_of::<Head>() == 40);
    assert!(size_of::<CgroupRecord>() == 56);
    assert!(size_of::<ThrottleRecord>() == 56);
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

/// A process that the start-up snapshot came by.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its image, at the time of the visit.
    pub event: Event,
    /// An exec of it was under way.
    pub under_way: bool,
    /// Where its arguments lay.
    pub argv_at: u64,
}

/// Records of a snapshot, which lie end to end.
pub(crate) fn found(mut bytes: &[u8], wall_offset_ns: i64) -> Result<Vec<Found>, RecordError> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (event, size) = decode_sized(bytes, wall_offset_ns)?;
        let (under_way, argv_at) = exec::visit(&Reader { bytes })?;
        all.extend(event.map(|event| Found {
            event,
            under_way,
            argv_at,
        }));
        bytes = &bytes[size..];
    }
    Ok(all)
}

fn decode_sized(bytes: &[u8], wall_offset_ns: i64) -> Result<(Option<Event>, usize), RecordError> {
    let reader = Reader { bytes };
    let (body, size) = match reader.u32(offset_of!(Head, kind))? {
        EXEC => exec::exec(&reader)?,
        FORK => process::fork(&reader)?,
        EXIT => process::exit(&reader)?,
        CONNECT => network::connect(&reader)?,
        CGROUP => cgroup(&reader)?,
        LISTEN => network::listen(&reader)?,
        ACCEPT => network::accept(&reader)?,
        CLOSE => network::close(&reader)?,
        UDP => network::udp(&reader)?,
        DNS => network::dns(&reader)?,
        RAW_SOCKET => network::raw_socket(&reader)?,
        MODULE => privilege::module(&reader)?,
        PTRACE => privilege::ptrace(&reader)?,
        THROTTLE => throttle(&reader)?,
        unknown => return Err(RecordError::Kind(unknown)),
    };
    let process = reader.key(offset_of!(Head, process))?;
    if process.is_none() && matches!(body, EventBody::Fork { .. }) {
        return Ok((None, size));
    }
    let mono_ns = reader.u64(offset_of!(Head, mono_ns))?;
    let event = Event {
        mono_ns,
        wall_ns: mono_ns.saturating_add_signed(wall_offset_ns),
        process: process.unwrap_or(ProcessKey::NONE),
        cgroup_id: reader.u64(offset_of!(Head, cgroup_id))?,
        container: None,
        body,
    };
    Ok((Some(event), size))
}

fn cgroup(reader: &Reader<'_>) -> Decoded {
    let path_at = size_of::<CgroupRecord>();
    let path_bytes = reader.u32(offset_of!(CgroupRecord, path_bytes))? as usize;
    let path = reader.slice(path_at, path_bytes)?;
    let body = EventBody::Cgroup {
        id: reader.u64(offset_of!(CgroupRecord, id))?,
        path: String::from_utf8_lossy(path).into_owned(),
        created: reader.u32(offset_of!(CgroupRecord, created))? != 0,
    };
    Ok((body, path_at + path_bytes))
}

fn throttle(reader: &Reader<'_>) -> Decoded {
    let body = EventBody::Throttle {
        cgroup: reader.u64(offset_of!(Head, cgroup_id))?,
        started: reader.u64(offset_of!(ThrottleRecord, started))? != 0,
        dropped: reader.u64(offset_of!(ThrottleRecord, dropped))?,
    };
    Ok((body, size_of::<ThrottleRecord>()))
}

/// A body, and the bytes that the record has.
type Decoded = Result<(EventBody, usize), RecordError>;

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
}
