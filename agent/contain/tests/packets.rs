//! What passes and what does not while a host is isolated: a row a protocol, sender, receiver.
//!
//! Every row is tried three times: before (all must pass, or the row would prove nothing), while
//! isolated, and after the release (all must pass again).

// Long because it is one table, and a gap in it shows best when all rows stand together.

#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::net::{Ipv6Addr, SocketAddr};

use cordon_proto::AGENT_SOCKET_MARK;
use lab::wire::{self, Ear, Packet, ethernet, icmpv6, ipv4_udp};
use lab::{
    ALLOWED_PORT, ALLOWED4, ALLOWED6, CONTROLLER4, CONTROLLER6, HOST_MAC, HOST_PORT, HOST4, HOST6,
    Lab, OUTSIDE4, OUTSIDE6, PEER_MAC, PORT, at,
};

const PASSES: bool = true;
const DROPPED: bool = false;
const MARK: Option<u32> = Some(AGENT_SOCKET_MARK);
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const EVERYONE: [u8; 6] = [0xff; 6];

type Try = Box<dyn Fn(&Lab) -> bool>;

#[test]
fn everything_passes_or_is_dropped_as_listed() {
    let lab = Lab::new();
    let rows: Vec<(&str, bool, Try)> = [agent(), host_out(), raw(), into_host(), link(), within()]
        .into_iter()
        .flatten()
        .collect();
    check(&lab, &rows, "open", |_| PASSES);
    lab.isolate();
    check(&lab, &rows, "isolated", |expected| expected);
    lab.release();
    check(&lab, &rows, "released", |_| PASSES);
}

fn check(lab: &Lab, rows: &[(&str, bool, Try)], when: &str, expected: impl Fn(bool) -> bool) {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(_, listed, attempt)| attempt(lab) != expected(*listed))
        .map(|(name, listed, _)| format!("{name}: wanted passes={}", expected(*listed)))
        .collect();
    assert!(wrong.is_empty(), "while {when}:\n{}", wrong.join("\n"));
}

/// The agent's own sockets: to the controller only.
fn agent() -> Vec<(&'static str, bool, Try)> {
    vec![
        (
            "marked tcp4 to controller",
            PASSES,
            tcp(at(CONTROLLER4, PORT), MARK),
        ),
        (
            "marked tcp6 to controller",
            PASSES,
            tcp(at(CONTROLLER6, PORT), MARK),
        ),
        (
            "marked tcp4 to controller, other port",
            DROPPED,
            tcp(at(CONTROLLER4, 443), MARK),
        ),
        (
            "marked tcp6 to controller, other port",
            DROPPED,
            tcp(at(CONTROLLER6, 443), MARK),
        ),
        (
            "marked tcp4 to outside, same port",
            DROPPED,
            tcp(at(OUTSIDE4, PORT), MARK),
        ),
        (
            "marked tcp6 to outside, same port",
            DROPPED,
            tcp(at(OUTSIDE6, PORT), MARK),
        ),
    ]
}

/// Everybody else on the host, root included (the tests run as root).
fn host_out() -> Vec<(&'static str, bool, Try)> {
    vec![
        (
            "tcp4 to controller",
            DROPPED,
            tcp(at(CONTROLLER4, PORT), None),
        ),
        (
            "tcp6 to controller",
            DROPPED,
            tcp(at(CONTROLLER6, PORT), None),
        ),
        (
            "tcp4 with another mark to controller",
            DROPPED,
            tcp(at(CONTROLLER4, PORT), Some(1)),
        ),
        ("udp4 to controller", DROPPED, udp(at(CONTROLLER4, PORT))),
        ("udp6 to controller", DROPPED, udp(at(CONTROLLER6, PORT))),
        ("tcp4 to outside", DROPPED, tcp(at(OUTSIDE4, 4444), None)),
        ("tcp6 to outside", DROPPED, tcp(at(OUTSIDE6, 4444), None)),
        ("dns over udp4", DROPPED, udp(at(OUTSIDE4, 53))),
        ("dns over udp6", DROPPED, udp(at(OUTSIDE6, 53))),
        ("dns over tcp4", DROPPED, tcp(at(OUTSIDE4, 53), None)),
        (
            "udp4 from port 53",
            DROPPED,
            Box::new(|lab| hears_from_port(lab, 53)),
        ),
        ("icmp4 echo out", DROPPED, ping(OUTSIDE4)),
        ("icmp6 echo out", DROPPED, ping(OUTSIDE6)),
        (
            "allowed tcp4",
            PASSES,
            tcp(at(ALLOWED4, ALLOWED_PORT), None),
        ),
        (
            "allowed tcp6",
            PASSES,
            tcp(at(ALLOWED6, ALLOWED_PORT), None),
        ),
        ("allowed udp4", PASSES, udp(at(ALLOWED4, ALLOWED_PORT))),
        ("allowed udp6", PASSES, udp(at(ALLOWED6, ALLOWED_PORT))),
        (
            "tcp4 to allowed, other port",
            DROPPED,
            tcp(at(ALLOWED4, 22), None),
        ),
        (
            "udp6 to allowed, other port",
            DROPPED,
            udp(at(ALLOWED6, 4444)),
        ),
    ]
}

