//! What is seen and what is not, said plainly.

use std::borrow::Cow;

use cordon_behavior::event::{Event, EventBody};

use crate::Mode;

/// Every class of events there is: what [`cordon_behavior::event::Event::class`] answers, and `snapshot`, the
/// processes and sockets that were there before the sensor.
pub const CLASSES: [&str; 22] = [
    "exec",
    "fork",
    "exit",
    "snapshot",
    "credential",
    "namespace",
    "ptrace",
    "executable_memory",
    "module",
    "bpf",
    "mount",
    "cgroup",
    "connect",
    "accept",
    "close",
    "listen",
    "udp",
    "dns",
    "raw_socket",
    "file",
    "file_rates",
    "login",
];

/// The row of [`CLASSES`] that an event is counted in; `None` for notices.
pub(crate) fn row_of(event: &Event) -> Option<usize> {
    let class = match &event.body {
        EventBody::Exec(exec) if exec.snapshot => "snapshot",
        _ => event.class(),
    };
    CLASSES.iter().position(|known| *known == class)
}

/// One class of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Which events; one of [`CLASSES`].
    pub class: &'static str,
    /// Where they come from, or would come from.
    pub source: Cow<'static, str>,
    /// Whether they are seen.
    pub covered: bool,
    /// What is missing: nothing of the class, or in part when it is covered.
    pub why: Option<String>,
    /// What would mend it.
    pub remedy: Option<Cow<'static, str>>,
}

impl Coverage {
    /// A class that is seen in full.
    pub(crate) fn full(class: &'static str, source: &'static str) -> Self {
        Self {
            class,
            source: source.into(),
            covered: true,
            why: None,
            remedy: None,
        }
    }

    /// A class that is seen, but not all of it.
    pub(crate) fn part(
        class: &'static str,
        source: &'static str,
        why: impl Into<String>,
        remedy: Option<&'static str>,
    ) -> Self {
        Self {
            why: Some(why.into()),
            remedy: remedy.map(Cow::from),
            ..Self::full(class, source)
        }
    }

    /// A class that is not seen.
    pub(crate) fn missing(
        class: &'static str,
        source: &'static str,
        why: impl Into<String>,
        remedy: Option<&'static str>,
    ) -> Self {
        Self {
            covered: false,
            ..Self::part(class, source, why, remedy)
        }
    }

    /// The same where the kernel lacks hooks or refuses what would be attached to them: `source` names those
    /// that the class needs, with commas between them. With none of them the class is not seen, without some
    /// only in part.
    fn without(self, left_out: &[String]) -> Self {
        let needed = self.source.split(", ");
        let (lacking, present): (Vec<&str>, Vec<&str>) =
            needed.partition(|hook| left_out.iter().any(|out| out == hook));
        if lacking.is_empty() {
            return self;
        }
        let why = format!(
            "this kernel has no hook, or refuses the program, of {}",
            lacking.join(", ")
        );
        Self {
            covered: !present.is_empty(),
            why: Some(why),
            remedy: Some("run on a Linux that has it: the newest long-term one does".into()),
            ..self
        }
    }

    /// The same where the source's thread could not be started.
    pub(crate) fn without_thread(self, error: &std::io::Error) -> Self {
        Self {
            covered: false,
            why: Some(format!("cannot start its thread: {error}")),
            remedy: Some("let the agent have more threads (TasksMax of its service)".into()),
            ..self
        }
    }

    fn rank(&self) -> u8 {
        match (self.covered, &self.why) {
            (true, None) => 2,
            (true, Some(_)) => 1,
            (false, _) => 0,
        }
    }
}

/// Takes up what a source says; where two sources see the same class the fuller one is told.
pub(crate) fn merge(rows: &mut [Coverage], said: Vec<Coverage>) {
    for row in said {
        match rows.iter_mut().find(|known| known.class == row.class) {
            Some(known) if known.rank() <= row.rank() => *known = row,
            Some(_) => {}
            None => debug_assert!(false, "{} is not in CLASSES", row.class),
        }
    }
}

