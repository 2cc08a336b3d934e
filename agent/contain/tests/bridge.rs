//! Guests on a bridge of the host: what passes between them with the rules that the kernel takes.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cordon_contain::{Containment, Health, Recovered};
use lab::wire::{self, Packet, ethernet};
use lab::{Lab, Node, PORT, at, child, is_child};

const GUEST4: &str = "10.79.0.2";
const GUEST6: &str = "fd79::2";
const OTHER_GUEST4: &str = "10.79.0.3";
const OTHER_GUEST6: &str = "fd79::3";
const EVERYONE: [u8; 6] = [0xff; 6];
/// Words of a batch that `nft` refuses, as a kernel without the part would.
const REFUSED: &str = "CORDON_TEST_REFUSED";
const EGRESS: &str = "\"hook\":\"egress\"";
const BRIDGE: &str = "\"family\":\"bridge\"";

/// Two guests on bridge `br0` of the host.
struct Guests {
    lab: Lab,
    one: Node,
    other: Node,
}

impl Guests {
    fn new() -> Self {
        let (lab, one, other) = (Lab::new(), Node::new(), Node::new());
        // br_netfilter would show bridged packets to `inet` rules too.
        lab.host.sh(
            "ip link add br0 type bridge; ip link set br0 up
             sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0",
        );
        let ends = [
            (&one, "one", GUEST4, GUEST6, OTHER_GUEST4, OTHER_GUEST6),
            (&other, "other", OTHER_GUEST4, OTHER_GUEST6, GUEST4, GUEST6),
        ];
        for (guest, port, v4, v6, ..) in &ends {
            lab.host.sh(&format!(
                "ip link add {port} type veth peer name eth0 netns {}
                 ip link set {port} master br0 up",
                guest.thread_id
            ));
            guest.sh(&format!(
                "ip link set lo up; ip link set eth0 up
                 ip address add {v4}/24 dev eth0; ip address add {v6}/64 dev eth0 nodad"
            ));
        }
        // Neighbours that need no asking: a question that was dropped is not asked again for a second.
        for ((guest, _, _, _, v4, v6), (peer, ..)) in ends.iter().zip(ends.iter().rev()) {
            let mac = peer.sh("ip -o link show eth0 | sed 's/.*ether //; s/ .*//'");
            let mac = mac.trim();
            guest.sh(&format!(
                "ip neigh replace {v4} lladdr {mac} dev eth0; ip neigh replace {v6} lladdr {mac} dev eth0"
            ));
        }
        other.run(|| wire::serve(PORT));
        let guests = Self { lab, one, other };
        guests.wait_for_ports();
        guests
    }

    /// A port forwards only once the bridge has seen its carrier.
    fn wait_for_ports(&self) {
        let is_forwarding = |port| {
            let shown = self.lab.host.sh(&format!("ip -d link show {port}"));
            shown.contains("state forwarding")
        };
        let are_ready = || ["one", "other"].into_iter().all(is_forwarding);
        assert!(lab::eventually(Duration::from_secs(5), are_ready));
    }

    /// What gets from one guest to the other.
    fn passing(&self) -> Vec<&'static str> {
        let from = |attempt: fn() -> bool| self.one.run(attempt);
        let tries = [
            (
                "tcp4",
                from(|| wire::tcp(at(OTHER_GUEST4, PORT), None, 0).is_some()),
            ),
            (
                "tcp6",
                from(|| wire::tcp(at(OTHER_GUEST6, PORT), None, 0).is_some()),
            ),
            ("udp4", from(|| wire::udp(at(OTHER_GUEST4, PORT)))),
            ("udp6", from(|| wire::udp(at(OTHER_GUEST6, PORT)))),
            ("icmp4", from(|| wire::ping(OTHER_GUEST4))),
            ("icmp6", from(|| wire::ping(OTHER_GUEST6))),
            ("frame", self.frame_passes()),
        ];
        let passing = tries.into_iter().filter(|(_, passes)| *passes);
        passing.map(|(name, _)| name).collect()
    }

    fn frame_passes(&self) -> bool {
        const NEEDLE: &[u8] = b"from one guest to the other";
        let ear = self.other.run(|| Packet::open("eth0"));
        self.one.run(|| {
            let frame = ethernet(EVERYONE, [2, 0, 0, 0, 0, 0x79], 0x88b5, NEEDLE);
            Packet::open("eth0").send(&frame);
        });
        ear.sees(NEEDLE)
    }
}

const EVERYTHING: [&str; 7] = ["tcp4", "tcp6", "udp4", "udp6", "icmp4", "icmp6", "frame"];

