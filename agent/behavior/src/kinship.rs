//! Which programs pass commands on (so that what their kin do is part of their story), and which
//! start unrelated sessions (so that a tree ends below them). Neither list says anything about guilt.

/// Shells and interpreters: what they run or connect to is their doing.
pub(crate) fn is_interpreter(exe: &str) -> bool {
    let name = base(exe).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    matches!(
        name,
        "sh" | "bash"
            | "dash"
            | "ash"
            | "zsh"
            | "ksh"
            | "mksh"
            | "fish"
            | "csh"
            | "tcsh"
            | "busybox"
            | "pwsh"
            | "python"
            | "pypy"
            | "perl"
            | "ruby"
            | "php"
            | "php-cgi"
            | "node"
            | "nodejs"
            | "deno"
            | "bun"
            | "lua"
            | "luajit"
            | "tclsh"
            | "expect"
            | "awk"
            | "gawk"
            | "mawk"
            | "java"
    )
}

/// Programs whose children belong to different sessions or services.
pub(crate) fn starts_sessions(exe: &str) -> bool {
    matches!(
        base(exe),
        "init"
            | "systemd"
            | "runit"
            | "runsvdir"
            | "s6-svscan"
            | "supervisord"
            | "tini"
            | "dumb-init"
            | "sshd"
            | "sshd-session"
            | "dropbear"
            | "login"
            | "agetty"
            | "cron"
            | "crond"
            | "atd"
            | "inetd"
            | "xinetd"
            | "containerd-shim"
            | "containerd-shim-runc-v2"
            | "conmon"
            | "dockerd"
            | "tmux"
            | "screen"
            | "cordon-agent"
    )
}

fn base(exe: &str) -> &str {
    exe.rsplit('/').next().unwrap_or(exe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_paths_do_not_hide_an_interpreter() {
        for exe in [
            "/usr/bin/python3.11",
            "/bin/sh",
            "perl5.36",
            "php8.2",
            "bash",
        ] {
            assert!(is_interpreter(exe), "{exe}");
        }
        for exe in ["/usr/bin/curl", "/usr/sbin/nginx", "", "/"] {
            assert!(!is_interpreter(exe), "{exe}");
        }
    }
}
