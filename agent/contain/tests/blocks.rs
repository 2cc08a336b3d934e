//! Blocked remote ends: what passes before, during and after, beside an isolation, and over the life of the agent.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::IpAddr;
use std::time::Duration;

use cordon_contain::{Block, Blocks, ContainError, MOST_BLOCKS, Peer, ProbeTarget};
use cordon_proto::id::HostId;
use cordon_proto::policy::Transport;
use jiff::{SignedDuration, Timestamp};
use lab::wire;
use lab::{
    ALLOWED_PORT, ALLOWED4, ALLOWED6, HOST_PORT, HOST4, HOST6, Lab, OUTSIDE4, OUTSIDE6, at, child,
    is_child,
};

fn now() -> Timestamp {
    Timestamp::now()
}

fn in_an_hour() -> Timestamp {
    now() + SignedDuration::from_hours(1)
}

fn outside() -> Vec<IpAddr> {
    [OUTSIDE4, OUTSIDE6]
        .map(|address| address.parse().unwrap())
        .to_vec()
}

/// Runs `job` on the host with its blocks.
fn blocks<T: Send + 'static>(lab: &Lab, job: impl FnOnce(&Blocks) -> T + Send + 'static) -> T {
    let state = lab.state.path().to_owned();
    lab.host.run(move || job(&Blocks::open(&state).unwrap()))
}

/// What passes between the host, its guest, and the outside; and what must go on passing.
fn passing(lab: &Lab) -> Vec<&'static str> {
    let out = |to| lab.host.run(move || wire::tcp(to, None, 0).is_some());
    let from_outside = |to: &'static str, from: &'static str| {
        lab.peer
            .sh(&format!("ip route replace {to} dev up1 src {from}"));
        let through = lab
            .peer
            .run(move || wire::tcp(at(to, HOST_PORT), None, 0).is_some());
        lab.peer.sh(&format!("ip route delete {to}"));
        through
    };
    let tries = [
        ("tcp4", out(at(OUTSIDE4, 4444))),
        ("tcp6", out(at(OUTSIDE6, 4444))),
        ("udp4", lab.host.run(|| wire::udp(at(OUTSIDE4, 53)))),
        ("udp6", lab.host.run(|| wire::udp(at(OUTSIDE6, 53)))),
        ("icmp4", lab.host.run(|| wire::ping(OUTSIDE4))),
        ("icmp6", lab.host.run(|| wire::ping(OUTSIDE6))),
        ("in4", from_outside(HOST4, OUTSIDE4)),
        ("in6", from_outside(HOST6, OUTSIDE6)),
        (
            "guest",
            lab.guest
                .run(|| wire::tcp(at(OUTSIDE4, 4444), None, 0).is_some()),
        ),
        ("other4", out(at(ALLOWED4, ALLOWED_PORT))),
        ("other6", out(at(ALLOWED6, ALLOWED_PORT))),
    ];
    let passing = tries.into_iter().filter(|(_, passes)| *passes);
    passing.map(|(name, _)| name).collect()
}

const EVERYTHING: [&str; 11] = [
    "tcp4", "tcp6", "udp4", "udp6", "icmp4", "icmp6", "in4", "in6", "guest", "other4", "other6",
];
const OTHERS: [&str; 2] = ["other4", "other6"];

