//! Attaching what watches sockets from the cgroup2 root, and saying what that sees.
//!
//! The links go with this value: nothing stays attached when the agent ends, however it ends, and
//! several agents attach side by side.

use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_rs::{ErrorKind, Link, OpenProgramMut, ProgramMut};

use super::guard;
use super::skel::{SensorProgs, SensorSkel};
use crate::{Coverage, SensorError, cgroup_root};

const MOUNT_CGROUP2: &str = "run as root where cgroup2 is mounted or can be, without another's exclusive program on its root";

const OTHER_KERNEL: &str =
    "run on another kernel, and tell Cordon's makers of this one (`uname -r`)";

const GIVE_NET_ADMIN: &str = "run as root, or give CAP_NET_ADMIN";

/// Why a hook is not attached, and what would mend it.
#[derive(Clone)]
pub(super) struct Refusal {
    pub why: String,
    remedy: &'static str,
}

/// How packet sockets are seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PacketSockets {
    /// As they are made.
    Told,
    /// Now and then.
    LookedFor,
    Unseen,
}

/// Beside those of cgroups.
const OPTIONAL: [&str; 2] = ["iter/task_file", "tp_btf/cap_capable"];

/// What is attached for sockets, and what it sees.
pub(super) struct Network {
    /// Each with its hook.
    links: Vec<(Link, &'static str)>,
    /// Of the cgroup2 tree; `None` where nothing is attached.
    root: Option<OwnedFd>,
    pub coverage: Vec<Coverage>,
    /// No tracepoint tells of packet sockets: they have to be looked for, and can be.
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

/// Why the kernel did not take the programs that [`leave_out`] leaves out.
pub(super) fn refused(error: &SensorError) -> Refusal {
    let (why, remedy) = match error {
        SensorError::Ebpf { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            (source.to_string(), GIVE_NET_ADMIN)
        }
        SensorError::Ebpf { source, .. } => (source.to_string(), OTHER_KERNEL),
        other => (other.to_string(), OTHER_KERNEL),
    };
    Refusal {
        why: format!("this kernel refuses a program of sockets: {why}"),
        remedy,
    }
}

/// Attaches as much as this host allows. `refused`: why the kernel did not take the programs.
pub(super) fn attach(skel: &SensorSkel<'_>, refused: Option<Refusal>) -> Network {
    let progs = &skel.progs;
    let root = match refused {
        Some(refusal) => Err(refusal),
        None => cgroup_root::open()
            .map_err(|error| not_attached(format!("cannot open cgroup2: {error}"))),
    };
    let mut links = Vec::new();
    let mut all = |hooks: &[&'static str]| -> Result<(), Refusal> {
        let root = root.as_ref().map_err(Clone::clone)?;
        for hook in hooks {
            links.push((attach_one(program_of(progs, hook), hook, root)?, *hook));
        }
        Ok(())
    };
    let binds = all(&["cgroup/post_bind4", "cgroup/post_bind6"]);
    let sends = all(&["cgroup/sendmsg4", "cgroup/sendmsg6"]);
    let packets = all(&["cgroup_skb/egress", "cgroup_skb/ingress"]);
    let connects = all(&["cgroup/connect4", "cgroup/connect6"]);
    let sockets = all(&["cgroup/sock_create"]);
    let packet_sockets = match (&skel.links.on_capable, &skel.links.on_packet_socket) {
        (Some(_), _) => PacketSockets::Told,
        (None, Some(_)) => PacketSockets::LookedFor,
        (None, None) => PacketSockets::Unseen,
    };
    let connected = connects.and(packets.clone());
    let coverage = vec![
        Coverage::full("accept", TCP),
        Coverage::full("close", TCP),
        listen_row(binds),
        udp_row(sends, connected),
        dns_row(packets),
        raw_row(sockets, packet_sockets),
    ];
    Network {
        links,
        root: root.ok(),
        coverage,
        looks_for_packets: packet_sockets == PacketSockets::LookedFor,
    }
}

impl Network {
    /// Hangs up again what somebody has taken off. Answers the hooks, and whether it could be done.
    pub(super) fn mend(&mut self, skel: &SensorSkel<'_>) -> Vec<(&'static str, bool)> {
        let Some(root) = &self.root else {
            return Vec::new();
        };
        let mut mended = Vec::new();
        for (link, hook) in &mut self.links {
            if !guard::is_detached(link) {
                continue;
            }
            let again = attach_one(program_of(&skel.progs, hook), hook, root);
            mended.push((*hook, again.is_ok()));
            if let Ok(again) = again {
                *link = again;
            }
        }
        mended
    }
}

fn program_of<'a, 'o>(progs: &'a SensorProgs<'o>, hook: &str) -> &'a ProgramMut<'o> {
    match hook {
        "cgroup/post_bind4" => &progs.on_bind4,
        "cgroup/post_bind6" => &progs.on_bind6,
        "cgroup/sendmsg4" => &progs.on_send4,
        "cgroup/sendmsg6" => &progs.on_send6,
        "cgroup_skb/egress" => &progs.on_egress,
        "cgroup_skb/ingress" => &progs.on_ingress,
        "cgroup/connect4" => &progs.on_connect4,
        "cgroup/connect6" => &progs.on_connect6,
        _ => &progs.on_socket,
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

fn raw_row(sockets: Result<(), Refusal>, packets: PacketSockets) -> Coverage {
    let (source, why, remedy) = match packets {
        PacketSockets::Told => (
            "cgroup/sock_create, tp_btf/cap_capable",
            "packet sockets made by io_uring or by 32-bit programs are missed",
            None,
        ),
        PacketSockets::LookedFor => (
            "cgroup/sock_create, iter/task_file",
            "packet sockets are looked for every 2 s and those that live shorter missed",
            Some("run on Linux 6.14 or newer"),
        ),
        PacketSockets::Unseen => (
            "cgroup/sock_create, iter/task_file",
            "packet sockets are not told",
            Some(OTHER_KERNEL),
        ),
    };
    match sockets {
        Ok(()) => Coverage::part("raw_socket", source, why, remedy),
        Err(Refusal { why, remedy }) if packets == PacketSockets::Unseen => {
            Coverage::missing("raw_socket", source, why, Some(remedy))
        }
        Err(refusal) => {
            let why = format!("raw sockets are not told: {}; {why}", refusal.why);
            Coverage::part("raw_socket", source, why, Some(refusal.remedy))
        }
    }
}
