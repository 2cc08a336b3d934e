//! What the init of this system is about to do: whether the whole of it goes down. An agent that takes a code to be stopped stops without one then.
//!
//! In doubt the answer is no. That holds up no shutdown: what does not heed SIGTERM is ended by SIGKILL, which costs the
//! seconds of `TimeoutStopSec` and nothing else, because an isolation is a state of kernel and disk.
//!
//! systemd's own word for its state (`systemctl is-system-running`) is no answer: with older ones a unit that has not finished
//! starting keeps it at `starting`, through a shutdown too.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// There as soon as systemd is the first process: sd_booted(3).
const SYSTEMD: &str = "/run/systemd/system";
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];
/// systemd answers within milliseconds, and on a machine that is short of time within seconds. What is left of
/// `TimeoutStopSec` is enough to put away what there is.
const ASK_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What every halt, power-off, reboot and kexec goes through. Its job waits until every service has stopped.
const SHUTDOWN: &str = "shutdown.target";
/// What the first process becomes to end whatever is left, and at once where the reboot is forced.
const LAST_PROGRAM: &str = "systemd-shutdown";
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
        let jobs = ["list-jobs", "--no-legend", "--plain", "--full", SHUTDOWN];
        return is_systemd_past_answering()
            || systemd_says(&jobs).is_some_and(|jobs| has_shutdown(&jobs));
    }
    let utmp = crate::durable::read(Path::new(UTMP), MOST_UTMP_BYTES);
    let level = utmp.ok().flatten().and_then(|records| run_level(&records));
    matches!(level, Some('0' | '6'))
}

/// What `systemctl stop` does to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualStop {
    /// It is refused, or there is no systemd that could do it.
    Refused,
    /// It ends the agent, in the end by SIGKILL.
    Done,
    /// systemd did not say.
    Unknown,
}

/// Whether `systemctl stop` ends the agent.
pub fn manual_stop() -> ManualStop {
    if !is_systemd_first() {
        return ManualStop::Refused;
    }
    let asked = [
        "show",
        "--value",
        "--property=RefuseManualStop",
        "cordon-agent.service",
    ];
    match systemd_says(&asked).as_deref() {
        Some("yes") => ManualStop::Refused,
        Some("no") => ManualStop::Done,
        _ => ManualStop::Unknown,
    }
}

/// No unit is stopped any more then: every process is told to end, and those that do not are waited for.
fn is_systemd_past_answering() -> bool {
    let first = std::fs::read_link("/proc/1/exe").unwrap_or_default();
    first.file_name().is_some_and(|name| name == LAST_PROGRAM)
}

/// Whether a list of jobs has the one of a shutdown: number, unit, what is done to it, how that stands.
fn has_shutdown(jobs: &str) -> bool {
    jobs.lines().any(|job| {
        let mut words = job.split_whitespace().skip(1);
        words.next() == Some(SHUTDOWN) && words.next() == Some("start")
    })
}

/// What `systemctl` prints; nothing when it does not in time.
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
    fn a_shutdown_is_a_job_that_starts_it_and_no_other_is() {
        let down = "  212 shutdown.target start waiting\n";
        let others = "76 job.service start running\n201 reboot.target start waiting\n";
        assert!(has_shutdown(down));
        assert!(has_shutdown(&[others, down].concat()));
        for jobs in [
            "",
            "\n",
            others,
            "212 shutdown.target stop waiting",
            "212 my-shutdown.target start waiting",
            "212 x.service start shutdown.target",
            "shutdown.target start",
        ] {
            assert!(!has_shutdown(jobs), "{jobs:?}");
        }
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