/// AF_PACKET and raw sockets, which never see the `inet` hooks or write their own headers.
fn raw() -> Vec<(&'static str, bool, Try)> {
    vec![
        (
            "packet socket, ipv4 udp",
            DROPPED,
            Box::new(|lab| frame_arrives(lab, false, || udp_frame(OUTSIDE4, 4444))),
        ),
        (
            "packet socket past the qdisc, ipv4 udp",
            DROPPED,
            Box::new(|lab| frame_arrives(lab, true, || udp_frame(OUTSIDE4, 4444))),
        ),
        (
            "packet socket, ipv4 udp to controller",
            DROPPED,
            Box::new(|lab| frame_arrives(lab, false, || udp_frame(CONTROLLER4, PORT))),
        ),
        (
            "packet socket, vlan tagged",
            DROPPED,
            Box::new(|lab| {
                frame_arrives(lab, false, || {
                    let inner = udp_frame(OUTSIDE4, 4444);
                    [&inner[..12], &[0x81, 0, 0, 7], &inner[12..]].concat()
                })
            }),
        ),
        (
            "packet socket, unknown ethertype",
            DROPPED,
            Box::new(|lab| {
                frame_arrives(lab, false, || ethernet(PEER_MAC, HOST_MAC, 0x88b5, NEEDLE))
            }),
        ),
        (
            "packet socket, icmpv6 echo",
            DROPPED,
            Box::new(|lab| {
                frame_arrives(lab, false, || {
                    let echo = [&[128, 0, 0, 0, 0, 0, 0, 1], NEEDLE].concat();
                    ethernet(PEER_MAC, HOST_MAC, IPV6, &icmpv6(HOST6, OUTSIDE6, &echo))
                })
            }),
        ),
        (
            "neighbour solicitation as a tunnel",
            DROPPED,
            Box::new(|lab| {
                frame_arrives(lab, false, || {
                    let target = OUTSIDE6.parse::<Ipv6Addr>().unwrap().octets();
                    let message = [&[135, 0, 0, 0, 0, 0, 0, 0], &target[..], NEEDLE].concat();
                    ethernet(PEER_MAC, HOST_MAC, IPV6, &icmpv6(HOST6, OUTSIDE6, &message))
                })
            }),
        ),
        (
            "packet socket, arp",
            PASSES,
            Box::new(|lab| {
                frame_arrives(lab, false, || ethernet(EVERYONE, HOST_MAC, 0x0806, NEEDLE))
            }),
        ),
        (
            "packet socket, 802.1x",
            PASSES,
            Box::new(|lab| {
                frame_arrives(lab, false, || ethernet(PEER_MAC, HOST_MAC, 0x888e, NEEDLE))
            }),
        ),
        (
            "dhcp discover by packet socket",
            PASSES,
            Box::new(|lab| {
                frame_arrives(lab, false, || {
                    let packet = ipv4_udp(("0.0.0.0", 68), ("255.255.255.255", 67), NEEDLE);
                    ethernet(EVERYONE, HOST_MAC, IPV4, &packet)
                })
            }),
        ),
        (
            "dhcp shaped, to the outside world",
            DROPPED,
            Box::new(|lab| {
                frame_arrives(lab, false, || {
                    let packet = ipv4_udp((HOST4, 68), ("198.51.100.7", 67), NEEDLE);
                    ethernet(PEER_MAC, HOST_MAC, IPV4, &packet)
                })
            }),
        ),
    ]
}

