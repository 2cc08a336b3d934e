//! Which orders about processes, remote ends and files are carried out, and which a policy keeps from it.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::id::OrderId;
use cordon_proto::order::Verb;
use cordon_proto::policy::Policy;
use cordon_respond::block::Never;
use cordon_respond::step::{Denied, Here, admit, unprotected};
use serde_json::json;

const BOOT: &str = "0f3c9a1e-7b1d-4c55-9d0e-1f2a3b4c5d6e";
const CAP: u32 = 3;

fn policy() -> Policy {
    serde_json::from_value(json!({
        "version": 7, "site": "hq", "group": "servers",
        "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
        "mode": "observe",
        "isolation": {"lease_seconds": 3600, "without_proof": "roll_back", "allow": []},
        "caps": {"isolations_per_hour": 0, "ordered_per_hour": CAP},
        "protected_processes": ["/usr/sbin/sshd"],
        "order_keys": [],
    }))
    .unwrap()
}

fn never() -> Never {
    Never {
        controllers: vec!["198.51.100.1".parse().unwrap()],
        protected: ["192.0.2.80", "10.20.0.0/16", "2001:db8:20::/48"]
            .map(|entry| entry.parse().unwrap())
            .to_vec(),
        ..Never::default()
    }
}

fn steps() -> Vec<Verb> {
    [
        json!({"verb": "kill_tree", "process": "0f3c9a1e:412:3210000000"}),
        json!({"verb": "freeze_tree", "process": "0f3c9a1e:412:3210000000"}),
        json!({"verb": "cut_off", "process": "0f3c9a1e:412:3210000000"}),
        json!({"verb": "block_remote", "address": "203.0.113.9", "seconds": 60}),
        json!({"verb": "quarantine_file", "path": "/tmp/x"}),
    ]
    .map(|verb| serde_json::from_value(verb).unwrap())
    .into()
}

fn ask(verb: &Verb, steps_last_hour: u32) -> Result<(), Denied> {
    let never = never();
    let here = Here {
        boot_id: BOOT,
        steps_last_hour,
        never: &never,
    };
    admit(verb, &policy(), here)
}

#[test]
fn steps_are_capped_and_what_undoes_them_is_not() {
    let id = OrderId::generate();
    for step in steps() {
        for count in 0..CAP {
            assert_eq!(ask(&step, count), Ok(()), "{step:?}");
        }
        for count in [CAP, CAP + 1, u32::MAX] {
            let denied = ask(&step, count).unwrap_err();
            let wanted = Denied::Capped {
                count,
                cap: CAP,
                version: 7,
            };
            assert_eq!(denied, wanted);
            assert!(denied.to_string().contains("policy version 7"));
        }
        if let Some(undo) = step.undo(id) {
            assert_eq!(ask(&undo, u32::MAX), Ok(()), "{undo:?}");
        }
    }
}

#[test]
fn a_policy_without_a_cap_lets_nothing_be_ordered() {
    let mut policy = policy();
    policy.caps.ordered_per_hour = None;
    let never = never();
    let here = Here {
        boot_id: BOOT,
        steps_last_hour: 0,
        never: &never,
    };
    for step in steps() {
        let denied = admit(&step, &policy, here).unwrap_err();
        assert!(matches!(denied, Denied::Capped { cap: 0, .. }), "{denied}");
    }
}

#[test]
fn a_process_of_another_boot_is_nobody_here() {
    for verb in ["kill_tree", "freeze_tree", "thaw_tree", "cut_off", "rejoin"] {
        let verb: Verb =
            serde_json::from_value(json!({"verb": verb, "process": "1f3c9a1e:412:3210000000"}))
                .unwrap();
        let denied = ask(&verb, 0).unwrap_err();
        assert!(matches!(denied, Denied::OtherBoot(_)), "{denied}");
    }
}

#[test]
fn whom_no_policy_blocks_nobody_can_order_to_block() {
    for address in [
        "198.51.100.1",
        "::ffff:198.51.100.1",
        "192.0.2.80",
        "10.20.255.255",
        "::ffff:10.20.1.2",
        "2001:db8:20::9",
        "127.0.0.1",
        "::1",
        "fe80::1",
        "224.0.0.1",
        "0.0.0.0",
    ] {
        let verb = Verb::BlockRemote {
            address: address.parse().unwrap(),
            seconds: 60,
        };
        let denied = ask(&verb, 0).unwrap_err();
        assert!(
            matches!(denied, Denied::Never { .. }),
            "{address}: {denied}"
        );
    }
    let verb = Verb::BlockRemote {
        address: "10.20.1.2".parse().unwrap(),
        seconds: 60,
    };
    assert_eq!(
        ask(&verb, 0).unwrap_err().to_string(),
        "10.20.1.2 is not blocked: in 10.20.0.0/16, on the policy's list of protected addresses"
    );
    let beside = Verb::BlockRemote {
        address: "10.21.0.0".parse().unwrap(),
        seconds: 60,
    };
    assert_eq!(ask(&beside, 0), Ok(()));
}

#[test]
fn a_protected_file_is_not_taken_nor_its_process_touched() {
    let verb = Verb::QuarantineFile {
        path: "/usr/sbin/sshd".into(),
        sha256: None,
    };
    let denied = ask(&verb, 0).unwrap_err();
    assert!(denied.to_string().contains("protected"), "{denied}");
    unprotected("/usr/sbin/sshd", &policy()).unwrap_err();
    unprotected("/usr/sbin/sshd2", &policy()).unwrap();
}

#[test]
fn what_is_not_written_as_it_must_be_is_denied_whoever_signed_it() {
    for verb in [
        Verb::BlockRemote {
            address: "203.0.113.9".parse().unwrap(),
            seconds: u64::MAX,
        },
        Verb::QuarantineFile {
            path: "/tmp/../etc/shadow".into(),
            sha256: None,
        },
        Verb::RestoreFile {
            held: "../x".into(),
        },
    ] {
        let denied = ask(&verb, 0).unwrap_err();
        assert!(matches!(denied, Denied::Form(_)), "{denied}");
    }
}
