//! Attaching what watches sockets from the cgroup2 root, and saying what that sees.
//!
//! The links go with this value: nothing stays attached when the agent ends, however it ends, and
//! several agents attach side by side.

use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_rs::{Link, OpenProgramMut, ProgramMut};

use super::skel::SensorSkel;
use crate::{Coverage, cgroup_root};

const MOUNT_CGROUP2: &str = "run as root where cgroup2 is mounted or can be, without another's exclusive program on its root";

const OTHER_KERNEL: &str =
    "run on another kernel, and tell Cordon's makers of this one (`uname -r`)";

/// Why a hook is not attached, and what would mend it.
#[derive(Clone)]
struct Refusal {
    why: String,
    remedy: &'static str,
}

/// Beside those of cgroups.
const OPTIONAL: [&str; 2] = ["iter/task_file", "tp_btf/cap_capable"];

/// What is attached for sockets, and what it sees.
pub(super) struct Network {
    _links: Vec<Link>,
    pub coverage: Vec<Coverage>,
    /// No tracepoint tells of packet sockets: they have to be looked for.
    pub looks_for_packets: bool,
}

/// Leaves out the programs that the sensor can do without, and answers their sections.
pub(super) fn leave_out<'a>(programs: impl IntoIterator<Item = OpenProgramMut<'a>>) -> Vec<String> {
    let mut left_out = Vec::new();
    for mut program in programs {
        let section = program.section().to_string_lossy().into_owned();
        let is_optional = section.starts_with("cgroup") || OPTIONAL.contains(&section.as_str());
        if is_optional {
            program.set_autoload(false);
            left_out.push(section);
        }
    }
    left_out
}

/// Attaches as much as this host allows. `refused`: why the kernel did not take the programs.
pub(super) fn attach(skel: &SensorSkel<'_>, refused: Option<String>) -> Network {
    let progs = &skel.progs;
    let root = match refused {
        Some(why) => Err(Refusal {
            why,
            remedy: OTHER_KERNEL,
        }),
        None => cgroup_root::open()
            .map_err(|error| not_attached(format!("cannot open cgroup2: {error}"))),
    };
    let mut links = Vec::new();
    let mut all = |programs: &[(&ProgramMut<'_>, &str)]| -> Result<(), Refusal> {
        let root = root.as_ref().map_err(Clone::clone)?;
        for (program, hook) in programs {
            links.push(attach_one(program, hook, root)?);
        }
        Ok(())
    };
    let binds = all(&[
        (&progs.on_bind4, "cgroup/post_bind4"),
        (&progs.on_bind6, "cgroup/post_bind6"),
    ]);
    let sends = all(&[
        (&progs.on_send4, "cgroup/sendmsg4"),
        (&progs.on_send6, "cgroup/sendmsg6"),
    ]);
    let packets = all(&[
        (&progs.on_egress, "cgroup_skb/egress"),
        (&progs.on_ingress, "cgroup_skb/ingress"),
    ]);
    let connects = all(&[
        (&progs.on_connect4, "cgroup/connect4"),
        (&progs.on_connect6, "cgroup/connect6"),
    ]);
    let sockets = all(&[(&progs.on_socket, "cgroup/sock_create")]);
    let looks_for_packets = skel.links.on_capable.is_none();
    let connected = connects.and(packets.clone());
    let coverage = vec![
        Coverage::full("accept", TCP),
        Coverage::full("close", TCP),
        listen_row(binds),
        udp_row(sends, connected),
        dns_row(packets),
        raw_row(sockets, looks_for_packets),
    ];
    Network {
        _links: links,
        coverage,
        looks_for_packets,
    }
}

const TCP: &str = "tp_btf/inet_sock_set_state";
const UDP: &str = "cgroup/sendmsg4 and 6, connect4 and 6, cgroup_skb/egress";
const DNS: &str = "cgroup_skb/egress and ingress";

fn attach_one(program: &ProgramMut<'_>, hook: &str, root: &OwnedFd) -> Result<Link, Refusal> {
    let link = program.attach_cgroup(root.as_raw_fd());
    let why = |error| format!("cannot attach {hook} to the cgroup2 root: {error:#}");
    link.map_err(|error| not_attached(why(error)))
}

fn not_attached(why: String) -> Refusal {
    Refusal {
        why,
        remedy: MOUNT_CGROUP2,
    }
}

fn listen_row(binds: Result<(), Refusal>) -> Coverage {
    let source = "tp_btf/inet_sock_set_state, cgroup/post_bind4 and 6";
    match binds {
        Ok(()) => Coverage::full("listen", source),
        Err(Refusal { why, remedy }) => {
            let why = format!("bound UDP sockets are not told: {why}");
            Coverage::part("listen", source, why, Some(remedy))
        }
    }
}

fn udp_row(sends: Result<(), Refusal>, connected: Result<(), Refusal>) -> Coverage {
    let part = |what, Refusal { why, remedy }| {
        let why = format!("peers of {what} sockets are not told: {why}");
        Coverage::part("udp", UDP, why, Some(remedy))
    };
    match (sends, connected) {
        (Ok(()), Ok(())) => Coverage::full("udp", UDP),
        (Ok(()), Err(why)) => part("connected", why),
        (Err(why), Ok(())) => part("unconnected", why),
        (Err(both), Err(_)) => Coverage::missing("udp", UDP, both.why, Some(both.remedy)),
    }
}

fn dns_row(packets: Result<(), Refusal>) -> Coverage {
    match packets {
        Ok(()) => Coverage::part(
            "dns",
            DNS,
            "DNS over TCP, TLS, HTTPS or QUIC is not read, nor answers past their first 512 bytes",
            Some("let programs ask a resolver of this host by UDP"),
        ),
        Err(Refusal { why, remedy }) => Coverage::missing("dns", DNS, why, Some(remedy)),
    }
}

fn raw_row(sockets: Result<(), Refusal>, looks_for_packets: bool) -> Coverage {
    let (source, mut why) = if looks_for_packets {
        let why = "packet sockets are looked for every 2 s and those that live shorter missed";
        ("cgroup/sock_create, iter/task_file", why.to_owned())
    } else {
        let why = "packet sockets made by io_uring or by 32-bit programs are missed";
        ("cgroup/sock_create, tp_btf/cap_capable", why.to_owned())
    };
    let mut remedy = looks_for_packets.then_some("run on Linux 6.14 or newer");
    if let Err(refusal) = sockets {
        why = format!("raw sockets are not told: {}; {why}", refusal.why);
        remedy = Some(refusal.remedy);
    }
    Coverage::part("raw_socket", source, why, remedy)
}
