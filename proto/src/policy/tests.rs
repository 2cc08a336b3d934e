//! What a policy says, and which ones are refused.

// Long because each section of a policy is accepted and refused here.

use super::*;
use crate::envelope::sign;
use ed25519_dalek::SigningKey;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn audience() -> Audience {
    Audience {
        site: "hq".into(),
        group: "servers".into(),
    }
}

fn policy(version: u64) -> Policy {
    Policy {
        version,
        site: "hq".into(),
        group: "servers".into(),
        issued_at: "2026-11-01T00:00:00Z".parse().unwrap(),
        expires_at: "2027-11-01T00:00:00Z".parse().unwrap(),
        mode: Mode::Autonomous,
        thresholds: None,
        isolation: IsolationPolicy {
            lease_seconds: 3600,
            without_proof: WithoutProof::RollBack,
            allow: vec![AllowRule {
                address: "192.0.2.5".parse().unwrap(),
                transport: Transport::Tcp,
                port: 22,
            }],
            local_release: true,
        },
        stop: Stop::None,
        block_remote: None,
        cut_off: false,
        block_isolated: None,
        blocked_programs: BlockedPrograms::default(),
        protected_addresses: Vec::new(),
        approve: None,
        protection: Protection::default(),
        caps: Caps {
            isolations_per_hour: 2,
            hosts_at_once: None,
            ordered_per_hour: None,
            quiet_hours: Vec::new(),
        },
        protected_processes: vec!["/usr/sbin/sshd".into()],
        order_keys: vec![OrderKey {
            public_key: hex::encode(key().verifying_key().as_bytes()),
            verbs: vec!["isolate".into(), "release".into()],
        }],
        release_keys: Vec::new(),
    }
}

fn accept(policy: &Policy, in_force: Option<u64>) -> Result<Policy, PolicyError> {
    let envelope = sign(policy, &key());
    Policy::accept(&envelope, &key().verifying_key(), &audience(), in_force)
}

#[test]
fn golden_policy_v1() {
    insta::assert_json_snapshot!(policy(1));
}

#[test]
fn what_is_done_to_processes_is_written_only_when_it_is_anything() {
    let mut policy = policy(1);
    let json = serde_json::to_value(&policy).unwrap();
    assert!(json.get("stop").is_none());
    assert_eq!(
        serde_json::from_value::<Policy>(json.clone()).unwrap(),
        policy
    );
    for (stop, name) in [(Stop::Freeze, "freeze"), (Stop::Kill, "kill")] {
        policy.stop = stop;
        let written = serde_json::to_value(&policy).unwrap();
        assert_eq!(written["stop"], name);
        assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
    }
    assert!(json.get("cut_off").is_none());
    policy.cut_off = true;
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(written["cut_off"], true);
    assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
    let mut senseless = json;
    senseless["stop"] = "maim".into();
    assert!(serde_json::from_value::<Policy>(senseless).is_err());
}

#[test]
fn a_block_is_written_only_when_there_is_one_and_always_ends() {
    let mut policy = policy(1);
    let json = serde_json::to_value(&policy).unwrap();
    assert!(json.get("block_remote").is_none());
    for (seconds, is_good) in [
        (0, false),
        (1, true),
        (MAX_BLOCK_SECONDS, true),
        (MAX_BLOCK_SECONDS + 1, false),
    ] {
        policy.block_remote = Some(BlockRemote { seconds });
        let written = serde_json::to_value(&policy).unwrap();
        assert_eq!(written["block_remote"]["seconds"], seconds);
        assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
        assert_eq!(accept(&policy, None).is_ok(), is_good, "{seconds}");
    }
    for senseless in [
        serde_json::json!({}),
        serde_json::json!({"seconds": -1}),
        serde_json::json!({"seconds": 60, "port": 443}),
        serde_json::json!(60),
    ] {
        let mut json = json.clone();
        json["block_remote"] = senseless;
        assert!(serde_json::from_value::<Policy>(json).is_err());
    }
}

