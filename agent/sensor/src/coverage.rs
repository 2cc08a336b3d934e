//! What is seen and what is not, said plainly.

use crate::Mode;

/// One class of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Which events.
    pub class: &'static str,
    /// Where they come from, or would come from.
    pub source: &'static str,
    /// Whether they are seen.
    pub covered: bool,
    /// What is missing: nothing of the class, or in part when it is covered.
    pub why: Option<String>,
    /// What would mend it.
    pub remedy: Option<&'static str>,
}

const GIVE_EBPF: &str = "run on Linux 5.17 or newer with BTF (CONFIG_DEBUG_INFO_BTF), as root or with CAP_BPF and CAP_PERFMON";
const NOT_BUILT: &str = "no setting here: this version of the agent has no hook for it";

/// Classes that no mode sees yet, with the hook that would.
const LATER: [(&str, &str); 9] = [
    ("accept", "inet_csk_accept"),
    ("udp", "cgroup/sendmsg4, cgroup/sendmsg6"),
    ("dns", "cgroup_skb"),
    ("file", "fanotify"),
    ("credential", "commit_creds"),
    ("ptrace", "sys_enter"),
    ("namespace", "sys_enter"),
    ("module", "module_load"),
    ("login", "journald, utmp"),
];

pub(crate) fn of(mode: Mode, why_not_ebpf: Option<&str>) -> Vec<Coverage> {
    let mut rows = if mode == Mode::Proc {
        by_proc(why_not_ebpf)
    } else {
        by_ebpf()
    };
    rows.extend(LATER.map(|(class, source)| Coverage {
        class,
        source,
        covered: false,
        why: Some("not built yet".to_owned()),
        remedy: Some(NOT_BUILT),
    }));
    rows
}

fn by_ebpf() -> Vec<Coverage> {
    [
        ("exec", "tp_btf/sched_process_exec"),
        ("fork", "tp_btf/sched_process_fork"),
        ("exit", "tp_btf/sched_process_exit"),
        ("connect", "tp_btf/inet_sock_set_state"),
        ("snapshot", "iter/task"),
    ]
    .map(|(class, source)| Coverage {
        class,
        source,
        covered: true,
        why: None,
        remedy: None,
    })
    .into()
}

fn by_proc(why_not_ebpf: Option<&str>) -> Vec<Coverage> {
    let source = crate::proc::source();
    let because = why_not_ebpf.map_or(String::new(), |why| format!(" (no eBPF: {why})"));
    let partly = |class| Coverage {
        class,
        source,
        covered: true,
        why: Some(format!(
            "processes that end before /proc is read are missed or lack arguments{because}"
        )),
        remedy: Some(GIVE_EBPF),
    };
    vec![
        partly("exec"),
        partly("fork"),
        partly("exit"),
        Coverage {
            class: "connect",
            source: "tp_btf/inet_sock_set_state",
            covered: false,
            why: Some(format!(
                "/proc does not tell who connects as it happens{because}"
            )),
            remedy: Some(GIVE_EBPF),
        },
        Coverage {
            class: "snapshot",
            source: "/proc",
            covered: true,
            why: None,
            remedy: None,
        },
    ]
}
