//! The life of an isolation: in force, killed half-way, its file lost or damaged, proved, opened.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::fs;
use std::io::{ErrorKind, Read};
use std::time::Duration;

use cordon_contain::{ContainError, Containment, Health, ProbeTarget, Recovered};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::policy::Transport;
use cordon_proto::record::Probe;
use lab::{
    CHILD, CONTROLLER4, CONTROLLER6, HOST_PORT, Lab, OUTSIDE4, OUTSIDE6, PORT, at, child, is_child,
    wire,
};

const MARK: Option<u32> = Some(AGENT_SOCKET_MARK);

fn state_file(lab: &Lab) -> std::path::PathBuf {
    lab.state.path().join("isolation.json")
}

#[test]
fn existing_connections_end_and_the_agents_own_go_on() {
    let lab = Lab::new();
    let open = |to, mark| lab.host.run(move || wire::tcp(to, mark, 0).unwrap());
    let mut doomed = [
        open(at(OUTSIDE4, 4444), None),
        open(at(OUTSIDE6, 4444), None),
        open(at(CONTROLLER4, PORT), None),
        open(at(CONTROLLER6, 443), Some(7)),
    ];
    let mut spared = [
        open(at(CONTROLLER4, PORT), MARK),
        open(at(CONTROLLER6, PORT), MARK),
        open(at("127.0.0.1", HOST_PORT), None),
        open(at("::1", HOST_PORT), None),
        open(at(lab::HOST4, HOST_PORT), None),
    ];
    assert!(doomed.iter_mut().chain(&mut spared).all(wire::echoes));

    let spec = lab::spec();
    let applied = lab.contain(move |c| c.isolate(&spec)).unwrap();

    assert_eq!(applied.cut_sockets, doomed.len());
    for stream in &mut doomed {
        // Ended by the kernel at once, not starved into a time-out.
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }
    assert!(spared.iter_mut().all(wire::echoes));
}

#[test]
fn conntrack_forgets_what_was_cut() {
    let lab = Lab::new();
    // A rule that uses conntrack makes the kernel track.
    lab.host.sh("nft add table inet t; nft 'add chain inet t o { type filter hook output priority 0; }'; nft add rule inet t o ct state new counter");
    lab.host.run(|| wire::udp(at(OUTSIDE4, 4444)));
    let mut agent = lab
        .host
        .run(|| wire::tcp(at(CONTROLLER4, PORT), MARK, 0).unwrap());
    let spec = lab::spec();
    let applied = lab.contain(move |c| c.isolate(&spec)).unwrap();
    assert_eq!((applied.cut_conntrack, applied.warnings), (1, vec![]));
    assert!(wire::echoes(&mut agent));
}

#[test]
fn applying_again_changes_nothing_and_a_release_takes_all_away() {
    let lab = Lab::new();
    let spec = lab.isolate();
    let before = lab.ruleset();
    let again = spec.clone();
    lab.contain(move |c| c.isolate(&again)).unwrap();
    assert_eq!(lab.ruleset(), before);
    assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Whole);
    assert_eq!(lab.contain(Containment::current), Some(spec.clone()));

    assert_eq!(lab.contain(Containment::release).unwrap().spec, Some(spec));
    assert!(lab.is_open());
    assert!(!state_file(&lab).exists());
    assert_eq!(lab.contain(Containment::release).unwrap().spec, None);
}

#[test]
fn a_start_finishes_what_was_cut_short() {
    let lab = Lab::new();
    assert_eq!(lab.contain(Containment::recover).unwrap(), Recovered::Open);

    // Killed between the intent and the transaction.
    let spec = lab::spec();
    let intent = spec.clone();
    lab.contain(move |c| c.intend(&intent)).unwrap();
    assert!(lab.is_open());
    let recovered = lab.contain(Containment::recover).unwrap();
    assert!(matches!(recovered, Recovered::Reapplied(found, _) if found == spec));
    assert!(lab.is_shut());

    // Killed while isolated.
    let recovered = lab.contain(Containment::recover).unwrap();
    assert_eq!(recovered, Recovered::Adopted(spec.clone()));

    // Killed between the mark of the release and the removal of the rules.
    let text = fs::read_to_string(state_file(&lab)).unwrap();
    let releasing = text.replace("\"phase\": \"shut\"", "\"phase\": \"releasing\"");
    assert_ne!(text, releasing);
    fs::write(state_file(&lab), releasing).unwrap();
    assert_eq!(lab.contain(Containment::current), None);
    let recovered = lab.contain(Containment::recover).unwrap();
    assert_eq!(recovered, Recovered::Released(spec));
    assert!(lab.is_open());
}

