//! The names of the facts and their places in the vector.

use crate::levels;

/// Names of the facts, in order; the rest of the vector is zero and free for later ones.
pub const NAMES: [&str; FIRST_LEVEL + levels::COUNT] = {
    let mut names = [""; FIRST_LEVEL + levels::COUNT];
    let mut index = 0;
    while index < names.len() {
        names[index] = if index < FIRST_LEVEL {
            OWN[index]
        } else {
            levels::LEVELS[index - FIRST_LEVEL].0
        };
        index += 1;
    }
    names
};

/// Where the levels begin.
pub(super) const FIRST_LEVEL: usize = OWN.len();

const OWN: [&str; 56] = [
    "has_process",
    "has_command",
    "has_session",
    "stdin_socket",
    "stdout_socket",
    "stderr_socket",
    "stdio_all_socket",
    "stdin_tty",
    "stdout_tty",
    "stdin_pipe",
    "stdout_pipe",
    "stdin_null",
    "stdio_unknown",
    "stdin_unix",
    "tty",
    "deleted_exe",
    "memfd",
    "uid_root",
    "uid_service",
    "uid_person",
    "euid_raised",
    "exe_world_writable",
    "exe_hidden",
    "exe_home",
    "shell",
    "interpreter",
    "shell_interactive",
    "shell_on_socket",
    "inline_code",
    "parent_interpreter",
    "near_interpreter",
    "ancestor_world_writable",
    "child_shell",
    "children",
    "out_public",
    "out_private",
    "out_loopback",
    "in_any",
    "out_high_port",
    "out_web_port",
    "out_low_port",
    "remotes",
    "connections",
    "written",
    "renamed",
    "unlinked",
    "read",
    "chmod",
    "written_etc",
    "written_dot",
    "dns",
    "dns_longest_label",
    "text_length",
    "text_symbols",
    "longest_argument",
    "lines",
];

/// Index of a fact, found while compiling; a name that is not on the list does not compile.
pub(super) const fn index_of(name: &str) -> usize {
    let mut index = 0;
    while index < NAMES.len() {
        if is_same(NAMES[index].as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("no fact has this name")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}
