//! Records of `wtmp` and `btmp`: `struct utmp` of utmp(5).

use std::net::{Ipv4Addr, Ipv6Addr};

use cordon_behavior::event::{Login, LoginMethod};

/// Bytes of a record: where a 64-bit machine keeps 32-bit times (x86-64 and most others), or not.
pub const UTMP_BYTES: usize = if WIDE { 400 } else { 384 };
const WIDE: bool = cfg!(any(target_arch = "aarch64", target_arch = "loongarch64"));

const USER_PROCESS: u16 = 7;
const LOGIN_PROCESS: u16 = 6;

const PID_AT: usize = 4;
const LINE: std::ops::Range<usize> = 8..40;
const USER: std::ops::Range<usize> = 44..76;
const HOST: std::ops::Range<usize> = 76..332;
const ADDRESS_AT: usize = if WIDE { 360 } else { 348 };

/// The login that a record tells of and the pid of its session; `None` for the end of a session, a
/// boot, and what is no record. `success`: by which file it is from.
pub fn decode_utmp(bytes: &[u8], success: bool) -> Option<(u32, Login)> {
    if bytes.len() != UTMP_BYTES {
        return None;
    }
    let kind = u16::from_ne_bytes([bytes[0], bytes[1]]);
    // A failed login is the record of the process that asked, or already of a user.
    if kind != USER_PROCESS && (success || kind != LOGIN_PROCESS) {
        return None;
    }
    let pid = bytes[PID_AT..PID_AT + 4]
        .try_into()
        .map_or(0, u32::from_ne_bytes);
    let line = text(&bytes[LINE]);
    let host = text(&bytes[HOST]);
    let login = Login {
        method: method(&line, &host),
        user: text(&bytes[USER]),
        uid: None,
        from: address(bytes).unwrap_or(host),
        tty: if line.starts_with("ssh") {
            String::new()
        } else {
            line
        },
        success,
    };
    Some((pid, login))
}

/// sshd writes `ssh:notty` for a failure, and a pseudo-terminal for a session from elsewhere.
fn method(line: &str, host: &str) -> LoginMethod {
    let is_pseudo = line.starts_with("pts/");
    if line.starts_with("ssh") || (is_pseudo && !host.is_empty() && !host.starts_with(':')) {
        LoginMethod::Ssh
    } else if line.starts_with("tty") || line == "console" {
        LoginMethod::Console
    } else {
        LoginMethod::Other
    }
}

/// IPv4 in the first word when the others are 0.
fn address(bytes: &[u8]) -> Option<String> {
    let address: [u8; 16] = bytes.get(ADDRESS_AT..ADDRESS_AT + 16)?.try_into().ok()?;
    let (first, rest) = address.split_at(4);
    if address == [0; 16] {
        return None;
    }
    if rest == [0; 12] {
        return Some(Ipv4Addr::new(first[0], first[1], first[2], first[3]).to_string());
    }
    let address = Ipv6Addr::from(address);
    let mapped = address.to_ipv4_mapped();
    Some(mapped.map_or_else(|| address.to_string(), |address| address.to_string()))
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u16, line: &str, user: &str, host: &str, address: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; UTMP_BYTES];
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        bytes[PID_AT] = 9;
        bytes[LINE.start..][..line.len()].copy_from_slice(line.as_bytes());
        bytes[USER.start..][..user.len()].copy_from_slice(user.as_bytes());
        bytes[HOST.start..][..host.len()].copy_from_slice(host.as_bytes());
        bytes[ADDRESS_AT..][..address.len()].copy_from_slice(address);
        bytes
    }

    #[test]
    fn a_session_from_elsewhere_is_ssh() {
        let bytes = record(
            USER_PROCESS,
            "pts/3",
            "alice",
            "gw.example",
            &[203, 0, 113, 9],
        );
        let (pid, login) = decode_utmp(&bytes, true).expect("a login");
        let expected = Login {
            method: LoginMethod::Ssh,
            user: "alice".into(),
            uid: None,
            from: "203.0.113.9".into(),
            tty: "pts/3".into(),
            success: true,
        };
        assert_eq!((pid, login), (9, expected));
    }

    #[test]
    fn a_failure_may_be_of_nobody_known() {
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let bytes = record(LOGIN_PROCESS, "ssh:notty", "", "2001:db8::7", &v6);
        let (_, login) = decode_utmp(&bytes, false).expect("a failure");
        assert_eq!(
            (login.from.as_str(), login.tty.as_str()),
            ("2001:db8::7", "")
        );
        assert!(!login.success && login.method == LoginMethod::Ssh);
        // In wtmp that is a terminal that waits.
        assert_eq!(decode_utmp(&bytes, true), None);
    }

    #[test]
    fn an_end_of_a_session_is_no_login() {
        assert_eq!(decode_utmp(&record(8, "pts/3", "", "", &[]), true), None);
        let console = record(USER_PROCESS, "tty1", "root", "", &[]);
        let (_, login) = decode_utmp(&console, true).expect("a login");
        assert_eq!(
            (login.method, login.from.as_str()),
            (LoginMethod::Console, "")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(
            bytes in proptest::collection::vec(any::<u8>(), 380..404),
            success: bool,
            kind in prop_oneof![Just(USER_PROCESS), Just(LOGIN_PROCESS), any::<u16>()],
        ) {
            let mut bytes = bytes;
            bytes[..2].copy_from_slice(&kind.to_ne_bytes());
            decode_utmp(&bytes, success);
        }
    }
}