#[test]
fn a_damaged_state_file_follows_the_stated_rule() {
    for damage in ["", "{", "{\"version\":2}", "null", "\u{0}\u{0}"] {
        let lab = Lab::new();
        fs::write(state_file(&lab), damage).unwrap();
        let recovered = lab.contain(Containment::recover).unwrap();
        assert!(
            matches!(recovered, Recovered::OpenDamaged { .. }),
            "{damage:?}"
        );
        assert!(lab.is_open());
        assert!(lab.state.path().join("isolation.json.damaged").exists());

        let mut spec = lab.isolate();
        fs::write(state_file(&lab), damage).unwrap();
        assert!(matches!(
            lab.contain(Containment::verify),
            Err(ContainError::Damaged { .. })
        ));
        let recovered = lab.contain(Containment::recover).unwrap();
        // The kernel keeps no tree, and of the reason what is safe to show.
        spec.tree = None;
        spec.reason = "reverse shell ?x? ??; drop table".into();
        assert_eq!(recovered, Recovered::FromKernel(spec.clone()), "{damage:?}");
        assert!(lab.is_shut());
        assert_eq!(lab.contain(Containment::current), Some(spec));
        assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Whole);
        lab.release();
        assert!(lab.is_open());
    }
}

#[test]
fn a_lost_state_file_does_not_open_the_host_and_a_strange_table_stays_shut() {
    let lab = Lab::new();
    lab.isolate();
    fs::remove_file(state_file(&lab)).unwrap();
    let recovered = lab.contain(Containment::recover).unwrap();
    assert!(matches!(recovered, Recovered::FromKernel(_)));
    lab.release();

    // One that says nothing, and what is left when an isolation loses its other tables.
    let strange = "nft add table inet cordon; nft 'add chain inet cordon output { type filter hook output priority 0; policy drop; }'";
    let left_over = "nft delete table inet cordon; nft delete table netdev cordon";
    for (isolated, edit) in [(false, strange), (true, left_over)] {
        if isolated {
            lab.isolate();
            fs::remove_file(state_file(&lab)).unwrap();
        }
        lab.host.sh(edit);
        let recovered = lab.contain(Containment::recover).unwrap();
        assert!(matches!(recovered, Recovered::ShutUnknown { .. }), "{edit}");
        lab.release();
        assert!(lab.is_open());
    }
}

#[test]
fn a_disk_that_takes_nothing_drops_nothing() {
    let lab = Lab::new();
    // A directory in the place of the temporary file: writing fails whoever asks, root too.
    fs::create_dir(lab.state.path().join("isolation.json.new")).unwrap();
    let spec = lab::spec();
    let refused = lab.contain(move |c| c.isolate(&spec));
    assert!(matches!(refused, Err(ContainError::Disk { .. })));
    assert!(lab.is_open());
}

#[test]
fn rules_do_not_go_in_before_the_intent_is_on_disk() {
    let lab = Lab::new();
    let id = lab::spec().id;
    let refused = lab.contain(move |c| c.apply(id));
    assert!(matches!(refused, Err(ContainError::NotIntended(_))));
    assert!(lab.is_open());
}

