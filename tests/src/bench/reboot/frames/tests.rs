//! Frames as they are on the wire, and what is near to those that pass.

use super::*;

const CONTROLLER: &str = "fd99::10";

fn ends() -> Ends {
    Ends {
        controller: ["10.99.0.10", CONTROLLER].map(address).into(),
        port: 7443,
        subnet: (Ipv4Addr::new(10, 99, 0, 11), 24),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
    [&[0xff; 12][..], &kind.to_be_bytes(), packet].concat()
}

/// A packet of either family with a hop limit of 255.
fn ip(to: &str, protocol: u8, rest: &[u8]) -> Vec<u8> {
    match address(to) {
        IpAddr::V4(to) => {
            let head = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            let packet = [&head[..], &[10, 99, 0, 11], &to.octets(), rest].concat();
            ethernet(IPV4, &packet)
        }
        IpAddr::V6(to) => {
            let head = [0x60, 0, 0, 0, 0, 0, protocol, 255];
            let packet = [&head[..], &[0xfe; 16], &to.octets(), rest].concat();
            ethernet(IPV6, &packet)
        }
    }
}

fn with_ports(from: u16, to: u16) -> Vec<u8> {
    [from.to_be_bytes(), to.to_be_bytes()].concat()
}

/// Hop-by-hop options, then an ICMPv6 message.
fn report(kind: u8) -> Vec<u8> {
    vec![ICMPV6, 0, 5, 2, 0, 0, 1, 0, kind]
}

fn sorted(bytes: Vec<u8>) -> Sort {
    let frame = Frame {
        at_us: 0,
        bytes,
        is_cut: false,
    };
    sort(&frame, &ends())
}

fn passing() -> Vec<(Vec<u8>, Sort)> {
    vec![
        (ethernet(ARP, &[]), Sort::Arp),
        (ethernet(0x8809, &[1]), Sort::LinkControl),
        (ethernet(0x888e, &[1]), Sort::LinkControl),
        (
            ip("10.99.0.10", TCP, &with_ports(40000, 7443)),
            Sort::Controller,
        ),
        (
            ip(CONTROLLER, TCP, &with_ports(40000, 7443)),
            Sort::Controller,
        ),
        (ip("255.255.255.255", UDP, &with_ports(68, 67)), Sort::Dhcp),
        (ip("10.99.0.1", UDP, &with_ports(68, 67)), Sort::Dhcp),
        (ip("ff02::1:2", UDP, &with_ports(546, 547)), Sort::Dhcp),
        (ip("fe80::1", UDP, &with_ports(546, 547)), Sort::Dhcp),
        (ip("ff02::1:ff00:10", ICMPV6, &[135]), Sort::Discovery),
        (ip("ff02::2", ICMPV6, &[133]), Sort::Discovery),
        (ip("fe80::1", ICMPV6, &[136]), Sort::Discovery),
        (ip(CONTROLLER, ICMPV6, &[135]), Sort::Discovery),
        (ip("ff02::16", HOP_BY_HOP, &report(143)), Sort::Mld),
        (ip("ff02::2", HOP_BY_HOP, &report(132)), Sort::Mld),
    ]
}

#[test]
fn what_passes_is_told_apart() {
    for (frame, expected) in passing() {
        assert_eq!(sorted(frame.clone()), expected, "{frame:02x?}");
    }
}

#[test]
fn what_is_near_to_it_is_an_offender() {
    let mut routed = ip(CONTROLLER, ICMPV6, &[135]);
    routed[14 + 7] = 64;
    let mut fragment = ip("10.99.0.10", TCP, &with_ports(40000, 7443));
    fragment[14 + 6] = 0x20;
    for (frame, expected) in [
        (
            ip("10.99.0.10", TCP, &with_ports(7443, 443)),
            "TCP to 10.99.0.10 port 443",
        ),
        (
            ip("10.99.0.10", UDP, &with_ports(1, 7443)),
            "UDP to 10.99.0.10 port 7443",
        ),
        (
            ip("10.99.0.200", TCP, &with_ports(1, 7443)),
            "TCP to 10.99.0.200 port 7443",
        ),
        (
            ip("10.98.0.1", UDP, &with_ports(68, 67)),
            "UDP to 10.98.0.1 port 67",
        ),
        (
            ip("255.255.255.255", UDP, &with_ports(67, 67)),
            "UDP to 255.255.255.255 port 67",
        ),
        (
            ip("fd99::200", UDP, &with_ports(546, 547)),
            "UDP to fd99::200 port 547",
        ),
        (
            ip("fd99::200", ICMPV6, &[135]),
            "ICMP type 135 to fd99::200",
        ),
        (routed, "ICMP type 135 to fd99::10"),
        (ip("ff02::1", ICMPV6, &[134]), "ICMP type 134 to ff02::1"),
        (ip("ff02::1", ICMPV6, &[128]), "ICMP type 128 to ff02::1"),
        (
            ip("ff05::16", HOP_BY_HOP, &report(143)),
            "ICMP type 143 to ff05::16",
        ),
        (ip("10.99.0.10", ICMP, &[8]), "ICMP type 8 to 10.99.0.10"),
        (ip("10.99.0.10", 253, &[]), "protocol 253 to 10.99.0.10"),
        (ip(CONTROLLER, 44, &[0; 8]), "protocol 44 to fd99::10"),
        (fragment, "a fragment to 10.99.0.10"),
        (ethernet(0x8100, &[0; 60]), "EtherType 0x8100"),
        (ethernet(0x88b5, &[]), "EtherType 0x88b5"),
    ] {
        assert_eq!(sorted(frame), Sort::Other(expected.to_owned()));
    }
}

#[test]
fn a_frame_that_ends_early_is_an_offender_and_no_panic() {
    for (frame, expected) in passing() {
        for end in 0..frame.len() {
            let short = sorted(frame[..end].to_vec());
            assert!(
                short == expected || matches!(short, Sort::Other(_)),
                "{short:?} of {end} bytes of {frame:02x?}"
            );
        }
    }
    let cut = Frame {
        at_us: 0,
        bytes: ethernet(ARP, &[]),
        is_cut: true,
    };
    assert!(matches!(sort(&cut, &ends()), Sort::Other(_)));
}

#[test]
fn a_tally_knows_how_many_and_when() {
    let mut tally = Tally::default();
    for (at_us, kind) in [(5, ARP), (6, 0x88b5), (9, 0x88b5)] {
        let bytes = ethernet(kind, &[]);
        let frame = Frame {
            at_us,
            bytes,
            is_cut: false,
        };
        tally.add(&frame, &ends());
    }
    assert_eq!(tally.frames(&Sort::Arp), 1);
    assert_eq!(tally.frames(&Sort::Mld), 0);
    let others: Vec<_> = tally.others().collect();
    let expected = Count {
        frames: 2,
        first_us: 6,
        last_us: 9,
    };
    assert_eq!(others, [("EtherType 0x88b5", expected)]);
}
