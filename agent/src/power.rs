//! What the init of this system is about to do: whether the whole of it goes down. An agent that takes a code to be stopped stops without one then.
//!
//! In doubt the answer is no. That holds up no shutdown: what does not heed SIGTERM is ended by SIGKILL, which costs the
//! seconds of `TimeoutStopSec` and nothing else, because an isolation is a state of kernel and disk.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// There as soon as systemd is the first process: sd_booted(3).
const SYSTEMD: &str = "/run/systemd/system";
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];
/// systemd answers within milliseconds, or is no help.
const ASK_LIMIT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const UTMP: &str = "/run/utmp";
const MOST_UTMP_BYTES: u64 = 1 << 20;
const UTMP_BYTES: usize = 384;
/// `RUN_LVL`, utmp(5).
const RUN_LEVEL: i16 = 1;

/// Whether systemd starts what this system runs.
pub fn is_systemd_first() -> bool {
    Path::new(SYSTEMD).exists()
}

/// Asks systemd, or looks at the run level where another init runs.
pub fn is_going_down() -> bool {
    if is_systemd_first() {
        return systemd_says(&["is-system-running"]) == Some("stopping".to_owned());
    }
    let utmp = crate::durable::read(Path::new(UTMP), MOST_UTMP_BYTES);
    let level = utmp.ok().flatten().and_then(|records| run_level(&records));
    matches!(level, Some('0' | '6'))
}

/// Whether `systemctl stop` ends the agent, where systemd runs it.
pub fn systemd_stops_without_asking() -> bool {
    let asked = [
        "show",
        "--value",
        "--property=RefuseManualStop",
        "cordon-agent.service",
    ];
    is_systemd_first() && systemd_says(&asked) == Some("no".to_owned())
}

/// `is-system-running` is `stopping` as soon as a shutdown is asked for.
fn systemd_says(question: &[&str]) -> Option<String> {
    let program = SYSTEMCTL.iter().find(|path| Path::new(path).exists())?;
    let mut asked = Command::new(program)
        .args(question)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = Instant::now() + ASK_LIMIT;
    while asked.try_wait().ok()?.is_none() {
        if Instant::now() >= until {
            tracing::warn!(?question, "systemctl does not answer");
            // Either is fine: it has ended meanwhile, or does now.
            drop(asked.kill());
            drop(asked.wait());
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let said = asked.wait_with_output().ok()?.stdout;
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}

/// The newest run level in records of utmp(5).
fn run_level(records: &[u8]) -> Option<char> {
    let (records, _) = records.as_chunks::<UTMP_BYTES>();
    let mut levels = records.iter().filter_map(|record| {
        let kind = i16::from_ne_bytes([record[0], record[1]]);
        // The pid of such a record: the level, and 256 times the one before.
        (kind == RUN_LEVEL).then_some(char::from(record[4]))
    });
    levels.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: i16, pid: u32) -> [u8; UTMP_BYTES] {
        let mut record = [0; UTMP_BYTES];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[4..8].copy_from_slice(&pid.to_le_bytes());
        record
    }

    #[test]
    fn the_newest_run_level_counts_and_nothing_else_is_one() {
        let multi_user = record(RUN_LEVEL, u32::from(b'3') + 256 * u32::from(b'N'));
        let power_off = record(RUN_LEVEL, u32::from(b'0') + 256 * u32::from(b'3'));
        let login = record(7, u32::from(b'6'));
        assert_eq!(run_level(&[]), None);
        assert_eq!(run_level(&login), None);
        assert_eq!(run_level(&[multi_user, login].concat()), Some('3'));
        assert_eq!(run_level(&[multi_user, power_off].concat()), Some('0'));
        assert_eq!(run_level(&power_off[..100]), None);
    }
}
