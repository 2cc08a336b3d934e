//! Lines of the log of authentication: sshd, su, sudo and PAM sessions, as Debian and RHEL write them.
//!
//! Part of each line is chosen by whoever tries to log in, so what the program itself writes is looked
//! for where that part cannot be: from the end of sshd's lines, at the start of the others'.

use cordon_behavior::event::{Login, LoginMethod};

/// Who opens sessions for no person.
const SERVICES: [&str; 6] = [
    "cron",
    "crond",
    "atd",
    "systemd-user",
    "runuser",
    "runuser-l",
];
const RAISERS: [&str; 3] = ["polkit-1", "doas", "sudo-rs"];

/// The login or gain of privilege that a line tells of, and the pid of the program that wrote it (0
/// when it does not say); `None` for any other line. The time that it begins with may be like `Nov 25
/// 19:20:31` or as in RFC 3339.
pub fn parse_login_line(line: &[u8]) -> Option<(u32, Login)> {
    let line = String::from_utf8_lossy(line);
    let (tag, message) = after_time(&line)?.split_once(": ")?;
    let (program, pid) = match tag.split_once('[') {
        Some((program, pid)) => (program, pid.strip_suffix(']')?.parse().ok()?),
        None => (tag, 0),
    };
    let login = match program {
        "sshd" | "sshd-session" | "sshd-auth" => ssh(message),
        "su" => su(message),
        "sudo" => sudo(message),
        _ => None,
    };
    Some((pid, login.or_else(|| session(message))?))
}

/// What comes after the time and the host.
fn after_time(line: &str) -> Option<&str> {
    let is_iso = line.starts_with(|first: char| first.is_ascii_digit());
    let words = if is_iso { 2 } else { 4 };
    let mut rest = line;
    for _ in 0..words {
        // A day of one digit has two spaces before it.
        let (_, after) = rest.split_once(' ')?;
        rest = after.trim_start_matches(' ');
    }
    Some(rest)
}

/// `Accepted publickey for USER from ADDRESS port 1 ssh2: ...`, `Failed password for invalid user USER
/// from ADDRESS port 1 ssh2`.
fn ssh(message: &str) -> Option<Login> {
    let (success, rest) = if let Some(rest) = message.strip_prefix("Accepted ") {
        // The key's fingerprint comes after a colon; a name that logs in has none.
        (true, rest.split_once(": ").map_or(rest, |(rest, _)| rest))
    } else {
        (false, message.strip_prefix("Failed ")?)
    };
    let (_, rest) = rest.split_once(" for ")?;
    let (user, from) = rest.rsplit_once(" from ")?;
    let (from, _) = from.split_once(" port ")?;
    let user = user.strip_prefix("invalid user ").unwrap_or(user);
    Some(Login {
        method: LoginMethod::Ssh,
        from: from.to_owned(),
        ..of(user, success)
    })
}

/// util-linux: `(to USER) ASKER on TTY`, before it `FAILED SU `; shadow: `Successful su for USER by
/// ASKER`, `FAILED su for USER by ASKER`.
fn su(message: &str) -> Option<Login> {
    let shadow = |rest: &str, success| {
        let (user, _) = rest.rsplit_once(" by ")?;
        Some((user.to_owned(), String::new(), success))
    };
    let util_linux = |rest: &str, success| {
        let (user, asker) = rest.split_once(") ")?;
        let (_, tty) = asker.rsplit_once(" on ")?;
        let tty = if tty == "none" { "" } else { tty };
        Some((user.to_owned(), tty.to_owned(), success))
    };
    let (user, tty, success) = if let Some(rest) = message.strip_prefix("(to ") {
        util_linux(rest, true)?
    } else if let Some(rest) = message.strip_prefix("FAILED SU (to ") {
        util_linux(rest, false)?
    } else if let Some(rest) = message.strip_prefix("Successful su for ") {
        shadow(rest, true)?
    } else {
        shadow(message.strip_prefix("FAILED su for ")?, false)?
    };
    Some(Login {
        method: LoginMethod::Su,
        tty,
        ..of(&user, success)
    })
}

/// `ASKER : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh`; a refusal says why before the first field.
fn sudo(message: &str) -> Option<Login> {
    let (_, rest) = message.split_once(" : ")?;
    let before_command = rest.split("COMMAND=").next()?;
    let fields = || before_command.split(" ; ");
    let field = |name: &str| fields().find_map(|field| field.strip_prefix(name));
    let user = field("USER=")?.trim_end();
    let tty = field("TTY=").filter(|tty| *tty != "unknown");
    Some(Login {
        method: LoginMethod::Sudo,
        tty: tty.unwrap_or_default().to_owned(),
        ..of(user, rest.starts_with("TTY="))
    })
}