#[test]
fn isolated_hosts_are_blocked_within_bounds_and_only_when_a_key_may_order_it() {
    let mut policy = policy(1);
    let json = serde_json::to_value(&policy).unwrap();
    assert!(json.get("block_isolated").is_none() && json.get("protected_addresses").is_none());
    let verbs = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let both = verbs(&["block_host", "unblock_host"]);
    let week = MAX_BLOCK_SECONDS;
    for (seconds, hosts, verbs, is_good) in [
        (MIN_BLOCK_ISOLATED_SECONDS, 1, &both, true),
        (week, 4, &both, true),
        (MIN_BLOCK_ISOLATED_SECONDS - 1, 1, &both, false),
        (week + 1, 1, &both, false),
        (600, 0, &both, false),
        (600, 1, &verbs(&["block_host"]), false),
        (600, 1, &verbs(&["isolate", "release"]), false),
    ] {
        policy.block_isolated = Some(BlockIsolated { seconds, hosts });
        policy.order_keys[0].verbs.clone_from(verbs);
        assert_eq!(
            accept(&policy, None).is_ok(),
            is_good,
            "{seconds} {hosts} {verbs:?}"
        );
        let written = serde_json::to_value(&policy).unwrap();
        assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
    }
    for senseless in [
        serde_json::json!({"seconds": 60}),
        serde_json::json!({"seconds": 60, "hosts": 1, "never": []}),
    ] {
        let mut json = json.clone();
        json["block_isolated"] = senseless;
        assert!(serde_json::from_value::<Policy>(json).is_err());
    }
}

