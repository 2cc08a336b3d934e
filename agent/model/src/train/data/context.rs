//! Lines that stand among attacks and are none: setting up, and looking around.

use super::super::shell;

/// Work that attackers and everybody else do all day: what it means depends on what is around it.
pub(super) const SETUP: [&str; 24] = [
    "apk", "apt", "apt-get", "break", "cd", "chmod", "clear", "dnf", "done", "echo", "else",
    "exit", "export", "false", "fi", "mkdir", "pip", "pip3", "sleep", "touch", "true", "which",
    "yum", "zypper",
];
/// The same for bare looks around.
pub(super) const LOOKING: [&str; 28] = [
    "arp", "cat", "date", "df", "dmesg", "env", "file", "groups", "hostname", "id", "ifconfig",
    "ip", "last", "ls", "lsmod", "mount", "netstat", "printenv", "ps", "pwd", "ss", "su", "test",
    "top", "uname", "uptime", "w", "who",
];

/// Whether a line of an attack says nothing of it by itself.
pub(super) fn is_context(line: &str) -> bool {
    let Some(commands) = shell::commands(line) else {
        // Fragments of scripts: too little to be an attack by themselves.
        return line.len() < 24;
    };
    if line.contains("/dev/tcp") || line.contains('>') && !line.contains("/dev/null") {
        return false;
    }
    commands.iter().all(|argv| {
        let argv: &[String] = match argv.split_first() {
            Some((head, rest)) if head == "sudo" && !rest.is_empty() => rest,
            _ => argv,
        };
        let Some(head) = argv.first() else {
            return true;
        };
        SETUP.binary_search(&head.as_str()).is_ok()
            || head == "whoami"
            || LOOKING.binary_search(&head.as_str()).is_ok()
                && argv.len() <= 2
                && !argv.iter().any(|arg| arg.contains('/'))
    })
}

/// Not a line of PowerShell.
pub(super) fn is_shell(line: &str) -> bool {
    line.len() >= 2
        && !line.contains("Invoke-")
        && !line.contains("$env:")
        && !line.contains("Write-Host")
}
