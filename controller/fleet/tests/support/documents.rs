//! What flows: keys, a policy, a detection.

use cordon_proto::policy::{
    BlockedPrograms, Caps, IsolationPolicy, Mode, OrderKey, Policy, Protection, Stop, WithoutProof,
};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{GROUP, SITE};

pub fn policy_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub fn order_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

pub fn policy(version: u64) -> Policy {
    let now = Timestamp::now();
    Policy {
        version,
        site: SITE.into(),
        group: GROUP.into(),
        issued_at: now,
        expires_at: now + SignedDuration::from_hours(24),
        mode: Mode::Autonomous,
        thresholds: None,
        isolation: IsolationPolicy {
            lease_seconds: 0,
            without_proof: WithoutProof::StayShut,
            allow: Vec::new(),
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
            isolations_per_hour: 4,
            hosts_at_once: None,
            ordered_per_hour: Some(4),
            quiet_hours: Vec::new(),
        },
        protected_processes: Vec::new(),
        order_keys: vec![OrderKey {
            public_key: hex::encode(order_key().verifying_key().as_bytes()),
            verbs: [
                "isolate",
                "release",
                "freeze_tree",
                "thaw_tree",
                "kill_tree",
            ]
            .map(String::from)
            .to_vec(),
        }],
        release_keys: Vec::new(),
    }
}

pub fn detection(tree: &str) -> Vec<u8> {
    let record: Value = json!({
        "at": Timestamp::now(), "kind": "detection", "body": {
            "tree": tree, "pid": 42, "story": { "id": "a1", "command": "id" },
            "verdict": {
                "id": "a1", "score": 0.97, "verdict": "malicious", "techniques": ["T1059.004"],
                "reasons": [], "stage": "model", "model": "behavior-1@0", "micros": 10,
            },
            "policy_version": 1, "decision": "isolate", "decision_reason": "", "event_mono_ns": 1,
        },
    });
    serde_json::to_vec(&record).unwrap()
}
