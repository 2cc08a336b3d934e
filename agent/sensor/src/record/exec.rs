//! Records of program images: `bpf/exec.h`, `bpf/image.h`.

use std::mem::offset_of;

use cordon_behavior::event::{EventBody, Exec, FileIdentity, Listed, Namespaces, Origin};
use cordon_behavior::story::StdioKind;

use super::{Decoded, Head, Key, Reader, RecordError};

const FLAG_TTY: u16 = 1;
const FLAG_DELETED: u16 = 1 << 1;
const FLAG_MEMFD: u16 = 1 << 2;
const FLAG_ARGV_TRUNCATED: u16 = 1 << 3;
const FLAG_EXE_TRUNCATED: u16 = 1 << 4;
const FLAG_CWD_TRUNCATED: u16 = 1 << 5;
const FLAG_SNAPSHOT: u16 = 1 << 6;
const FLAG_WRITABLE: u16 = 1 << 7;
const FLAG_SCRIPT: u16 = 1 << 8;
const FLAG_BY_DESCRIPTOR: u16 = 1 << 9;
const FLAG_UNDER_WAY: u16 = 1 << 10;
const FLAG_LISTED: u16 = 1 << 11;
const FLAG_KILLED: u16 = 1 << 12;
const FLAG_HELD: u16 = 1 << 13;

/// Nobody's login uid and session.
const NONE: u32 = u32::MAX;

/// The short list of environment variables: what changes what a program loads or runs, where its
/// traffic goes, what a shell keeps, and who came in how. In the order of `bpf/environment.h`.
const ENVIRONMENT: [&str; 31] = [
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "BASH_ENV",
    "ENV",
    "IFS",
    "PS4",
    "PROMPT_COMMAND",
    "HISTFILE",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PERL5OPT",
    "PERL5LIB",
    "RUBYOPT",
    "RUBYLIB",
    "NODE_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "GIT_SSH_COMMAND",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "SSH_CONNECTION",
    "SSH_ORIGINAL_COMMAND",
    "SUDO_USER",
    "SUDO_COMMAND",
];

#[repr(C)]
struct ExecRecord {
    head: Head,
    parent: Key,
    uid: u32,
    euid: u32,
    gid: u32,
    egid: u32,
    capabilities: u64,
    login_uid: u32,
    session: u32,
    inode: u64,
    mtime_ns: u64,
    size: u64,
    argv_at: u64,
    device: u32,
    environment: u32,
    stdio: [u8; 3],
    namespaces: u8,
    flags: u16,
    exe_bytes: u16,
    cwd_bytes: u16,
    name_bytes: u16,
    argv_bytes: u16,
    hole: u16,
}

const _: () = assert!(size_of::<ExecRecord>() == 144);

/// What only the start-up snapshot asks: whether an exec was under way, and where the arguments lay.
pub(super) fn visit(reader: &Reader<'_>) -> Result<(bool, u64), RecordError> {
    let flags = reader.u16(offset_of!(ExecRecord, flags))?;
    let argv_at = reader.u64(offset_of!(ExecRecord, argv_at))?;
    Ok((flags & FLAG_UNDER_WAY != 0, argv_at))
}

pub(super) fn exec(reader: &Reader<'_>) -> Decoded {
    let flags = reader.u16(offset_of!(ExecRecord, flags))?;
    let has = |flag: u16| flags & flag != 0;
    let mut texts = Texts {
        reader,
        at: size_of::<ExecRecord>(),
    };
    let exe = texts.next(offset_of!(ExecRecord, exe_bytes))?;
    let cwd = texts.next(offset_of!(ExecRecord, cwd_bytes))?;
    let name = texts.next(offset_of!(ExecRecord, name_bytes))?;
    let argv = texts.next(offset_of!(ExecRecord, argv_bytes))?;
    let cwd = path(cwd, has(FLAG_CWD_TRUNCATED), "/");
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    let script = if has(FLAG_SCRIPT) {
        absolute(&String::from_utf8_lossy(name), &cwd)
    } else {
        String::new()
    };
    let [namespaces] = reader.array(offset_of!(ExecRecord, namespaces))?;
    let exec = Exec {
        parent: reader.key(offset_of!(ExecRecord, parent))?,
        exe: path(exe, has(FLAG_EXE_TRUNCATED), ""),
        script,
        identity: identity(reader)?,
        argv: arguments(argv),
        argv_truncated: has(FLAG_ARGV_TRUNCATED),
        env: variables(reader.u32(offset_of!(ExecRecord, environment))?),
        cwd,
        uid: reader.u32(offset_of!(ExecRecord, uid))?,
        euid: reader.u32(offset_of!(ExecRecord, euid))?,
        gid: reader.u32(offset_of!(ExecRecord, gid))?,
        egid: reader.u32(offset_of!(ExecRecord, egid))?,
        capabilities: reader.u64(offset_of!(ExecRecord, capabilities))?,
        login_uid: known(reader.u32(offset_of!(ExecRecord, login_uid))?),
        session: known(reader.u32(offset_of!(ExecRecord, session))?),
        namespaces: namespaces_of(namespaces),
        tty: has(FLAG_TTY),
        stdio: reader
            .array::<3>(offset_of!(ExecRecord, stdio))?
            .map(stdio_kind),
        deleted_exe: has(FLAG_DELETED),
        memfd: has(FLAG_MEMFD),
        by_descriptor: has(FLAG_BY_DESCRIPTOR) && is_descriptor(name),
        origin: Origin {
            // A memfd has no place, and anybody's mode.
            world_writable: (!has(FLAG_MEMFD)).then_some(has(FLAG_WRITABLE)),
            ..Origin::default()
        },
        snapshot: has(FLAG_SNAPSHOT),
        listed: match (has(FLAG_KILLED), has(FLAG_HELD), has(FLAG_LISTED)) {
            (true, ..) => Some(Listed::Killed),
            (_, true, _) => Some(Listed::Held),
            (.., true) => Some(Listed::Told),
            _ => None,
        },
    };
    Ok((EventBody::Exec(Box::new(exec)), texts.at))
}