/// Towards the host, and through it.
fn into_host() -> Vec<(&'static str, bool, Try)> {
    vec![
        (
            "tcp4 in",
            DROPPED,
            Box::new(|lab| peer_tcp(lab, at(HOST4, HOST_PORT), 0)),
        ),
        (
            "tcp6 in",
            DROPPED,
            Box::new(|lab| peer_tcp(lab, at(HOST6, HOST_PORT), 0)),
        ),
        (
            "tcp4 in from the allowed port",
            DROPPED,
            Box::new(|lab| {
                lab.peer
                    .sh("ip route replace 10.77.0.11 dev up1 src 10.77.0.50");
                let through = peer_tcp(lab, at(HOST4, HOST_PORT), 1999);
                lab.peer.sh("ip route delete 10.77.0.11");
                through
            }),
        ),
        (
            "udp4 in",
            DROPPED,
            Box::new(|lab| lab.peer.run(|| wire::udp(at(HOST4, HOST_PORT)))),
        ),
        (
            "udp6 in",
            DROPPED,
            Box::new(|lab| lab.peer.run(|| wire::udp(at(HOST6, HOST_PORT)))),
        ),
        (
            "icmp4 echo in",
            DROPPED,
            Box::new(|lab| lab.peer.run(|| wire::ping(HOST4))),
        ),
        (
            "icmp6 echo in",
            DROPPED,
            Box::new(|lab| lab.peer.run(|| wire::ping(HOST6))),
        ),
        (
            "guest through the host",
            DROPPED,
            Box::new(|lab| {
                lab.guest
                    .run(|| wire::tcp(at(OUTSIDE4, 4444), None, 0).is_some())
            }),
        ),
        (
            "guest to the controller",
            DROPPED,
            Box::new(|lab| {
                lab.guest
                    .run(|| wire::tcp(at(CONTROLLER4, PORT), MARK, 0).is_some())
            }),
        ),
        (
            "guest to the host",
            DROPPED,
            Box::new(|lab| {
                lab.guest
                    .run(|| wire::tcp(at("10.78.0.1", HOST_PORT), None, 0).is_some())
            }),
        ),
    ]
}

/// What keeps the link and its addresses alive.
fn link() -> Vec<(&'static str, bool, Try)> {
    vec![
        (
            "arp and nd afresh, then the controller",
            PASSES,
            Box::new(|lab| {
                lab.host.sh("ip neigh flush all; ip -6 neigh flush all");
                lab.peer.sh("ip neigh flush all; ip -6 neigh flush all");
                tcp(at(CONTROLLER4, PORT), MARK)(lab) && tcp(at(CONTROLLER6, PORT), MARK)(lab)
            }),
        ),
        (
            "dhcp renewal to a server on the subnet",
            PASSES,
            Box::new(|lab| {
                let ear = lab.peer.run(|| Ear::udp(at("0.0.0.0", 67)));
                lab.host
                    .run(|| wire::send_udp(at(HOST4, 68), at(OUTSIDE4, 67)));
                ear.hears()
            }),
        ),
        (
            "dhcp answer in",
            PASSES,
            Box::new(|lab| {
                let ear = lab.host.run(|| Ear::udp(at("0.0.0.0", 68)));
                lab.peer
                    .run(|| wire::send_udp(at(OUTSIDE4, 67), at(HOST4, 68)));
                ear.hears()
            }),
        ),
        (
            "dhcpv6 solicit out",
            PASSES,
            Box::new(|lab| {
                let group: Ipv6Addr = "ff02::1:2".parse().unwrap();
                let ear = lab
                    .peer
                    .run(move || Ear::udp(at("::", 547)).join(group, "up1"));
                lab.host
                    .run(move || wire::send_udp(at("::", 546), scoped(group, 547, "up0")));
                ear.hears()
            }),
        ),
        (
            "dhcpv6 answer in",
            PASSES,
            Box::new(|lab| {
                let ear = lab.host.run(|| Ear::udp(at("::", 546)));
                let to: Ipv6Addr = link_local(lab).parse().unwrap();
                lab.peer
                    .run(move || wire::send_udp(at("::", 547), scoped(to, 546, "up1")));
                ear.hears()
            }),
        ),
        (
            "router solicitation out",
            PASSES,
            Box::new(|lab| {
                let from = link_local(lab);
                frame_arrives(lab, false, move || {
                    let message = [&[133, 0, 0, 0, 0, 0, 0, 0], NEEDLE].concat();
                    let packet = icmpv6(&from, "ff02::2", &message);
                    ethernet([0x33, 0x33, 0, 0, 0, 2], HOST_MAC, IPV6, &packet)
                })
            }),
        ),
        (
            "router advertisement in",
            PASSES,
            Box::new(a_router_is_learned),
        ),
    ]
}

