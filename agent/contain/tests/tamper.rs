//! An isolation among others: foreign rules, transactions that fail or are replaced, tampering.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cordon_contain::{ContainError, Containment, Health, NftWatch, Recovered};
use lab::wire::{self, Ear};
use lab::{Lab, OUTSIDE4, OUTSIDE6, at};

#[test]
fn rules_of_other_tools_stay_byte_for_byte() {
    let lab = Lab::new();
    lab.host.sh(&format!("nft -f - <<'END'\n{FOREIGN}\nEND"));
    // Handles are shown: a rule that was removed and put back would have another one.
    let foreign = || {
        let tables = [
            "ip nat",
            "ip filter",
            "inet firewalld",
            "ip6 ufw6",
            "netdev other",
            "bridge filter",
        ];
        let list = |table| lab.host.sh(&format!("nft -s -a list table {table}"));
        tables.map(list).join("\n")
    };
    let before = foreign();
    lab.isolate();
    assert_eq!(foreign(), before);
    assert!(lab.is_shut());
    lab.release();
    assert_eq!(foreign(), before);
    lab.host.sh("nft flush ruleset");
}

/// Docker-like, ufw-like and firewalld-like; with sets, jumps, NAT, and accepts at every priority.
const FOREIGN: &str = r#"
table ip nat {
  chain DOCKER { iifname "docker0" return; }
  chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
  chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.17.0.0/16 masquerade; }
}
table ip filter {
  set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
  chain ufw-user { tcp dport 22 accept comment "user rule"; }
  chain INPUT { type filter hook input priority filter; policy accept; ip saddr @blocked drop; jump ufw-user; }
  chain OUTPUT { type filter hook output priority filter; policy accept; meta mark set 0x99; }
}
table inet firewalld {
  chain first { type filter hook output priority -2147483648; policy accept; accept; }
  chain last { type filter hook output priority 2147483647; policy accept; accept; }
  chain in { type filter hook input priority 2147483647; policy accept; accept; }
}
table ip6 ufw6 {
  chain OUTPUT { type filter hook output priority mangle; policy accept; meta mark set 0x99; }
}
table bridge filter {
  chain first { type filter hook forward priority -2147483648; policy accept; accept; }
  chain last { type filter hook forward priority 2147483647; policy accept; accept; }
}
table netdev other {
  chain out { type filter hook egress device "up0" priority -100; policy accept; accept; }
}
"#;

#[test]
fn a_rewritten_destination_does_not_slip_out_as_loopback() {
    let lab = Lab::new();
    lab.host.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1");
    lab.host.sh(&format!(
        "nft add table ip dodge
         nft 'add chain ip dodge o {{ type nat hook output priority -100; }}'
         nft 'add chain ip dodge p {{ type nat hook postrouting priority 100; }}'
         nft add rule ip dodge o ip daddr 127.0.0.9 dnat to {OUTSIDE4}
         nft add rule ip dodge p ip saddr 127.0.0.0/8 masquerade"
    ));
    let through = || {
        lab.host
            .run(|| wire::tcp(at("127.0.0.9", 4444), None, 0).is_some())
    };
    assert!(through());
    lab.isolate();
    assert!(!through());
}

#[test]
fn a_flushed_ruleset_is_noticed_and_repaired() {
    let lab = Lab::new();
    lab.isolate();
    let watch = lab.host.run(|| NftWatch::open().unwrap());
    assert!(!watch.wait(Some(Duration::from_millis(20))).unwrap());

    let flushed = std::time::Instant::now();
    lab.host.sh("nft flush ruleset");
    assert!(watch.wait(Some(Duration::from_secs(1))).unwrap());
    assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Missing);
    assert!(lab.contain(Containment::repair).unwrap().is_some());
    assert!(flushed.elapsed() < Duration::from_secs(1));
    assert!(lab.is_shut());
    assert_eq!(lab.contain(Containment::repair).unwrap(), None);
}