#[test]
fn what_is_blocked_is_cut_and_nothing_else() {
    let lab = Lab::new();
    assert_eq!(passing(&lab), EVERYTHING);
    let open = |to| lab.host.run(move || wire::tcp(to, None, 0).unwrap());
    let mut doomed = [open(at(OUTSIDE4, 4444)), open(at(OUTSIDE6, 4444))];
    let mut spared = [
        open(at(ALLOWED4, ALLOWED_PORT)),
        open(at(ALLOWED6, ALLOWED_PORT)),
    ];
    assert!(doomed.iter_mut().chain(&mut spared).all(wire::echoes));
    let target = |address, transport, port| ProbeTarget {
        address: at(address, port),
        transport,
    };
    let targets = [
        target(OUTSIDE4, Transport::Tcp, 4444),
        target(OUTSIDE6, Transport::Udp, 53),
    ];
    let reached = || {
        blocks(&lab, move |b| {
            b.prove(&targets)
                .iter()
                .map(|p| p.reached)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(reached(), [true, true]);

    let blocked = blocks(&lab, |b| b.block(&outside(), in_an_hour(), now()).unwrap());
    assert_eq!((blocked.fresh.len(), blocked.cut_sockets), (2, 2));
    assert!(
        blocked.is_whole && blocked.warnings.is_empty(),
        "{blocked:?}"
    );
    for stream in &mut doomed {
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }
    assert!(spared.iter_mut().all(wire::echoes));
    assert_eq!(passing(&lab), OTHERS);
    assert_eq!(reached(), [false, false]);
    // Again: nobody is new, and nobody is blocked for longer.
    let again = blocks(&lab, |b| {
        b.block(
            &outside(),
            in_an_hour() + SignedDuration::from_hours(9),
            now(),
        )
        .unwrap()
    });
    assert!(again.fresh.is_empty() && again.is_whole, "{again:?}");
    let latest = blocks(&lab, |b| b.in_force(now()).unwrap());
    assert!(latest.iter().all(|block| block.until <= in_an_hour()));

    assert!(blocks(&lab, |b| b
        .unblock(OUTSIDE4.parse().unwrap(), now())
        .unwrap()));
    assert!(!blocks(&lab, |b| b
        .unblock(OUTSIDE4.parse().unwrap(), now())
        .unwrap()));
    assert_eq!(
        passing(&lab),
        ["tcp4", "udp4", "icmp4", "in4", "guest", "other4", "other6"]
    );
    assert!(blocks(&lab, |b| b
        .unblock(OUTSIDE6.parse().unwrap(), now())
        .unwrap()));
    assert_eq!(passing(&lab), EVERYTHING);
    assert!(!lab.ruleset().contains("cordon"));
    assert!(!lab.state.path().join("blocks.json").exists());
}

#[test]
fn a_host_of_the_fleet_is_blocked_longer_and_shorter_and_beside_a_remote_end() {
    let lab = Lab::new();
    let peer = |host, addresses: &[&str], until| Peer {
        host,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        until,
    };
    let block = |peer: Peer, most| blocks(&lab, move |b| b.block_peer(&peer, most, now()).unwrap());
    let [first, second] = [(); 2].map(|()| HostId::generate());
    let mut stream = lab
        .host
        .run(|| wire::tcp(at(OUTSIDE4, 4444), None, 0).unwrap());
    assert!(wire::echoes(&mut stream));
    let blocked = block(peer(first, &[OUTSIDE4, OUTSIDE6], in_an_hour()), 1);
    assert_eq!((blocked.fresh.len(), blocked.cut_sockets), (2, 1));
    assert!(blocked.is_whole, "{blocked:?}");
    assert!(stream.read(&mut [0; 1]).is_err());
    assert_eq!(passing(&lab), OTHERS);
    // Another one is beyond what the policy lets; the first one may be told again.
    let beyond = block(peer(second, &[ALLOWED4], in_an_hour()), 1);
    assert_eq!((beyond.fresh.len(), beyond.beyond.len()), (0, 1));
    let later = in_an_hour() + SignedDuration::from_hours(1);
    let again = block(peer(first, &[OUTSIDE4, OUTSIDE6], later), 1);
    assert!(again.fresh.is_empty() && again.is_whole, "{again:?}");
    let latest = blocks(&lab, |b| b.in_force(now()).unwrap());
    assert!(
        latest.iter().all(|block| block.until == later),
        "{latest:?}"
    );
    // An address that a verdict blocked too stays blocked when the host is let be.
    let verdict = blocks(&lab, |b| {
        b.block(&outside()[..1], in_an_hour(), now()).unwrap()
    });
    assert_eq!((verdict.fresh.len(), verdict.is_whole), (1, true));
    let ended = blocks(&lab, move |b| b.unblock_peer(first, now()).unwrap());
    assert_eq!(ended.len(), 2);
    assert_eq!(
        passing(&lab),
        ["tcp6", "udp6", "icmp6", "in6", "other4", "other6"]
    );
    assert!(blocks(&lab, |b| b.unblock(outside()[0], now()).unwrap()));
    // It goes by the kernel's clock, whether anybody runs or not.
    let soon = now() + SignedDuration::from_secs(2);
    block(peer(second, &[OUTSIDE4, OUTSIDE6], soon), 1);
    assert_eq!(passing(&lab), OTHERS);
    assert!(lab::eventually(Duration::from_secs(10), || passing(&lab) == EVERYTHING));
    assert!(blocks(&lab, move |b| b.unblock_peer(second, now()).unwrap()).is_empty());
}

#[test]
fn an_isolation_and_a_block_leave_each_other_alone() {
    let lab = Lab::new();
    blocks(&lab, |b| b.block(&outside(), in_an_hour(), now()).unwrap());
    let table = || lab.host.sh("nft -s -a list table inet cordon_blocks");
    // Seconds pass meanwhile.
    let static_part = |listed: String| {
        listed
            .lines()
            .filter(|l| !l.contains("expires"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = static_part(table());
    lab.isolate();
    assert_eq!(static_part(table()), before);
    assert!(lab.is_shut());
    assert_eq!(
        lab.contain(cordon_contain::Containment::verify).unwrap(),
        cordon_contain::Health::Whole
    );
    assert!(!blocks(&lab, |b| b.repair(now()).unwrap()));
    lab.release();
    assert_eq!(static_part(table()), before);
    assert_eq!(passing(&lab), OTHERS);

    lab.isolate();
    for address in outside() {
        blocks(&lab, move |b| b.unblock(address, now()).unwrap());
    }
    assert!(lab.is_shut());
    assert_eq!(
        lab.contain(cordon_contain::Containment::verify).unwrap(),
        cordon_contain::Health::Whole
    );
    lab.release();
    assert_eq!(passing(&lab), EVERYTHING);
}

#[test]
fn a_block_ends_by_itself_and_outlives_the_agent() {
    let lab = Lab::new();
    let until = now() + SignedDuration::from_secs(3);
    blocks(&lab, move |b| b.block(&outside(), until, now()).unwrap());
    // Whoever comes next finds it as it was.
    assert!(!blocks(&lab, |b| b.repair(now()).unwrap()));
    assert_eq!(blocks(&lab, |b| b.in_force(now()).unwrap().len()), 2);
    let is_reached = || {
        lab.host
            .run(|| wire::tcp(at(OUTSIDE4, 4444), None, 0).is_some())
    };
    assert!(!is_reached());
    // The kernel ends it, whether an agent runs or not.
    assert!(lab::eventually(Duration::from_secs(10), is_reached));
    assert!(
        blocks(&lab, |b| b.in_force(now()).unwrap()).is_empty()
            || now() < until + SignedDuration::from_secs(1)
    );
    let is_clean = || {
        blocks(&lab, |b| b.repair(now()).unwrap());
        !lab.ruleset().contains("cordon")
    };
    assert!(lab::eventually(Duration::from_secs(5), is_clean));
}

#[test]
fn whatever_is_done_to_the_table_is_seen_and_mended() {
    let lab = Lab::new();
    blocks(&lab, |b| b.block(&outside(), in_an_hour(), now()).unwrap());
    for edit in [
        "nft flush ruleset",
        "nft delete table inet cordon_blocks",
        "nft insert rule inet cordon_blocks output accept",
        "nft flush chain inet cordon_blocks input",
        "nft delete element inet cordon_blocks v4 \"{ 10.77.0.200 }\"",
        "nft flush set inet cordon_blocks v6",
    ] {
        lab.host.sh(edit);
        assert!(blocks(&lab, |b| b.repair(now()).unwrap()), "{edit}");
        assert!(!blocks(&lab, |b| b.repair(now()).unwrap()), "{edit}");
    }
    assert_eq!(passing(&lab), OTHERS);
}

#[test]
fn a_damaged_file_and_a_disk_that_takes_nothing_block_nobody() {
    let lab = Lab::new();
    let file = lab.state.path().join("blocks.json");
    for damage in [
        "",
        "{",
        "null",
        "{\"blocks\":[{\"address\":\"x\",\"until\":0}]}",
    ] {
        fs::write(&file, damage).unwrap();
        let refused = blocks(&lab, |b| b.block(&outside(), in_an_hour(), now()));
        assert!(
            matches!(refused, Err(ContainError::Damaged { .. })),
            "{damage:?}: {refused:?}"
        );
    }
    fs::remove_file(&file).unwrap();
    // A directory in the place of the temporary file: writing fails whoever asks, root too.
    fs::create_dir(lab.state.path().join("blocks.json.new")).unwrap();
    let refused = blocks(&lab, |b| b.block(&outside(), in_an_hour(), now()));
    assert!(
        matches!(refused, Err(ContainError::Disk { .. })),
        "{refused:?}"
    );
    assert_eq!(passing(&lab), EVERYTHING);
}

/// Intent alone blocks nobody, and nobody is listed for it.
#[test]
fn without_nft_nobody_is_blocked_and_nobody_said_to_be() {
    if !is_child() {
        let output = child("without_nft_nobody_is_blocked_and_nobody_said_to_be")
            .env("PATH", "/nonexistent")
            .output()
            .unwrap();
        return assert!(output.status.success(), "{output:?}");
    }
    lab::Node::new().run(|| {
        let state = tempfile::tempdir().unwrap();
        let blocks = Blocks::open(state.path()).unwrap();
        let refused = blocks.block(&outside(), in_an_hour(), now());
        assert!(matches!(refused, Err(ContainError::NftMissing)));
        assert_eq!(blocks.in_force(now()).unwrap(), []);
        assert!(!state.path().join("blocks.json").exists());
        assert!(!blocks.repair(now()).unwrap());
    });
}

#[test]
fn only_so_many_are_blocked_at_once() {
    let lab = Lab::new();
    let many: Vec<IpAddr> = (0..MOST_BLOCKS as u32 + 2)
        .map(|n| IpAddr::from((0x0a4d_0200 + n).to_be_bytes()))
        .collect();
    let blocked = blocks(&lab, move |b| b.block(&many, in_an_hour(), now()).unwrap());
    assert_eq!(
        (blocked.fresh.len(), blocked.beyond.len()),
        (MOST_BLOCKS, 2)
    );
    assert!(blocked.is_whole);
    let first: &Block = &blocked.fresh[0];
    assert_eq!(first.address.to_string(), "10.77.2.0");
}

#[test]
fn a_v4_mapped_address_is_blocked_as_what_it_is() {
    let lab = Lab::new();
    let mapped: IpAddr = format!("::ffff:{OUTSIDE4}").parse().unwrap();
    let blocked = blocks(&lab, move |b| {
        b.block(&[mapped], in_an_hour(), now()).unwrap()
    });
    assert_eq!(blocked.fresh[0].address.to_string(), OUTSIDE4);
    assert!(
        !lab.host
            .run(|| wire::tcp(at(OUTSIDE4, 4444), None, 0).is_some())
    );
}

#[test]
fn what_somebody_asks_for_goes_on_until_the_later_time_and_ends_beside_a_host_of_the_fleet() {
    let lab = Lab::new();
    let address: IpAddr = OUTSIDE4.parse().unwrap();
    let (soon, later) = (now() + SignedDuration::from_mins(5), in_an_hour());
    let until = |lab: &Lab| blocks(lab, |b| b.in_force(now()).unwrap()[0].until);
    for (wanted, is_fresh, then) in [
        (soon, true, soon),
        (later, true, later),
        (soon, false, later),
    ] {
        let blocked = blocks(&lab, move |b| b.block_for(address, wanted, now()).unwrap());
        assert_eq!(!blocked.fresh.is_empty(), is_fresh, "{blocked:?}");
        assert!(blocked.is_whole && blocked.beyond.is_empty(), "{blocked:?}");
        assert_eq!(until(&lab), then);
    }
    assert!(!blocks(&lab, |b| b.repair(now()).unwrap()));
    let reaches = |lab: &Lab| {
        lab.host
            .run(|| wire::tcp(at(OUTSIDE4, 4444), None, 0).is_some())
    };
    assert!(!reaches(&lab));
    let peer = Peer {
        host: HostId::generate(),
        addresses: vec![address],
        until: later,
    };
    blocks(&lab, move |b| b.block_peer(&peer, 1, now()).unwrap());
    assert!(blocks(&lab, move |b| b
        .unblock_remote(address, now())
        .unwrap()));
    assert!(!blocks(&lab, move |b| b
        .unblock_remote(address, now())
        .unwrap()));
    assert!(!reaches(&lab), "a host of the fleet is still blocked");
}
