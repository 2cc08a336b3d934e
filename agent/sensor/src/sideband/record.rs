//! Decoding the kernel's side band records: `include/uapi/linux/perf_event.h`.
//!
//! Nothing is copied or allocated: each new program image makes four records that mean nothing here.

/// `struct perf_event_header`: type, misc, size.
const HEADER: usize = 8;
/// `struct sample_id` as the ring asks for it (`PERF_SAMPLE_TID | PERF_SAMPLE_TIME`): the last bytes
/// of each record: pid, tid, time.
const TRAILER: usize = 16;

const LOST: u32 = 2;
const MMAP2: u32 = 10;
const NAMESPACES: u32 = 16;
const BPF_EVENT: u32 = 18;

/// `PROT_WRITE` and `PROT_EXEC`.
const WRITE: u32 = 2;
const EXECUTE: u32 = 4;
/// `PERF_BPF_EVENT_PROG_LOAD`.
const PROGRAM_LOADED: u16 = 1;

/// How many kinds of namespace a record tells: net, uts, ipc, pid, user, mnt, cgroup.
pub const NAMESPACE_KINDS: usize = 7;

/// What a record of the side band tells that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideRecord<'a> {
    /// Memory became executable that is not a file's code.
    Memory {
        /// Thread group; 0 outside the reader's PID namespace.
        pid: u32,
        /// CLOCK_MONOTONIC, nanoseconds.
        mono_ns: u64,
        /// Writable too.
        writable: bool,
        /// As the kernel names the mapping.
        name: &'a [u8],
    },
    /// The namespaces of a task: of a new one, or of one that left some of its own.
    Namespaces(TaskNamespaces),
    /// A BPF program was loaded.
    Bpf {
        /// Who loaded it.
        pid: u32,
        /// CLOCK_MONOTONIC, nanoseconds.
        mono_ns: u64,
        /// The kernel's id of the program.
        id: u32,
    },
    /// Records that found the ring full.
    Lost(u64),
}

/// In which namespaces a task is, and who caused that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskNamespaces {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// Thread group of the task.
    pub pid: u32,
    /// The task.
    pub tid: u32,
    /// Thread group of the doer: of the parent, when the task is new.
    pub by_pid: u32,
    /// The doer.
    pub by_tid: u32,
    /// Inode numbers, in the order of `NET_NS_INDEX` and its kin; 0 when not told.
    pub set: [u32; NAMESPACE_KINDS],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SideError {
    /// Fewer bytes than a header has.
    #[error("side band record of {bytes} bytes has no whole header")]
    Header {
        /// How many there are.
        bytes: usize,
    },
    /// A size that cannot be.
    #[error("side band record says it has {said} bytes where {bytes} are left")]
    Size {
        /// By the header.
        said: usize,
        /// In fact.
        bytes: usize,
    },
    /// Too short for its type.
    #[error("side band record of type {kind} is too short")]
    Short {
        /// Its type.
        kind: u32,
    },
}

/// The first record of `bytes` unless it is of no interest, and how many bytes it has (at least 8).
pub fn decode_sideband(bytes: &[u8]) -> Result<(Option<SideRecord<'_>>, usize), SideError> {
    let header = Record { kind: 0, bytes };
    let no_header = |_| SideError::Header { bytes: bytes.len() };
    let kind = header.u32(0).map_err(no_header)?;
    let size = usize::from(header.u16(6).map_err(no_header)?);
    let whole = bytes.get(..size).filter(|whole| whole.len() >= HEADER);
    let bytes = whole.ok_or(SideError::Size {
        said: size,
        bytes: bytes.len(),
    })?;
    let record = Record { kind, bytes };
    let told = match kind {
        MMAP2 => memory(&record)?,
        NAMESPACES => Some(SideRecord::Namespaces(namespaces(&record)?)),
        BPF_EVENT => program(&record)?,
        LOST => Some(SideRecord::Lost(record.u64(16)?)),
        _ => None,
    };
    Ok((told, size))
}

/// pid, tid, addr, len, pgoff, maj, min, ino, ino_generation, prot, flags, filename.
fn memory<'a>(record: &Record<'a>) -> Result<Option<SideRecord<'a>>, SideError> {
    let protection = record.u32(64)?;
    let padded = record.slice(72, record.trailer()?)?;
    let writable = protection & WRITE != 0;
    if protection & EXECUTE == 0 || is_usual(padded, writable) {
        return Ok(None);
    }
    let end = padded.iter().position(|byte| *byte == 0);
    Ok(Some(SideRecord::Memory {
        pid: record.u32(HEADER)?,
        mono_ns: record.u64(record.trailer()? + 8)?,
        writable,
        name: &padded[..end.unwrap_or(padded.len())],
    }))
}

