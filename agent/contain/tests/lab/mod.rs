//! Three hosts on this machine, joined by veth: real packets, real nftables, nothing left behind.
//!
//! A network namespace is held by one thread of the test process and by nothing else, so it is gone
//! with the process, however that ends. The machine's own rules and devices are never touched.
//!
//! ```text
//!   guest ---veth--- host ---veth--- peer
//!   10.78.0.2        the isolated    10.77.0.10 controller, .200 outside, .50 on the allow list
//! ```
#![allow(dead_code, reason = "each test file uses its own part of the lab")]
#![allow(
    clippy::unwrap_used,
    reason = "test support: a failure here is a failed test"
)]

pub mod tables;
pub mod wire;
pub mod xdp;

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use cordon_contain::{Containment, IsolationSpec};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::id::IsolationId;
use cordon_proto::policy::{AllowRule, Transport};
use nix::sched::{CloneFlags, unshare};

pub const CONTROLLER4: &str = "10.77.0.10";
pub const CONTROLLER6: &str = "fd77::10";
pub const ALLOWED4: &str = "10.77.0.50";
pub const ALLOWED6: &str = "fd77::50";
pub const OUTSIDE4: &str = "10.77.0.200";
pub const OUTSIDE6: &str = "fd77::200";
pub const HOST4: &str = "10.77.0.11";
pub const HOST6: &str = "fd77::11";
pub const GUEST4: &str = "10.78.0.2";
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
/// Controller's port; every port of [`SERVED`] answers on every address of the peer.
pub const PORT: u16 = 7443;
pub const ALLOWED_PORT: u16 = 2222;
pub const SERVED: [u16; 6] = [22, 53, 443, ALLOWED_PORT, 4444, PORT];
pub const HOST_PORT: u16 = 8022;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace and the thread that lives in it.
pub struct Node {
    jobs: mpsc::Sender<Job>,
    pub thread_id: i32,
}

impl Node {
    pub fn new() -> Self {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root is needed: run the tests as root");
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            for job in todo {
                job();
            }
        });
        let thread_id = told
            .recv()
            .expect("no network namespace: run the tests as root");
        Self { jobs, thread_id }
    }

    /// Runs `job` inside the namespace; processes and threads that it starts are inside too.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = move || drop(tell.send(job()));
        self.jobs.send(Box::new(job)).unwrap();
        told.recv().expect("the job inside the namespace panicked")
    }

    pub fn sh(&self, script: &str) -> String {
        let script = script.to_owned();
        self.run(move || {
            let out = Command::new("sh").args(["-ec", &script]).output().unwrap();
            assert!(
                out.status.success(),
                "{script}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
            String::from_utf8(out.stdout).unwrap()
        })
    }
}

