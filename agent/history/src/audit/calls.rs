//! System calls by name and number.

/// What a system call does, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Exec,
    Connect,
    Accept,
    Send,
    Fork,
    /// Its flags say whether it makes a process or a thread.
    Clone,
    Exit,
    /// With which argument the flags are.
    Open(usize),
    Create,
    Truncate,
    Rename,
    Unlink,
    Link,
    /// With which argument the mode is.
    Chmod(usize),
    Credentials,
    Ptrace,
    Module,
    Mount,
    Unmount,
    Bpf,
    Unshare,
    SetNs,
}

/// No such system call.
const NONE: u32 = u32::MAX;

/// Name, number on x86-64, number on aarch64. `clone3` is missing: its flags are not in the log, and most of its
/// calls make threads.
const CALLS: &[(&str, u32, u32, Call)] = &[
    ("execve", 59, 221, Call::Exec),
    ("execveat", 322, 281, Call::Exec),
    ("connect", 42, 203, Call::Connect),
    ("accept", 43, 202, Call::Accept),
    ("accept4", 288, 242, Call::Accept),
    ("sendto", 44, 206, Call::Send),
    ("sendmsg", 46, 211, Call::Send),
    ("sendmmsg", 307, 269, Call::Send),
    ("fork", 57, NONE, Call::Fork),
    ("vfork", 58, NONE, Call::Fork),
    ("clone", 56, 220, Call::Clone),
    ("exit_group", 231, 94, Call::Exit),
    ("open", 2, NONE, Call::Open(1)),
    ("openat", 257, 56, Call::Open(2)),
    ("creat", 85, NONE, Call::Create),
    ("mkdir", 83, NONE, Call::Create),
    ("mkdirat", 258, 34, Call::Create),
    ("mknod", 133, NONE, Call::Create),
    ("mknodat", 259, 33, Call::Create),
    ("symlink", 88, NONE, Call::Create),
    ("symlinkat", 266, 36, Call::Create),
    ("truncate", 76, 45, Call::Truncate),
    ("rename", 82, NONE, Call::Rename),
    ("renameat", 264, 38, Call::Rename),
    ("renameat2", 316, 276, Call::Rename),
    ("unlink", 87, NONE, Call::Unlink),
    ("unlinkat", 263, 35, Call::Unlink),
    ("rmdir", 84, NONE, Call::Unlink),
    ("link", 86, NONE, Call::Link),
    ("linkat", 265, 37, Call::Link),
    ("chmod", 90, NONE, Call::Chmod(1)),
    ("fchmod", 91, 52, Call::Chmod(1)),
    ("fchmodat", 268, 53, Call::Chmod(2)),
    ("fchmodat2", 452, 452, Call::Chmod(2)),
    ("setuid", 105, 146, Call::Credentials),
    ("setgid", 106, 144, Call::Credentials),
    ("setreuid", 113, 145, Call::Credentials),
    ("setregid", 114, 143, Call::Credentials),
    ("setresuid", 117, 147, Call::Credentials),
    ("setresgid", 119, 149, Call::Credentials),
    ("ptrace", 101, 117, Call::Ptrace),
    ("init_module", 175, 105, Call::Module),
    ("finit_module", 313, 273, Call::Module),
    ("mount", 165, 40, Call::Mount),
    ("umount2", 166, 39, Call::Unmount),
    ("bpf", 321, 280, Call::Bpf),
    ("unshare", 272, 97, Call::Unshare),
    ("setns", 308, 268, Call::SetNs),
];

const X86_64: u64 = 0xc000_003e;
const AARCH64: u64 = 0xc000_00b7;

impl Call {
    /// By its number; `None` for a call that is not told, and on every other architecture.
    pub(crate) fn numbered(arch: u64, number: u32) -> Option<Self> {
        let found = CALLS.iter().find(|(_, x86_64, aarch64, _)| match arch {
            X86_64 => *x86_64 == number,
            AARCH64 => *aarch64 == number,
            _ => false,
        });
        found.filter(|_| number != NONE).map(|row| row.3)
    }

    /// By its name, as an enriched log has it for every architecture.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let found = CALLS.iter().find(|row| row.0.as_bytes() == name);
        found.map(|row| row.3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_stands_for_two_calls() {
        for arch in [X86_64, AARCH64] {
            let number = |row: &(&str, u32, u32, Call)| if arch == X86_64 { row.1 } else { row.2 };
            let mut numbers: Vec<u32> = CALLS.iter().map(number).filter(|n| *n != NONE).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all);
            assert_eq!(Call::numbered(arch, NONE), None);
        }
    }
}
