//! Records of processes: `bpf/exec.h`, `bpf/lineage.h`.

use std::mem::offset_of;

use cordon_behavior::event::{EventBody, Exec, ProcessKey};
use cordon_behavior::story::StdioKind;

use super::{Decoded, Head, Key, Reader};

const FLAG_TTY: u8 = 1;
const FLAG_DELETED: u8 = 1 << 1;
const FLAG_MEMFD: u8 = 1 << 2;
const FLAG_ARGV_TRUNCATED: u8 = 1 << 3;
const FLAG_EXE_TRUNCATED: u8 = 1 << 4;
const FLAG_CWD_TRUNCATED: u8 = 1 << 5;
const FLAG_SNAPSHOT: u8 = 1 << 6;

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
    assert!(size_of::<ForkRecord>() == 56);
    assert!(size_of::<ExitRecord>() == 48);
    assert!(size_of::<ExecRecord>() == 80);
};

pub(super) fn fork(reader: &Reader<'_>) -> Decoded {
    let child = reader.key(offset_of!(ForkRecord, child))?;
    let child = child.unwrap_or(ProcessKey::NONE);
    Ok((EventBody::Fork { child }, size_of::<ForkRecord>()))
}

pub(super) fn exit(reader: &Reader<'_>) -> Decoded {
    let body = EventBody::Exit {
        code: reader.u32(offset_of!(ExitRecord, code))?.cast_signed(),
        signal: reader.u32(offset_of!(ExitRecord, signal))?.cast_signed(),
    };
    Ok((body, size_of::<ExitRecord>()))
}

pub(super) fn exec(reader: &Reader<'_>) -> Decoded {
    let exe_bytes = usize::from(reader.u16(offset_of!(ExecRecord, exe_bytes))?);
    let cwd_bytes = usize::from(reader.u16(offset_of!(ExecRecord, cwd_bytes))?);
    let argv_bytes = usize::from(reader.u16(offset_of!(ExecRecord, argv_bytes))?);
    let [flags] = reader.array(offset_of!(ExecRecord, flags))?;
    let stdio: [u8; 3] = reader.array(offset_of!(ExecRecord, stdio))?;
    let has = |flag: u8| flags & flag != 0;
    let exe_at = size_of::<ExecRecord>();
    let cwd_at = exe_at + exe_bytes;
    let argv_at = cwd_at + cwd_bytes;
    let exec = Exec {
        parent: reader.key(offset_of!(ExecRecord, parent))?,
        exe: path(
            reader.slice(exe_at, exe_bytes)?,
            has(FLAG_EXE_TRUNCATED),
            "",
        ),
        argv: arguments(reader.slice(argv_at, argv_bytes)?),
        argv_truncated: has(FLAG_ARGV_TRUNCATED),
        cwd: path(
            reader.slice(cwd_at, cwd_bytes)?,
            has(FLAG_CWD_TRUNCATED),
            "/",
        ),
        uid: reader.u32(offset_of!(ExecRecord, uid))?,
        euid: reader.u32(offset_of!(ExecRecord, euid))?,
        tty: has(FLAG_TTY),
        stdio: stdio.map(stdio_kind),
        deleted_exe: has(FLAG_DELETED),
        memfd: has(FLAG_MEMFD),
        snapshot: has(FLAG_SNAPSHOT),
        ..Exec::default()
    };
    Ok((EventBody::Exec(Box::new(exec)), argv_at + argv_bytes))
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