/// A file's code that is not written, and what the kernel maps into every process.
fn is_usual(name: &[u8], writable: bool) -> bool {
    if name.starts_with(b"[") {
        return !name.starts_with(b"[heap]") && !name.starts_with(b"[stack");
    }
    let without_file = [b"//".as_slice(), b"/memfd:", b"/dev/zero", b"/SYSV"];
    !writable && !without_file.iter().any(|start| name.starts_with(start))
}

/// pid, tid, nr_namespaces, then dev and inode of each.
fn namespaces(record: &Record<'_>) -> Result<TaskNamespaces, SideError> {
    let told = record.u64(16)?.min(NAMESPACE_KINDS as u64) as usize;
    let trailer = record.trailer()?;
    let mut set = [0; NAMESPACE_KINDS];
    for (index, inode) in set.iter_mut().enumerate().take(told) {
        *inode = record.u64(24 + 16 * index + 8)? as u32;
    }
    Ok(TaskNamespaces {
        mono_ns: record.u64(trailer + 8)?,
        pid: record.u32(HEADER)?,
        tid: record.u32(HEADER + 4)?,
        by_pid: record.u32(trailer)?,
        by_tid: record.u32(trailer + 4)?,
        set,
    })
}

/// type, flags, id, tag. Where several readers listen, the kernel forgets to take one's trailer off
/// the size before it serves the next, so the trailer is not at the end.
fn program<'a>(record: &Record<'a>) -> Result<Option<SideRecord<'a>>, SideError> {
    if record.u16(HEADER)? != PROGRAM_LOADED {
        return Ok(None);
    }
    let trailer = 24;
    Ok(Some(SideRecord::Bpf {
        id: record.u32(12)?,
        pid: record.u32(trailer)?,
        mono_ns: record.u64(trailer + 8)?,
    }))
}

/// The bytes of one record.
struct Record<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    fn slice(&self, from: usize, to: usize) -> Result<&'a [u8], SideError> {
        let short = SideError::Short { kind: self.kind };
        self.bytes.get(from..to).ok_or(short)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], SideError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(at, at + N)?);
        Ok(array)
    }

    fn u16(&self, at: usize) -> Result<u16, SideError> {
        Ok(u16::from_ne_bytes(self.array(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32, SideError> {
        Ok(u32::from_ne_bytes(self.array(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64, SideError> {
        Ok(u64::from_ne_bytes(self.array(at)?))
    }

    /// Where the trailer begins.
    fn trailer(&self) -> Result<usize, SideError> {
        let trailer = self.bytes.len().checked_sub(TRAILER);
        trailer.ok_or(SideError::Short { kind: self.kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend([0; 2]);
        bytes.extend(((HEADER + body.len()) as u16).to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn mapping(protection: u32, name: &str) -> Vec<u8> {
        let mut body = vec![0; 64];
        body[0] = 7;
        body[56..60].copy_from_slice(&protection.to_ne_bytes());
        body.extend(name.as_bytes());
        body.resize((body.len() + 8) / 8 * 8, 0);
        body.extend([0; TRAILER]);
        record(MMAP2, &body)
    }

    fn is_told(protection: u32, name: &str) -> bool {
        let bytes = mapping(protection, name);
        let (told, size) = decode_sideband(&bytes).expect("well-formed");
        assert_eq!(size, bytes.len());
        told.is_some_and(|told| match told {
            SideRecord::Memory {
                pid,
                writable,
                name: decoded,
                ..
            } => (pid, writable, decoded) == (7, protection & WRITE != 0, name.as_bytes()),
            _ => false,
        })
    }

    #[test]
    fn a_programs_own_code_is_not_told_and_made_code_is() {
        assert!(!is_told(5, "/usr/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(!is_told(5, "[vdso]"));
        assert!(!is_told(3, "//anon"));
        assert!(is_told(5, "//anon"));
        assert!(is_told(7, "/usr/bin/true"));
        assert!(is_told(5, "/memfd:x (deleted)"));
        assert!(is_told(7, "[heap]"));
        assert!(is_told(7, "[stack]"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            if let Ok((_, size)) = decode_sideband(&bytes) {
                prop_assert!(size >= HEADER && size <= bytes.len());
            }
        }

        /// Right type and size, wrong everything else.
        #[test]
        fn any_body_is_answered(
            kind in prop_oneof![Just(LOST), Just(MMAP2), Just(NAMESPACES), Just(BPF_EVENT)],
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = record(kind, &body);
            match decode_sideband(&bytes) {
                Ok((_, size)) => prop_assert_eq!(size, bytes.len()),
                Err(error) => prop_assert_eq!(error, SideError::Short { kind }),
            }
        }
    }
}