/// One transaction: while the rules are put in again, and again with others, nothing slips out.
#[test]
fn replacing_the_rules_opens_no_gap() {
    let lab = Lab::new();
    let mut spec = lab.isolate();
    let ear = lab.peer.run(|| Ear::udp(at(OUTSIDE4, 9999)));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sender = lab.host.run(move || {
        std::thread::spawn(move || {
            let mut sent = 0_u32;
            while !stopped.load(Ordering::Relaxed) {
                wire::send_udp(at(lab::HOST4, 0), at(OUTSIDE4, 9999));
                sent += 1;
            }
            sent
        })
    });
    for _ in 0..20 {
        spec.allow.pop();
        spec.lease_expires_at = None;
        let wanted = spec.clone();
        lab.contain(move |c| c.isolate(&wanted)).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(sender.join().unwrap() > 20);
    assert!(!ear.hears());
}

/// A refused transaction leaves the kernel as it was, down to the other table, and the agent's intent
/// on disk for the next try.
#[test]
fn a_refused_transaction_changes_nothing() {
    let lab = Lab::new();
    // Somebody else holds a table of our name, so the kernel refuses that half of the batch.
    let mut owner = lab.host.run(|| {
        let mut nft = Command::new("nft")
            .arg("-i")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = nft.stdin.as_mut().unwrap();
        stdin
            .write_all(b"add table inet cordon { flags owner; }\n")
            .unwrap();
        nft
    });
    let is_held = || lab.ruleset().contains("flags owner");
    assert!(lab::eventually(Duration::from_secs(5), is_held));
    let before = lab.ruleset();

    let spec = lab::spec();
    let wanted = spec.clone();
    let refused = lab.contain(move |c| c.isolate(&wanted));
    assert!(matches!(refused, Err(ContainError::NftRefused { .. })));
    assert_eq!(lab.ruleset(), before);
    let open = |to| lab.host.run(move || wire::tcp(to, None, 0).is_some());
    assert!(open(at(OUTSIDE4, 4444)) && open(at(OUTSIDE6, 4444)));

    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(lab.contain(Containment::current), Some(spec.clone()));
    lab.contain(Containment::repair).unwrap();
    assert!(lab.is_shut());
}

#[test]
fn other_peoples_changes_do_not_wake_the_watch() {
    let lab = Lab::new();
    lab.isolate();
    let watch = lab.host.run(|| NftWatch::open().unwrap());
    lab.host
        .sh("nft add table inet other; nft add chain inet other c; nft delete table inet other");
    assert!(!watch.wait(Some(Duration::from_millis(50))).unwrap());
}

#[test]
fn every_kind_of_tampering_is_seen() {
    let lab = Lab::new();
    lab.isolate();
    let edits = [
        ("nft insert rule inet cordon output accept", Health::Altered),
        ("nft add rule netdev cordon allow accept", Health::Altered),
        (
            "nft add rule inet cordon forward ip daddr 10.77.0.200 accept",
            Health::Altered,
        ),
        (
            "nft 'chain inet cordon input { policy accept; }'",
            Health::Altered,
        ),
        ("nft add chain inet cordon extra", Health::Altered),
        (
            "nft insert rule bridge cordon forward accept",
            Health::Altered,
        ),
        (
            "nft 'chain bridge cordon forward { policy accept; }'",
            Health::Altered,
        ),
        ("nft flush table bridge cordon", Health::Altered),
        ("nft delete table bridge cordon", Health::Missing),
        ("nft delete table netdev cordon", Health::Missing),
        ("nft delete table inet cordon", Health::Missing),
        (
            "nft insert rule netdev cordon egress_1 accept",
            Health::Uncovered {
                device: "up0".into(),
            },
        ),
        (
            "nft 'chain netdev cordon egress_1 { policy accept; }'",
            Health::Uncovered {
                device: "up0".into(),
            },
        ),
        (
            "ip link add new0 type veth peer name new1",
            Health::Uncovered {
                device: "new0".into(),
            },
        ),
        ("ip link delete new0", Health::Whole),
    ];
    for (edit, seen) in edits {
        lab.host.sh(edit);
        assert_eq!(lab.contain(Containment::verify).unwrap(), seen, "{edit}");
        lab.contain(Containment::repair).unwrap();
        assert_eq!(
            lab.contain(Containment::verify).unwrap(),
            Health::Whole,
            "{edit}"
        );
    }
    assert!(lab.is_shut());
}

/// A table that was made with other flags than ours can only be deleted, not added again.
#[test]
fn tables_that_outlive_their_maker_are_replaced_and_released() {
    use lab::tables::{BRIDGE, INET, NETDEV, leave_behind};
    let lab = Lab::new();
    lab.isolate();
    let leave_all_behind = || lab.host.run(|| [INET, NETDEV, BRIDGE].map(leave_behind));
    leave_all_behind();
    assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Altered);
    lab.contain(Containment::repair).unwrap();
    assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Whole);
    assert!(lab.is_shut());
    leave_all_behind();
    std::fs::remove_file(lab.state.path().join("isolation.json")).unwrap();
    let recovered = lab.contain(Containment::recover).unwrap();
    assert!(matches!(recovered, Recovered::ShutUnknown { .. }));
    lab.release();
    assert!(lab.is_open());
}
