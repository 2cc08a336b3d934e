//! Whom a block hits, and whom never.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::net::IpAddr;

use cordon_respond::block::{MOST_REMOTES, Never, choose};
use proptest::prelude::*;

const IN_V4: &str = "in 10.20.0.0/16, on the policy's list of protected addresses";
const IN_V6: &str = "in 2001:db8:20::/48, on the policy's list of protected addresses";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn never() -> Never {
    Never {
        controllers: vec![ip("198.51.100.1"), ip("2001:db8::1")],
        own: vec![ip("192.0.2.5"), ip("2001:db8::5")],
        allow: vec![ip("192.0.2.22"), ip("::ffff:192.0.2.23")],
        protected: ["192.0.2.80", "10.20.0.0/16", "2001:db8:20::/48"]
            .map(|entry| entry.parse().unwrap())
            .to_vec(),
        resolvers: vec![ip("192.0.2.53")],
    }
}

#[test]
fn strangers_are_blocked_and_whom_the_host_needs_is_spared() {
    let blocked = [
        "203.0.113.9",
        "2001:db8::9",
        "10.0.0.9",
        // Beside the networks that are protected, and one that only looks like an address of theirs.
        "10.19.255.255",
        "10.21.0.0",
        "::ffff:10.21.0.0",
        "::10.20.1.2",
        "2001:db8:1f:ffff:ffff:ffff:ffff:ffff",
        "2001:db8:21::",
    ];
    for address in blocked {
        let choice = choose([ip(address)], &never(), MOST_REMOTES);
        assert_eq!(choice.block, [ip(address).to_canonical()]);
        assert!(choice.spared.is_empty());
    }
    for (address, why) in [
        ("198.51.100.1", "the controller's"),
        ("::ffff:198.51.100.1", "the controller's"),
        ("2001:db8::1", "the controller's"),
        ("192.0.2.5", "this host's own"),
        ("2001:db8::5", "this host's own"),
        ("192.0.2.22", "on the policy's list of what stays reachable"),
        ("192.0.2.23", "on the policy's list of what stays reachable"),
        ("192.0.2.80", "on the policy's list of protected addresses"),
        ("10.20.0.0", IN_V4),
        ("10.20.255.255", IN_V4),
        ("::ffff:10.20.1.2", IN_V4),
        ("2001:db8:20::", IN_V6),
        ("2001:db8:20:ffff:ffff:ffff:ffff:ffff", IN_V6),
        ("192.0.2.53", "this host asks it for names"),
        ("127.0.0.1", "not the address of one remote end"),
        ("127.8.8.8", "not the address of one remote end"),
        ("::1", "not the address of one remote end"),
        ("::ffff:127.0.0.1", "not the address of one remote end"),
        ("0.0.0.0", "not the address of one remote end"),
        ("0.1.2.3", "not the address of one remote end"),
        ("::", "not the address of one remote end"),
        ("255.255.255.255", "not the address of one remote end"),
        ("224.0.0.251", "not the address of one remote end"),
        ("ff02::1", "not the address of one remote end"),
        ("169.254.1.1", "not the address of one remote end"),
        ("fe80::1", "not the address of one remote end"),
    ] {
        let choice = choose([ip(address)], &never(), MOST_REMOTES);
        assert!(choice.block.is_empty(), "{address}");
        assert_eq!(choice.spared[0].why, why, "{address}");
        // Whoever asks about one address is told the same, however it is written.
        assert_eq!(never().why(ip(address)).as_deref(), Some(why), "{address}");
    }
}

#[test]
fn the_latest_ones_are_blocked_each_once_and_no_more_than_so_many() {
    let many = (0..20).map(|n| IpAddr::from([203, 0, 113, n]));
    let choice = choose(
        many.clone().flat_map(|address| [address, address]),
        &never(),
        MOST_REMOTES,
    );
    assert_eq!(choice.block, many.take(MOST_REMOTES).collect::<Vec<_>>());
    assert_eq!(choice.spared.len(), MOST_REMOTES);
    let mapped = choose([ip("::ffff:203.0.113.9"), ip("203.0.113.9")], &never(), 1);
    assert_eq!(mapped.block, [ip("203.0.113.9")]);
}

proptest! {
    #[test]
    fn whatever_was_called_nobody_is_blocked_who_must_not_be(
        addresses in prop::collection::vec(any::<IpAddr>(), 0..40),
        needed in prop::collection::vec(any::<IpAddr>(), 0..8),
    ) {
        let never = Never { controllers: needed.clone(), ..Never::default() };
        let choice = choose(addresses.iter().chain(&needed).copied(), &never, MOST_REMOTES);
        prop_assert!(choice.block.len() <= MOST_REMOTES && choice.spared.len() <= MOST_REMOTES);
        prop_assert!(!choice.block.iter().any(|address| needed.iter().any(|n| n.to_canonical() == *address)));
        prop_assert!(!choice.block.iter().any(IpAddr::is_loopback));
    }
}