#[test]
fn addresses_and_networks_are_protected_and_single_addresses_read_as_ever() {
    let json = serde_json::to_string(&policy(1)).unwrap();
    let with = |list: &str| {
        let field = format!(r#""protected_addresses":{list},"order_keys""#);
        json.replace(r#""order_keys""#, &field)
    };
    // As it was written before an entry could be a network, and as it is written with one.
    for list in [
        r#"["192.0.2.80","2001:db8::5","::ffff:192.0.2.23"]"#,
        r#"["192.0.2.80","10.20.0.0/16","2001:db8:20::/48"]"#,
    ] {
        let signed = with(list);
        let read: Policy = serde_json::from_str(&signed).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), signed);
        assert_eq!(accept(&read, None).unwrap(), read);
    }
    for (list, said) in [
        (r#"["10.20.0.5/16"]"#, "\"10.20.0.5/16\" has bits set"),
        (r#"["192.0.2.80","::/0"]"#, "\"::/0\" protects every"),
        (r#"["db.example"]"#, "\"db.example\" is neither"),
        (r#"[{"network":"10.0.0.0/8"}]"#, "invalid type: map"),
        ("[10]", "invalid type: integer"),
        (r#""10.0.0.0/8""#, "invalid type: string"),
    ] {
        let refused = serde_json::from_str::<Policy>(&with(list)).unwrap_err();
        assert!(refused.to_string().contains(said), "{list}: {refused}");
    }
    let mut many = policy(1);
    many.protected_addresses = vec!["10.0.0.0/8".parse().unwrap(); MAX_PROTECTED_ADDRESSES];
    accept(&many, None).unwrap();
    many.protected_addresses.push("192.0.2.80".parse().unwrap());
    let refused = accept(&many, None).unwrap_err().to_string();
    assert!(refused.contains("4097 entries"), "{refused}");
}

#[test]
fn a_newer_policy_is_accepted_and_an_older_or_equal_one_refused() {
    assert_eq!(accept(&policy(2), Some(1)).unwrap(), policy(2));
    for offered in [1, 2] {
        assert!(matches!(
            accept(&policy(offered), Some(2)),
            Err(PolicyError::NotNewer { .. })
        ));
    }
}

#[test]
fn an_expired_policy_still_protects() {
    let mut old = policy(3);
    old.expires_at = "2001-01-01T00:00:00Z".parse().unwrap();
    assert!(accept(&old, None).is_ok());
}

#[test]
fn another_audience_is_refused() {
    let mut other = policy(1);
    other.group = "desktops".into();
    let refused = accept(&other, None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "policy is for hq/desktops, this host is in hq/servers"
    );
}

#[test]
fn a_wrong_signature_is_refused() {
    let envelope = sign(&policy(1), &SigningKey::from_bytes(&[1; 32]));
    let refused = Policy::accept(&envelope, &key().verifying_key(), &audience(), None);
    assert!(matches!(refused, Err(PolicyError::Envelope(_))));
}

#[test]
fn senseless_thresholds_are_refused() {
    let mut senseless = policy(1);
    senseless.thresholds = Some(Thresholds {
        suspicious: 0.9,
        malicious: 0.5,
    });
    assert!(matches!(
        accept(&senseless, None),
        Err(PolicyError::Invalid(_))
    ));
}

#[test]
fn programs_that_must_not_run_are_listed_by_one_name_each() {
    let with = |paths: &[&str], sha256: &str, bytes: Option<u64>| {
        let files = [BlockedFile {
            sha256: sha256.to_owned(),
            bytes,
        }];
        let blocked_programs = BlockedPrograms {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            files: files.into_iter().filter(|f| !f.sha256.is_empty()).collect(),
        };
        accept(
            &Policy {
                blocked_programs,
                ..policy(1)
            },
            None,
        )
    };
    let digest = "ab".repeat(32);
    with(&["/usr/bin/xmrig", "/x"], &digest, Some(1)).unwrap();
    with(&[], &digest, None).unwrap();
    let long = format!("/{}", "x".repeat(MAX_PROGRAM_PATH_BYTES));
    let bad = [
        "", "x", "/", "//x", "/x/", "/x/../y", "/./x", "/x\0y", &long,
    ];
    for path in bad.into_iter().chain(["/usr/sbin/sshd"]) {
        let refused = with(&[path], "", None).unwrap_err();
        assert!(matches!(refused, PolicyError::Invalid(_)), "{path:?}");
    }
    for (sha256, bytes) in [("ab", None), ("zz", None), (digest.as_str(), Some(0))] {
        with(&[], sha256, bytes).unwrap_err();
    }
    let many = vec!["/x"; MAX_PROGRAM_PATHS + 1];
    with(&many, "", None).unwrap_err();
}

#[test]
fn how_long_a_proposal_waits_is_bounded_and_somebody_may_answer() {
    let mut policy = policy(1);
    assert!(
        serde_json::to_value(&policy)
            .unwrap()
            .get("approve")
            .is_none()
    );
    let verbs = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let both = verbs(&["isolate", "approve", "refuse"]);
    for (seconds, verbs, is_good) in [
        (MIN_APPROVE_SECONDS - 1, &both, false),
        (MIN_APPROVE_SECONDS, &both, true),
        (MAX_APPROVE_SECONDS, &both, true),
        (MAX_APPROVE_SECONDS + 1, &both, false),
        (600, &verbs(&["approve"]), false),
        (600, &verbs(&["isolate", "release"]), false),
    ] {
        policy.approve = Some(Approve {
            seconds,
            unanswered: AfterTime::Nothing,
            offline: AfterTime::Act,
        });
        policy.order_keys[0].verbs.clone_from(verbs);
        assert_eq!(
            accept(&policy, None).is_ok(),
            is_good,
            "{seconds} {verbs:?}"
        );
        let written = serde_json::to_value(&policy).unwrap();
        assert_eq!(
            written["approve"],
            serde_json::json!({"seconds": seconds, "unanswered": "nothing", "offline": "act"})
        );
        assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
    }
    let json = serde_json::to_value(&policy).unwrap();
    for senseless in [
        serde_json::json!({"seconds": 60}),
        serde_json::json!({"seconds": 60, "unanswered": "nothing"}),
        serde_json::json!({"seconds": 60, "unanswered": "maybe", "offline": "act"}),
        serde_json::json!({"seconds": -1, "unanswered": "act", "offline": "act"}),
        serde_json::json!({"seconds": 60, "unanswered": "act", "offline": "act", "who": "all"}),
    ] {
        let mut json = json.clone();
        json["approve"] = senseless.clone();
        assert!(
            serde_json::from_value::<Policy>(json).is_err(),
            "{senseless}"
        );
    }
}

#[test]
fn quiet_hours_are_windows_that_come_in_a_zone_that_is_known() {
    let json = serde_json::to_value(policy(1)).unwrap();
    assert!(json["caps"].get("quiet_hours").is_none());
    let window = serde_json::json!({
        "days": ["mon", "fri"], "from": "22:00", "to": "06:30", "zone": "Europe/Zurich",
    });
    let read = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut window = window.clone();
        change(&mut window);
        let mut json = json.clone();
        json["caps"]["quiet_hours"] = serde_json::json!([window]);
        let policy: Policy = serde_json::from_value(json.clone()).map_err(|e| e.to_string())?;
        assert_eq!(serde_json::to_value(&policy).unwrap(), json);
        accept(&policy, None).map_err(|error| error.to_string())
    };
    assert!(read(&|_| {}).is_ok());
    assert!(read(&|window| window["zone"] = "UTC".into()).is_ok());
    assert!(
        read(&|window| (window["from"], window["to"]) = ("00:00".into(), "24:00".into())).is_ok()
    );
    for (field, senseless, said) in [
        ("days", serde_json::json!([]), "never comes"),
        ("days", serde_json::json!(["mon", "mon"]), "named twice"),
        ("days", serde_json::json!(["monday"]), "unknown variant"),
        ("from", "06:30".into(), "is no window"),
        ("from", "24:00".into(), "is no window"),
        ("from", "25:00".into(), "no time of day"),
        ("to", "6:30".into(), "no time of day"),
        ("to", "06:60".into(), "no time of day"),
        ("to", "+6:30".into(), "no time of day"),
        ("to", 6.into(), "invalid type"),
        ("zone", "Europe/Bern".into(), "is not known"),
        ("zone", "".into(), "is not known"),
        ("zone", "../../etc/passwd".into(), "is not known"),
        ("until", "friday".into(), "unknown field"),
    ] {
        let refused = read(&|window| window[field] = senseless.clone()).unwrap_err();
        assert!(refused.contains(said), "{field} {senseless}: {refused}");
    }
    let mut many = policy(1);
    let window: QuietHours = serde_json::from_value(window.clone()).unwrap();
    many.caps.quiet_hours = vec![window; MOST_QUIET_HOURS + 1];
    assert!(accept(&many, None).is_err());
    many.caps.quiet_hours.pop();
    assert!(accept(&many, None).is_ok());
}

#[test]
fn how_many_hosts_at_once_is_written_only_when_it_is_said_and_is_one_at_least() {
    let json = serde_json::to_value(policy(1)).unwrap();
    assert_eq!(json["caps"], serde_json::json!({"isolations_per_hour": 2}));
    let read = |hosts_at_once: serde_json::Value| {
        let mut json = json.clone();
        json["caps"]["hosts_at_once"] = hosts_at_once;
        let policy: Policy = serde_json::from_value(json.clone()).map_err(|e| e.to_string())?;
        assert_eq!(serde_json::to_value(&policy).unwrap(), json);
        accept(&policy, None).map_err(|error| error.to_string())
    };
    for good in [1, 3, u32::MAX] {
        let policy = read(good.into()).unwrap();
        assert_eq!(policy.caps.hosts_at_once, Some(good));
    }
    for (senseless, said) in [
        (0.into(), "at least 1"),
        ((-1).into(), "invalid value"),
        ((u64::from(u32::MAX) + 1).into(), "invalid value"),
        (serde_json::json!(1.5), "invalid type"),
        ("3".into(), "invalid type"),
    ] {
        let refused = read(senseless).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn who_may_order_steps_has_a_cap_and_can_undo_them() {
    let with = |verbs: &[&str], cap| {
        let mut policy = policy(1);
        policy.order_keys[0].verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        policy.caps.ordered_per_hour = cap;
        accept(&policy, None).map_err(|error| error.to_string())
    };
    with(&["isolate", "release", "thaw_tree"], None).unwrap();
    with(&["kill_tree"], Some(0)).unwrap();
    let all = [
        "freeze_tree",
        "thaw_tree",
        "quarantine_file",
        "restore_file",
    ];
    with(&all, Some(4)).unwrap();
    let uncapped = with(&["kill_tree"], None).unwrap_err();
    assert!(uncapped.contains("ordered_per_hour"), "{uncapped}");
    for (step, undo) in crate::order::UNDOS {
        let refused = with(&[step], Some(4)).unwrap_err();
        assert!(refused.contains(undo), "{refused}");
    }
}

#[test]
fn a_stop_takes_a_code_only_where_somebody_can_make_one() {
    let mut policy = policy(1);
    let json = serde_json::to_value(&policy).unwrap();
    assert!(json.get("protection").is_none());
    policy.protection.stop = MayStop::Code;
    let refused = accept(&policy, None).unwrap_err().to_string();
    assert!(refused.contains("release_keys"), "{refused}");
    policy.release_keys.push(ReleaseKey {
        name: "night desk".into(),
        public_key: hex::encode(key().verifying_key().as_bytes()),
    });
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(written["protection"], serde_json::json!({"stop": "code"}));
    assert_eq!(serde_json::from_value::<Policy>(written).unwrap(), policy);
    assert_eq!(accept(&policy, None).unwrap(), policy);
    for senseless in [
        serde_json::json!({}),
        serde_json::json!({"stop": "never"}),
        serde_json::json!({"stop": true}),
        serde_json::json!({"stop": "code", "kill": "code"}),
        serde_json::json!("code"),
    ] {
        let mut json = json.clone();
        json["protection"] = senseless.clone();
        let read = serde_json::from_value::<Policy>(json);
        assert!(read.is_err(), "{senseless}");
    }
}
