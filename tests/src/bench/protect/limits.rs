//! How the running agent is limited, as the kernel and systemd have it: rights of its threads, where it may write, who may read
//! what is its own.

use anyhow::{Context as _, Result, ensure};

use super::LIMIT;
use crate::bench::emulated::machine::Machine;
use crate::bench::report::{Goal, Report};

/// The capabilities that docs/agent.md names, by their numbers: `DAC_OVERRIDE`, `DAC_READ_SEARCH`, `FOWNER`, `KILL`,
/// `NET_ADMIN`, `SYS_PTRACE`, `SYS_ADMIN`, `PERFMON`, `BPF`.
const CAPABILITIES: [u32; 9] = [1, 2, 3, 5, 12, 19, 21, 38, 39];
/// Below it systemd calls a service's exposure medium or worse at 5, of 10; this one can do no better by much.
const EXPOSURE: f64 = 4.0;

const THREADS: &str = "pid=$(systemctl show --value --property=MainPID cordon-agent.service)\n\
                       grep -hE '^(Cap[A-Z][a-z]+|NoNewPrivs|Seccomp):' /proc/$pid/task/*/status\n";
const ANALYZE: &str = "systemd-analyze security --no-pager cordon-agent.service | tail -n 1";
const VERIFY: &str = "systemd-analyze verify cordon-agent.service cordon-agent-restore.service \
                      cordon-agent-quarantine.socket 2>&1 || true";
/// Prints those of the places that may be written to as the agent sees them. Looks only: a write would be told as tampering.
const WRITABLE: &str = "pid=$(systemctl show --value --property=MainPID cordon-agent.service)\n\
                        nsenter --target $pid --mount sh -c '\
                        for place in PLACES; do if [ -w $place ]; then echo $place; fi; done'\n";
const OWN_PLACES: [&str; 3] = ["/var/lib/cordon", "/run/cordon", "/sys/fs/bpf/cordon"];
const OTHER_PLACES: [&str; 12] = [
    "/",
    "/boot",
    "/etc",
    "/etc/cordon",
    "/home",
    "/opt",
    "/proc/sys/kernel",
    "/root",
    "/sys/fs/bpf",
    "/sys/kernel",
    "/usr/sbin",
    "/var/log",
];
/// Prints the agent's files that a user without rights may read, write to or enter, and a file of the host's that he may read.
const OTHERS: &str = "find /var/lib/cordon /run/cordon >/run/cordon-files\n\
                      echo /etc/hostname >>/run/cordon-files\n\
                      setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '\
                      while read -r file; do \
                      if [ -r \"$file\" ] || [ -w \"$file\" ] || [ -x \"$file\" ]; then echo \"$file\"; fi; \
                      done' </run/cordon-files\n";

/// Adds a row for each limit.
pub fn add(machine: &mut Machine, report: &mut Report) -> Result<()> {
    let threads = threads(&machine.run(THREADS, LIMIT)?)?;
    let limited = threads.iter().filter(|thread| thread.is_limited()).count();
    let count = threads.len() as f64;
    report.add("threads", "", Goal::AtLeast(1.0), Ok(count));
    let all = Goal::Exactly(count);
    report.add("threads_limited", "", all, Ok(limited as f64));

    let exposure = exposure(&machine.run(ANALYZE, LIMIT)?);
    report.add("exposure", "of 10", Goal::Below(EXPOSURE), exposure);
    let complaints = machine.run(VERIFY, LIMIT)?;
    let complaints = complaints.lines().count() as f64;
    let none = Goal::Exactly(0.0);
    report.add("unit_complaints", "lines", none, Ok(complaints));

    let mut writable = |places: &[&str]| -> Result<f64> {
        let script = WRITABLE.replace("PLACES", &places.join(" "));
        Ok(machine.run(&script, LIMIT)?.lines().count() as f64)
    };
    let own = writable(&OWN_PLACES);
    let all = Goal::Exactly(OWN_PLACES.len() as f64);
    report.add("writes_to_own_places", "places", all, own);
    let others = writable(&OTHER_PLACES);
    report.add("writes_to_other_places", "places", none, others);

    let open = machine.run(OTHERS, LIMIT)?;
    let open: Vec<&str> = open.lines().collect();
    ensure!(
        open.contains(&"/etc/hostname"),
        "a user without rights can read nothing: {open:?}"
    );
    let open = (open.len() - 1) as f64;
    report.add("own_files_open_to_others", "files", none, Ok(open));
    Ok(())
}