/// The texts behind the record, one after the other.
struct Texts<'a, 'b> {
    reader: &'b Reader<'a>,
    at: usize,
}

impl<'a> Texts<'a, '_> {
    /// The next one, whose length is in the field at `length_at`.
    fn next(&mut self, length_at: usize) -> Result<&'a [u8], RecordError> {
        let bytes = usize::from(self.reader.u16(length_at)?);
        let text = self.reader.slice(self.at, bytes)?;
        self.at += bytes;
        Ok(text)
    }
}

fn identity(reader: &Reader<'_>) -> Result<Option<FileIdentity>, RecordError> {
    let inode = reader.u64(offset_of!(ExecRecord, inode))?;
    let device = reader.u32(offset_of!(ExecRecord, device))?;
    let identity = FileIdentity {
        device: libc::makedev(device >> 20, device & 0xf_ffff),
        inode,
        mtime_ns: reader.u64(offset_of!(ExecRecord, mtime_ns))?,
        size: reader.u64(offset_of!(ExecRecord, size))?,
    };
    Ok((inode != 0).then_some(identity))
}

fn known(id: u32) -> Option<u32> {
    (id != NONE).then_some(id)
}

/// The names of the variables that a record has the bits of.
fn variables(bits: u32) -> Vec<String> {
    if bits == 0 {
        return Vec::new();
    }
    let names = ENVIRONMENT.iter().enumerate();
    names
        .filter(|(bit, _)| bits >> bit & 1 != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Namespaces by the bits of `enum namespace_kind`.
pub(super) fn namespaces_of(bits: u8) -> Namespaces {
    let has = |bit: u8| bits & bit != 0;
    Namespaces {
        mnt: has(1),
        pid: has(1 << 1),
        net: has(1 << 2),
        user: has(1 << 3),
        uts: has(1 << 4),
        ipc: has(1 << 5),
        cgroup: has(1 << 6),
        time: has(1 << 7),
    }
}

/// Whether a descriptor itself was executed, and not a path that begins at one:
/// `fs/exec.c`, `alloc_bprm()`, names both from `/dev/fd/`.
fn is_descriptor(name: &[u8]) -> bool {
    name.strip_prefix(b"/dev/fd/")
        .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

/// A path as it was given, from the root on. `..` stays: what it leads to links decide.
fn absolute(path: &str, cwd: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let below = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{below}", cwd.trim_end_matches('/'))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_list_is_in_the_order_of_the_programs() {
        let header = include_str!("../../bpf/environment.h");
        let mut found = 0;
        for line in header.lines() {
            let Some(rest) = line.trim().strip_prefix("IS(\"") else {
                continue;
            };
            let (name, rest) = rest.split_once('"').unwrap_or_default();
            let bit = rest.trim_matches([',', ' ', ')', ';']).parse::<usize>();
            let whole = format!("{}=", ENVIRONMENT[bit.unwrap_or(usize::MAX)]);
            assert_eq!(name, &whole[..whole.len().min(16)]);
            found += 1;
        }
        assert_eq!(found, ENVIRONMENT.len());
    }

    #[test]
    fn a_descriptor_is_told_from_a_path_below_one() {
        assert!(is_descriptor(b"/dev/fd/3"));
        for other in ["/dev/fd/3/run", "/dev/fd/", "/dev/fd", "./x", "/dev/fd/3x"] {
            assert!(!is_descriptor(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_script_is_told_from_the_root_on() {
        assert_eq!(absolute("./run.sh", "/srv"), "/srv/run.sh");
        assert_eq!(absolute("bin/run", "/"), "/bin/run");
        assert_eq!(absolute("../run", "/srv"), "/srv/../run");
        assert_eq!(absolute("/opt/run", "/srv"), "/opt/run");
    }
}