/// Inside the host.
fn within() -> Vec<(&'static str, bool, Try)> {
    vec![
        (
            "tcp4 over loopback",
            PASSES,
            tcp(at("127.0.0.1", HOST_PORT), None),
        ),
        (
            "tcp6 over loopback",
            PASSES,
            tcp(at("::1", HOST_PORT), None),
        ),
        (
            "udp4 over loopback",
            PASSES,
            udp(at("127.0.0.1", HOST_PORT)),
        ),
        (
            "tcp4 to the host's own address",
            PASSES,
            tcp(at(HOST4, HOST_PORT), None),
        ),
        (
            "tcp6 to the host's own address",
            PASSES,
            tcp(at(HOST6, HOST_PORT), None),
        ),
        ("icmp4 echo over loopback", PASSES, ping("127.0.0.1")),
        ("icmp6 echo over loopback", PASSES, ping("::1")),
    ]
}

const NEEDLE: &[u8] = b"cordon-needle";

fn tcp(to: SocketAddr, mark: Option<u32>) -> Try {
    Box::new(move |lab| {
        lab.host
            .run(move || wire::tcp(to, mark, 0).is_some_and(|mut stream| wire::echoes(&mut stream)))
    })
}

fn udp(to: SocketAddr) -> Try {
    Box::new(move |lab| lab.host.run(move || wire::udp(to)))
}

fn ping(to: &'static str) -> Try {
    Box::new(move |lab| lab.host.run(move || wire::ping(to)))
}

fn peer_tcp(lab: &Lab, to: SocketAddr, from_port: u16) -> bool {
    lab.peer
        .run(move || wire::tcp(to, None, from_port).is_some())
}

fn hears_from_port(lab: &Lab, port: u16) -> bool {
    let ear = lab.peer.run(|| Ear::udp(at(OUTSIDE4, 9999)));
    lab.host
        .run(move || wire::send_udp(at(HOST4, port), at(OUTSIDE4, 9999)));
    ear.hears()
}

fn udp_frame(to: &str, port: u16) -> Vec<u8> {
    let packet = ipv4_udp((HOST4, 5555), (to, port), NEEDLE);
    ethernet(PEER_MAC, HOST_MAC, IPV4, &packet)
}

/// Sends a frame with the needle by AF_PACKET on the host, and looks for it on the peer's device.
fn frame_arrives(
    lab: &Lab,
    bypass: bool,
    frame: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> bool {
    let ear = lab.peer.run(|| Packet::open("up1"));
    lab.host.run(move || {
        let packet = Packet::open("up0");
        let packet = if bypass {
            packet.bypass_qdisc()
        } else {
            packet
        };
        packet.send(&frame());
    });
    ear.sees(NEEDLE)
}

fn a_router_is_learned(lab: &Lab) -> bool {
    let peer = link_local_of(&lab.peer, "up1");
    lab.host.sh("sysctl -qw net.ipv6.conf.up0.accept_ra=2");
    lab.peer.run(move || {
        // Router advertisement, life time 600 s, no options.
        let message = [134, 0, 0, 0, 64, 0, 0x02, 0x58, 0, 0, 0, 0, 0, 0, 0, 0];
        let packet = icmpv6(&peer, "ff02::1", &message);
        Packet::open("up1").send(&ethernet([0x33, 0x33, 0, 0, 0, 1], PEER_MAC, IPV6, &packet));
    });
    let learned = lab::eventually(wire::SILENCE, || {
        lab.host.sh("ip -6 route show default").contains("proto ra")
    });
    lab.host.sh("ip -6 route flush default 2>/dev/null || true");
    learned
}

fn link_local(lab: &Lab) -> String {
    link_local_of(&lab.host, "up0")
}

fn link_local_of(node: &lab::Node, device: &str) -> String {
    let listed = node.sh(&format!("ip -6 -o address show dev {device} scope link"));
    let address = listed.split_whitespace().nth(3).unwrap();
    address.split('/').next().unwrap().to_owned()
}

fn scoped(address: Ipv6Addr, port: u16, device: &str) -> SocketAddr {
    let index = nix::net::if_::if_nametoindex(device).unwrap();
    std::net::SocketAddrV6::new(address, port, 0, index).into()
}