/// What the kernel says of one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Thread {
    /// Permitted, effective, and the most that could be had.
    bounded: [u64; 3],
    /// What programs that it runs would be given.
    passed_on: [u64; 2],
    gains_rights: bool,
    is_filtered: bool,
}

impl Thread {
    fn is_limited(&self) -> bool {
        let needed = CAPABILITIES.iter().fold(0, |all, one| all | 1_u64 << one);
        self.bounded == [needed; 3]
            && self.passed_on == [0; 2]
            && !self.gains_rights
            && self.is_filtered
    }
}

/// Lines of `/proc/PID/task/*/status`. Each thread's begin with what it inherits.
fn threads(statuses: &str) -> Result<Vec<Thread>> {
    let mut threads: Vec<Thread> = Vec::new();
    for line in statuses.lines() {
        let (field, value) = line.split_once(':').context("no field")?;
        let value = value.trim();
        let set = || u64::from_str_radix(value, 16).with_context(|| format!("no set: {line}"));
        if field == "CapInh" {
            threads.push(Thread::default());
        }
        let thread = threads.last_mut().context("no thread's begin")?;
        match field {
            "CapInh" => thread.passed_on[0] = set()?,
            "CapPrm" => thread.bounded[0] = set()?,
            "CapEff" => thread.bounded[1] = set()?,
            "CapBnd" => thread.bounded[2] = set()?,
            "CapAmb" => thread.passed_on[1] = set()?,
            "NoNewPrivs" => thread.gains_rights = value != "1",
            "Seccomp" => thread.is_filtered = value == "2",
            _ => {}
        }
    }
    Ok(threads)
}

/// The number in the last line of `systemd-analyze security`.
fn exposure(line: &str) -> Result<f64> {
    let number = line.rsplit_once("service: ").map(|(_, rest)| rest);
    let number = number.and_then(|rest| rest.split_whitespace().next());
    let number = number.and_then(|number| number.parse().ok());
    number.with_context(|| format!("systemd-analyze said {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel prints it.
    const LIMITED: &str = "CapInh:\t0000000000000000\nCapPrm:\t000000c00028102e\nCapEff:\t000000c00028102e\n\
                           CapBnd:\t000000c00028102e\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn a_thread_with_one_right_too_many_is_not_limited() {
        let limited = |text: &str| -> Vec<bool> {
            let threads = threads(text).unwrap();
            threads.iter().map(Thread::is_limited).collect()
        };
        assert_eq!(limited(LIMITED), [true]);
        for (have, instead) in [
            ("CapBnd:\t000000c00028102e", "CapBnd:\t000001ffffffffff"),
            ("CapEff:\t000000c00028102e", "CapEff:\t000000c00028002e"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Seccomp:\t2", "Seccomp:\t0"),
        ] {
            let other = LIMITED.replace(have, instead);
            assert_eq!(limited(&[&other, LIMITED].concat()), [false, true]);
        }
        assert!(threads("Seccomp:\t2\n").is_err());
    }

    #[test]
    fn the_exposure_is_the_number_after_the_unit() {
        let said = "\u{2192} Overall exposure level for cordon-agent.service: 3.6 OK :-)\n";
        assert!((exposure(said).unwrap() - 3.6).abs() < 1e-9);
        assert!(exposure("Failed to load unit").is_err());
    }
}