pub(crate) const GIVE_EBPF: &str = "run on Linux 5.17 or newer with BTF (CONFIG_DEBUG_INFO_BTF), as root or with CAP_BPF and CAP_PERFMON";
const NOT_BUILT: &str = "no setting here: this version of the agent has no hook for it";

/// What the main source sees, with a row for every class. `left_out` are the sections of eBPF programs
/// that this kernel has no hook for.
pub(crate) fn of(mode: Mode, why_not_ebpf: Option<&str>, left_out: &[String]) -> Vec<Coverage> {
    let mut rows: Vec<Coverage> = CLASSES
        .map(|class| Coverage::missing(class, "none", "not built yet", Some(NOT_BUILT)))
        .into();
    let main = if mode == Mode::Proc {
        by_proc(why_not_ebpf)
    } else {
        let rows = by_ebpf().into_iter();
        rows.map(|row| row.without(left_out)).collect()
    };
    merge(&mut rows, main);
    rows
}

fn by_ebpf() -> Vec<Coverage> {
    vec![
        Coverage::full("exec", "tp_btf/sched_process_exec"),
        Coverage::full("fork", "tp_btf/sched_process_fork"),
        Coverage::full("exit", "tp_btf/sched_process_exit"),
        Coverage::full("connect", "tp_btf/inet_sock_set_state"),
        Coverage::full("cgroup", "tp_btf/cgroup_mkdir, tp_btf/cgroup_rmdir"),
        Coverage::full("snapshot", "iter/task, iter/task_file"),
        Coverage::full("module", "tp_btf/module_load"),
        Coverage::part(
            "ptrace",
            "tp_btf/signal_generate",
            "told at the first stop of the traced process; a tracer that ignores SIGCHLD is missed",
            None,
        ),
    ]
}

fn by_proc(why_not_ebpf: Option<&str>) -> Vec<Coverage> {
    let source = crate::proc::source();
    let because = why_not_ebpf.map_or(String::new(), |why| format!(" (no eBPF: {why})"));
    let partly = |class| {
        let why = format!(
            "processes that end before /proc is read are missed or lack arguments{because}"
        );
        Coverage::part(class, source, why, Some(GIVE_EBPF))
    };
    let missing = |class| {
        let why = format!("/proc does not tell it as it happens{because}");
        Coverage::missing(class, "eBPF", why, Some(GIVE_EBPF))
    };
    vec![
        partly("exec"),
        partly("fork"),
        partly("exit"),
        Coverage::missing(
            "cgroup",
            "tp_btf/cgroup_mkdir, tp_btf/cgroup_rmdir",
            format!("/proc does not tell of cgroups that are made or removed{because}"),
            Some(GIVE_EBPF),
        ),
        missing("accept"),
        missing("close"),
        missing("udp"),
        missing("dns"),
        missing("raw_socket"),
        Coverage::full("snapshot", "/proc"),
        Coverage::missing(
            "module",
            "tp_btf/module_load",
            format!("/proc does not tell who loads a module{because}"),
            Some(GIVE_EBPF),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_whose_hook_the_kernel_lacks_says_so() {
        let row = || Coverage::full("cgroup", "tp_btf/cgroup_mkdir, tp_btf/cgroup_rmdir");
        let out = |sections: &[&str]| {
            sections
                .iter()
                .map(|it| (*it).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(row().without(&out(&["tp_btf/other"])), row());
        let part = row().without(&out(&["tp_btf/cgroup_rmdir"]));
        assert!(
            part.covered
                && part
                    .why
                    .is_some_and(|why| why.ends_with("tp_btf/cgroup_rmdir"))
        );
        let none = row().without(&out(&["tp_btf/cgroup_mkdir", "tp_btf/cgroup_rmdir"]));
        assert!(!none.covered && none.remedy.is_some());
    }
}