pub struct Lab {
    pub host: Node,
    pub peer: Node,
    pub guest: Node,
    pub state: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let (host, peer, guest) = (Node::new(), Node::new(), Node::new());
        let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        host.sh(&format!(
            "ip link set lo up
             ip link add up0 address {} type veth peer name up1 address {}
             ip link set up1 netns {}
             ip link add down0 type veth peer name down1
             ip link set down1 netns {}
             ip link set up0 up; ip link set down0 up
             ip address add {HOST4}/24 dev up0; ip address add {HOST6}/64 dev up0 nodad
             ip address add 10.78.0.1/24 dev down0
             ip route add default via {OUTSIDE4}
             sysctl -qw net.ipv4.ip_forward=1",
            mac(HOST_MAC),
            mac(PEER_MAC),
            peer.thread_id,
            guest.thread_id,
        ));
        peer.sh("ip link set lo up; ip link set up1 up; ip route add 10.78.0.0/24 via 10.77.0.11 dev up1 onlink");
        for v4 in [CONTROLLER4, ALLOWED4, OUTSIDE4] {
            peer.sh(&format!("ip address add {v4}/24 dev up1"));
        }
        peer.sh("ip route replace 10.78.0.0/24 via 10.77.0.11");
        for v6 in [CONTROLLER6, ALLOWED6, OUTSIDE6] {
            peer.sh(&format!("ip address add {v6}/64 dev up1 nodad"));
        }
        guest.sh(&format!(
            "ip link set lo up; ip link set down1 up
             ip address add {GUEST4}/24 dev down1; ip route add default via 10.78.0.1"
        ));
        peer.run(|| SERVED.into_iter().for_each(wire::serve));
        host.run(|| wire::serve(HOST_PORT));
        host.run(|| wire::serve(PORT));
        let state = tempfile::tempdir().unwrap();
        let lab = Self {
            host,
            peer,
            guest,
            state,
        };
        lab.wait_for_links();
        lab
    }

    /// Link-local addresses are tentative for a second or so after the link is up.
    fn wait_for_links(&self) {
        for node in [&self.host, &self.peer] {
            let ready = "for i in $(seq 100); do ip -6 address show scope link tentative | grep -q inet6 || exit 0; sleep 0.05; done; exit 1";
            node.sh(ready);
        }
    }

    /// Runs `job` on the host with its containment.
    pub fn contain<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Containment) -> T + Send + 'static,
    ) -> T {
        let state = self.state.path().to_owned();
        self.host
            .run(move || job(&Containment::open(&state, AGENT_SOCKET_MARK).unwrap()))
    }

    pub fn isolate(&self) -> IsolationSpec {
        let spec = spec();
        let wanted = spec.clone();
        let applied = self.contain(move |c| c.isolate(&wanted)).unwrap();
        assert!(applied.egress && applied.bridge);
        assert_eq!(applied.warnings, Vec::<String>::new());
        spec
    }

    pub fn release(&self) {
        self.contain(|c| c.release().unwrap());
    }

    /// The agent reaches its controller, and nobody else reaches anybody.
    pub fn is_shut(&self) -> bool {
        let tcp = |to, mark| self.host.run(move || wire::tcp(to, mark, 0).is_some());
        tcp(at(CONTROLLER4, PORT), Some(AGENT_SOCKET_MARK))
            && !tcp(at(OUTSIDE4, 4444), None)
            && !tcp(at(OUTSIDE6, 4444), None)
    }

    /// The outside answers, and no table of ours is left.
    pub fn is_open(&self) -> bool {
        let tcp = |to| self.host.run(move || wire::tcp(to, None, 0).is_some());
        tcp(at(OUTSIDE4, 4444)) && tcp(at(OUTSIDE6, 4444)) && !self.ruleset().contains("cordon")
    }

    /// Rules of the host's kernel, ours included, without counters.
    pub fn ruleset(&self) -> String {
        self.host.sh("nft -s list ruleset")
    }
}

pub fn spec() -> IsolationSpec {
    let allow = |address: &str, transport| AllowRule {
        address: address.parse().unwrap(),
        transport,
        port: ALLOWED_PORT,
    };
    IsolationSpec {
        id: IsolationId::generate(),
        reason: "reverse shell \"x\" \u{202e}\n; drop table".into(),
        tree: Some("b00t:7:9".into()),
        started_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        lease_expires_at: Some("2099-01-01T00:00:00Z".parse().unwrap()),
        controllers: vec![at(CONTROLLER4, PORT), at(CONTROLLER6, PORT)],
        allow: vec![
            allow(ALLOWED4, Transport::Tcp),
            allow(ALLOWED6, Transport::Tcp),
            allow(ALLOWED4, Transport::Udp),
            allow(ALLOWED6, Transport::Udp),
        ],
        policy_version: 3,
        moment: None,
    }
}

pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

/// Polls instead of sleeping a fixed time; `false` when it never came true.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Set in a copy of this program that plays one test's other part.
pub const CHILD: &str = "CORDON_TEST_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

pub fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD, "yes");
    command
}