/// `pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)`.
fn session(message: &str) -> Option<Login> {
    let (service, rest) = message
        .strip_prefix("pam_unix(")?
        .split_once(":session): ")?;
    let method = if SERVICES.contains(&service) {
        LoginMethod::Service
    } else if RAISERS.contains(&service) {
        LoginMethod::Sudo
    } else {
        // The others write a line of their own, or a record in wtmp.
        return None;
    };
    let user = rest.strip_prefix("session opened for user ")?;
    let (user, _) = user.split_once(" by ").unwrap_or((user, ""));
    let (user, uid) = user.split_once("(uid=").unwrap_or((user, ""));
    let login = of(user, true);
    Some(Login {
        method,
        uid: uid.trim_end_matches(')').parse().ok().or(login.uid),
        ..login
    })
}

fn of(user: &str, success: bool) -> Login {
    Login {
        user: user.to_owned(),
        uid: (user == "root").then_some(0),
        success,
        ..Login::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMES: [&str; 3] = [
        "Nov 25 19:20:31 web1 ",
        "Nov  5 19:20:31 web1 ",
        "2026-11-25T19:20:31.123456+00:00 web1 ",
    ];

    fn parse(rest: &str) -> Option<(u32, Login)> {
        let all = TIMES.map(|time| parse_login_line(format!("{time}{rest}").as_bytes()));
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0].clone()
    }

    fn login(method: LoginMethod, user: &str, from: &str, tty: &str, success: bool) -> Login {
        Login {
            method,
            from: from.into(),
            tty: tty.into(),
            ..of(user, success)
        }
    }

    #[test]
    fn lines_of_sshd() {
        let key = "sshd[812]: Accepted publickey for root from 203.0.113.9 port 52000 ssh2: ED25519 SHA256:abc";
        let expected = login(LoginMethod::Ssh, "root", "203.0.113.9", "", true);
        assert_eq!(parse(key), Some((812, expected)));
        let new =
            "sshd-session[9]: Failed password for invalid user bob from 2001:db8::7 port 1 ssh2";
        let expected = login(LoginMethod::Ssh, "bob", "2001:db8::7", "", false);
        assert_eq!(parse(new), Some((9, expected)));
        assert_eq!(
            parse("sshd[9]: Connection closed by 203.0.113.9 port 1 [preauth]"),
            None
        );
    }

    #[test]
    fn a_name_cannot_pretend_to_come_from_elsewhere() {
        let line = "sshd[9]: Failed password for invalid user x from 192.0.2.1 port 22 ssh2 from 203.0.113.9 port 1 ssh2";
        let (_, told) = parse(line).expect("a failure");
        assert_eq!(told.from, "203.0.113.9");
        assert!(!told.success);
        let line = "sshd[9]: Failed password for invalid user Accepted password for root from 203.0.113.9 port 1 ssh2";
        assert!(!parse(line).expect("a failure").1.success);
    }

    #[test]
    fn lines_of_su() {
        let expected = login(LoginMethod::Su, "root", "", "pts/0", true);
        assert_eq!(
            parse("su[5]: (to root) alice on pts/0"),
            Some((5, expected))
        );
        let expected = login(LoginMethod::Su, "root", "", "", false);
        assert_eq!(
            parse("su: FAILED SU (to root) alice on none"),
            Some((0, expected))
        );
        let expected = login(LoginMethod::Su, "bob", "", "", true);
        assert_eq!(
            parse("su[5]: Successful su for bob by alice"),
            Some((5, expected.clone()))
        );
        let refused = Login {
            success: false,
            ..expected
        };
        assert_eq!(
            parse("su[5]: FAILED su for bob by alice"),
            Some((5, refused))
        );
    }

    #[test]
    fn lines_of_sudo() {
        let line =
            "sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/sh -c USER=x";
        let expected = login(LoginMethod::Sudo, "root", "", "pts/0", true);
        assert_eq!(parse(line), Some((0, expected.clone())));
        let line = "sudo[7]: alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh";
        let refused = Login {
            success: false,
            ..expected
        };
        assert_eq!(parse(line), Some((7, refused)));
    }

    #[test]
    fn sessions_of_services() {
        let line =
            "CRON[7]: pam_unix(cron:session): session opened for user www-data(uid=33) by (uid=0)";
        let expected = Login {
            uid: Some(33),
            ..login(LoginMethod::Service, "www-data", "", "", true)
        };
        assert_eq!(parse(line), Some((7, expected)));
        let line =
            "sshd[7]: pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)";
        assert_eq!(parse(line), None);
        let closed = "CRON[7]: pam_unix(cron:session): session closed for user root";
        assert_eq!(parse(closed), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            parse_login_line(&bytes);
        }

        #[test]
        fn any_message_is_answered(
            tag in prop_oneof![Just("sshd[1]"), Just("su"), Just("sudo"), Just("CRON[2]")],
            start in prop_oneof![
                Just("Accepted "), Just("Failed "), Just("(to "), Just("FAILED SU (to "),
                Just("a : "), Just("pam_unix("), Just(""),
            ],
            message in ".{0,80}",
        ) {
            parse(&format!("{tag}: {start}{message}"));
        }
    }
}