#[test]
fn proof_tells_open_from_shut() {
    let lab = Lab::new();
    let probe = |target: &str, reached, expected| Probe {
        target: target.into(),
        reached,
        expected,
    };
    let probes = |reached| {
        vec![
            probe("tcp 10.77.0.10:7443 marked", true, true),
            probe("tcp 10.77.0.10:7443 unmarked", reached, false),
            probe("tcp [fd77::10]:7443 marked", true, true),
            probe("tcp [fd77::10]:7443 unmarked", reached, false),
            probe("tcp 10.77.0.200:4444 unmarked", reached, false),
            probe("udp [fd77::200]:53 unmarked", reached, false),
            // Nobody listens there, but a refusal is an answer.
            probe("tcp 10.77.0.200:1 unmarked", reached, false),
        ]
    };
    let all = || {
        let target = |address, port, transport| ProbeTarget {
            address: at(address, port),
            transport,
        };
        let forbidden = vec![
            target(OUTSIDE4, 4444, Transport::Tcp),
            target(OUTSIDE6, 53, Transport::Udp),
            target(OUTSIDE4, 1, Transport::Tcp),
        ];
        lab.contain(move |c| c.prove(&lab::spec(), &forbidden))
    };
    assert_eq!(all(), probes(true));
    lab.isolate();
    let start = std::time::Instant::now();
    assert_eq!(all(), probes(false));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_kernels_table_says_which_isolation_it_is_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let spec = lab.isolate();
    let rules = lab.ruleset();
    let header = format!(
        "isolation {} since 2026-11-24T12:00:00Z until 2099-01-01T00:00:00Z",
        spec.id
    );
    assert!(rules.contains(&header), "{rules}");
    assert!(rules.contains("reason: reverse shell ?x? ??; drop table"));
    // What nft prints can be read by nft again, whatever the reason was.
    lab.host.sh("nft list ruleset > /dev/stdout | nft -c -f -");
    let mode = fs::metadata(state_file(&lab)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_nft_the_error_names_the_package_and_the_host_stays_open() {
    if !is_child() {
        let output = child("without_nft_the_error_names_the_package_and_the_host_stays_open")
            .env("PATH", "/nonexistent")
            .output()
            .unwrap();
        return assert!(output.status.success(), "{output:?}");
    }
    let node = lab::Node::new();
    let error = node.run(|| {
        let state = tempfile::tempdir().unwrap();
        let containment = Containment::open(state.path(), AGENT_SOCKET_MARK).unwrap();
        let spec = lab::spec();
        let error = containment.isolate(&spec).unwrap_err();
        // Nothing went in, so nothing needs `nft` to come out again.
        assert_eq!(containment.release().unwrap().spec, Some(spec));
        assert_eq!(containment.current(), None);
        error
    });
    assert_eq!(
        error.to_string(),
        "nft not found: install the nftables package"
    );
    let supported = cordon_contain::supported();
    assert!(matches!(supported, Err(ContainError::NftMissing)));
}

/// A namespace outlives its lab only when something still holds it.
#[test]
fn a_killed_test_leaves_nothing_of_its_lab() {
    if is_child() {
        let lab = Lab::new();
        lab.isolate();
        let namespaces = [&lab.host, &lab.peer, &lab.guest].map(|node| node.run(own_namespace));
        fs::write(std::env::var(CHILD).unwrap(), namespaces.join(" ")).unwrap();
        loop {
            std::thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut killed = child("a_killed_test_leaves_nothing_of_its_lab")
        .env(CHILD, &ready)
        .env("TMPDIR", folder.path())
        .spawn()
        .unwrap();
    let mut namespaces = String::new();
    let up = lab::eventually(Duration::from_secs(20), || {
        namespaces = fs::read_to_string(&ready).unwrap_or_default();
        namespaces.split(' ').count() == 3
    });
    let held = |namespace: &str| holders(namespace) > 0;
    let was_held = namespaces.split(' ').all(held);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(up && was_held, "the lab never came up: {namespaces:?}");
    let gone = || !namespaces.split(' ').any(held);
    assert!(lab::eventually(Duration::from_secs(5), gone));
}

fn own_namespace() -> String {
    let link = fs::read_link("/proc/thread-self/ns/net").unwrap();
    link.to_string_lossy().into_owned()
}

/// Threads of this machine that are in a network namespace.
fn holders(namespace: &str) -> usize {
    let mut holders = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // A process that ends meanwhile holds nothing.
        let threads = fs::read_dir(process.path().join("task"));
        for thread in threads.into_iter().flatten().flatten() {
            let link = fs::read_link(thread.path().join("ns/net"));
            holders += usize::from(link.is_ok_and(|link| link.as_os_str() == namespace));
        }
    }
    holders
}

#[test]
fn this_machine_can_be_isolated() {
    let missing = Lab::new().host.run(cordon_contain::supported).unwrap();
    assert_eq!(missing, Vec::<String>::new());
}