#[test]
fn guests_on_a_bridge_are_cut_off_from_each_other() {
    let guests = Guests::new();
    let lab = &guests.lab;
    assert_eq!(guests.passing(), EVERYTHING);
    lab.isolate();
    assert_eq!(guests.passing(), [""; 0]);
    // Without the agent's repair: the bridge's own table holds alone.
    lab.host.sh("nft delete table netdev cordon");
    assert_eq!(guests.passing(), [""; 0]);
    lab.host.sh("nft delete table bridge cordon");
    assert_eq!(guests.passing(), EVERYTHING);
    lab.contain(Containment::repair).unwrap();
    assert_eq!(guests.passing(), [""; 0]);
    lab.release();
    assert_eq!(guests.passing(), EVERYTHING);
}

#[test]
fn a_bridge_that_is_made_later_forwards_nothing() {
    let guests = Guests::new();
    let lab = &guests.lab;
    lab.isolate();
    lab.host
        .sh("nft delete table netdev cordon; ip link delete br0
         ip link add br1 type bridge; ip link set br1 up
         ip link set one master br1; ip link set other master br1");
    assert_eq!(guests.passing(), [""; 0]);
    lab.release();
    assert_eq!(guests.passing(), EVERYTHING);
}

/// A kernel that is without a part: the rest goes in, and what is left open is said and measured.
#[test]
fn what_the_kernel_does_not_take_is_said_and_the_rest_holds() {
    let name = "what_the_kernel_does_not_take_is_said_and_the_rest_holds";
    let Some(refused) = std::env::var(REFUSED).ok() else {
        let folder = tempfile::tempdir().unwrap();
        let path = refusing_nft(folder.path());
        for refused in ["", EGRESS, BRIDGE, &format!("{EGRESS} {BRIDGE}")] {
            let mut child = child(name);
            let output = child.env("PATH", &path).env(REFUSED, refused).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{refused}: {output:?}");
        }
        return;
    };
    assert!(is_child());
    let guests = Guests::new();
    let lab = &guests.lab;
    let [egress, bridge] = [EGRESS, BRIDGE].map(|part| !refused.contains(part));
    let warnings = lab.host.run(cordon_contain::supported).unwrap();
    assert_eq!(
        warnings.len(),
        [egress, bridge]
            .map(usize::from)
            .iter()
            .fold(2, |n, part| n - part)
    );
    let says = |what: &str| warnings.iter().any(|warning| warning.starts_with(what));
    assert_eq!(says("raw and packet sockets are not stopped"), !egress);
    assert_eq!(
        says("frames between guests on a bridge are not stopped"),
        !egress && !bridge
    );

    let spec = lab::spec();
    let wanted = spec.clone();
    let applied = lab.contain(move |c| c.isolate(&wanted)).unwrap();
    assert_eq!((applied.egress, applied.bridge), (egress, bridge));
    let meaning = |warnings: &[String]| -> Vec<String> {
        let meanings = warnings.iter().filter_map(|said| said.split(':').next());
        meanings.map(str::to_owned).collect()
    };
    assert_eq!(meaning(&applied.warnings), meaning(&warnings));
    let expected: &[&str] = if egress || bridge { &[] } else { &EVERYTHING };
    assert_eq!(guests.passing(), expected);
    assert!(lab.is_shut());
    assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Whole);
    assert_eq!(lab.contain(Containment::repair).unwrap(), None);
    let recovered = lab.contain(Containment::recover).unwrap();
    assert_eq!(recovered, Recovered::Adopted(spec));
    lab.release();
    assert!(lab.is_open());
    assert_eq!(guests.passing(), EVERYTHING);
}

/// PATH with an `nft` in front that refuses batches with [`REFUSED`] words, as a kernel without the part does.
fn refusing_nft(folder: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path)
        .map(|folder| folder.join("nft"))
        .find(|nft| nft.exists())
        .expect("nft not found: install nftables");
    let script = format!(
        "#!/bin/sh
case \"$*\" in *-f*) ;; *) exec {real} \"$@\" ;; esac
batch=$(cat)
for word in ${REFUSED}; do
  case \"$batch\" in *\"$word\"*)
    echo 'Error: Could not process rule: Operation not supported' >&2; exit 1 ;;
  esac
done
printf %s \"$batch\" | {real} \"$@\"
",
        real = real.display()
    );
    let nft = folder.join("nft");
    fs::write(&nft, script).unwrap();
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{path}", folder.display())
}
