//! Whatever arrives, a decoder answers: a document, or an error. It never panics.
//!
//! Arbitrary bytes rarely get past the first brace, so each decoder is also given its own document
//! with a few bytes changed, cut off or repeated.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

// Long because every document is written out once.

use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::order::{Order, OrderState, Receipt, Verb};
use cordon_proto::pb;
use cordon_proto::policy::{
    AfterTime, AllowRule, Audience, BlockRemote, BlockedPrograms, Caps, IsolationPolicy, MayStop,
    Mode, OrderKey, Policy, Protection, Stop, Thresholds, Transport, WithoutProof,
};
use cordon_proto::record::{
    Actor, AgentAct, AgentReport, ApprovalOutcome, ApprovalReport, BlockAct, BlockReport,
    Detection, IsolationReport, IsolationState, LossReport, PolicyReport, Probe, Proposal,
    QuarantineAct, QuarantineReport, Record, RecordBody, SparedRemote, Steps, StopAct, StopReport,
    StoppedProcess, TamperReport,
};
use cordon_proto::release::{Challenge, Code, Purpose, ReleaseFile, ReleaseKey};
use cordon_proto::verdict::{Reason, Stage, Verdict, VerdictKind};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

const AT: &str = "2026-11-01T00:00:00Z";
const ID: &str = "01890000-0000-7000-8000-000000000001";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn policy() -> Policy {
    Policy {
        version: 3,
        site: "hq".into(),
        group: "servers".into(),
        issued_at: AT.parse().unwrap(),
        expires_at: AT.parse().unwrap(),
        mode: Mode::Autonomous,
        thresholds: Some(Thresholds {
            suspicious: 0.5,
            malicious: 0.9,
        }),
        isolation: IsolationPolicy {
            lease_seconds: 3600,
            without_proof: WithoutProof::StayShut,
            allow: vec![AllowRule {
                address: "2001:db8::5".parse().unwrap(),
                transport: Transport::Udp,
                port: 514,
            }],
            local_release: false,
        },
        stop: Stop::Kill,
        cut_off: true,
        block_remote: Some(BlockRemote { seconds: 3600 }),
        block_isolated: None,
        blocked_programs: BlockedPrograms::default(),
        protected_addresses: ["192.0.2.80", "2001:db8:20::/48"]
            .map(|entry| entry.parse().unwrap())
            .to_vec(),
        approve: None,
        protection: Protection {
            stop: MayStop::Code,
        },
        caps: Caps {
            isolations_per_hour: 2,
            hosts_at_once: None,
            ordered_per_hour: None,
            quiet_hours: Vec::new(),
        },
        protected_processes: vec!["/usr/sbin/sshd".into()],
        order_keys: vec![OrderKey {
            public_key: hex::encode(key().verifying_key().as_bytes()),
            verbs: vec!["release".into()],
        }],
        release_keys: vec![ReleaseKey {
            name: "night desk".into(),
            public_key: hex::encode(key().verifying_key().as_bytes()),
        }],
    }
}

fn order() -> Order {
    Order {
        id: ID.parse().unwrap(),
        host: ID.parse().unwrap(),
        verb: Verb::Isolate { lease_seconds: 60 },
        reason: "reverse shell".into(),
        requested_by: "admin".into(),
        issued_at: AT.parse().unwrap(),
        expires_at: AT.parse().unwrap(),
        undoes: None,
    }
}

fn receipt() -> Receipt {
    Receipt {
        order: ID.parse().unwrap(),
        host: ID.parse::<HostId>().unwrap(),
        state: OrderState::Done,
        at: AT.parse().unwrap(),
        detail: "proved".into(),
        isolation: Some(ID.parse::<IsolationId>().unwrap()),
    }
}

fn verdict() -> Verdict {
    Verdict {
        id: "a1".into(),
        score: 0.97,
        verdict: VerdictKind::Malicious,
        techniques: vec!["T1059.004".into()],
        reasons: vec![Reason {
            text: "standard input is a socket".into(),
            zh: "标准输入为网络套接字".into(),
            weight: 0.4,
        }],
        stage: Stage::Model,
        model: "behavior-1@0123abcd".into(),
        micros: 4100,
    }
}

fn quarantine() -> QuarantineReport {
    QuarantineReport {
        act: QuarantineAct::Taken,
        id: "0123456789abcdef0123456789abcdef".into(),
        path: "/tmp/dropper".into(),
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
        bytes: 0,
        uid: 1000,
        reason: "at the machine: a dropper".into(),
        ordered: None,
    }
}

fn proposal() -> Proposal {
    Proposal {
        id: ID.parse().unwrap(),
        steps: Steps {
            isolate: true,
            stop: Stop::Freeze,
            cut_off: true,
            block: Some(BlockRemote { seconds: 3600 }),
        },
        made_at: AT.parse().unwrap(),
        expires_at: AT.parse().unwrap(),
        unanswered: AfterTime::Nothing,
        offline: AfterTime::Act,
    }
}

fn detection() -> Detection {
    let story = r#"{"id":"a1","process":{"exe":"/bin/sh","argv":["sh","-i"],"stdin":"socket"}}"#;
    Detection {
        tree: "b00t:7:9".into(),
        pid: 7,
        process: None,
        story: serde_json::from_str(story).unwrap(),
        verdict: verdict(),
        policy_version: 3,
        decision: "isolate".into(),
        decision_reason: "malicious".into(),
        decision_reason_zh: "恶意".into(),
        event_mono_ns: 12_345,
        exe_sha256: None,
        proposal: None,
    }
}

fn proposing(detection: &Detection) -> Detection {
    Detection {
        decision: "await_approval".into(),
        proposal: Some(proposal()),
        ..detection.clone()
    }
}

fn approval() -> ApprovalReport {
    ApprovalReport {
        proposal: ID.parse().unwrap(),
        tree: "b00t:7:9".into(),
        outcome: ApprovalOutcome::Offline,
        rule: Some(AfterTime::Act),
        steps: proposal().steps,
        order: None,
        by: None,
        reason: "nobody could answer in time".into(),
        policy_version: 3,
    }
}

fn block() -> BlockReport {
    BlockReport {
        tree: Some("b00t:7:9".into()),
        peer: None,
        act: BlockAct::Blocked,
        reason: "/bin/sh judged malicious".into(),
        addresses: vec![
            "203.0.113.9".parse().unwrap(),
            "2001:db8::9".parse().unwrap(),
        ],
        until: Some(AT.parse().unwrap()),
        spared: vec![SparedRemote {
            address: "198.51.100.1".parse().unwrap(),
            why: "the controller's".into(),
        }],
        cut: 1,
        probes: vec![Probe {
            target: "tcp 203.0.113.9:4444 unmarked".into(),
            reached: false,
            expected: false,
        }],
        proved: true,
        event_to_block_micros: Some(9000),
        policy_version: 3,
        ordered: None,
    }
}

/// One record of every kind.
fn records() -> Vec<Record> {
    let detection = detection();
    let isolation = IsolationReport {
        id: ID.parse().unwrap(),
        state: IsolationState::Confirmed,
        reason: "reverse shell".into(),
        tree: Some("b00t:7:9".into()),
        lease_expires_at: Some(AT.parse().unwrap()),
        rules_sha256: Some("00".repeat(32)),
        probes: vec![Probe {
            target: "tcp 192.0.2.1:7443 marked".into(),
            reached: true,
            expected: true,
        }],
        event_to_drop_micros: Some(9000),
        policy_version: 3,
        release: None,
    };
    let process = |pid, why: &str| StoppedProcess {
        pid,
        exe: "/bin/sh".into(),
        why: why.into(),
    };
    let stop = StopReport {
        tree: Some("b00t:7:9".into()),
        act: StopAct::Killed,
        reason: "/bin/sh judged malicious".into(),
        processes: vec![process(7, "")],
        count: 1,
        survivors: vec![process(8, "")],
        spared: vec![process(9, "protected by the policy")],
        probes: Vec::new(),
        proved: false,
        event_to_stop_micros: Some(9000),
        policy_version: 3,
        ordered: None,
    };
    let proposed = proposing(&detection);
    let bodies = [
        RecordBody::Detection(Box::new(detection)),
        RecordBody::Isolation(Box::new(isolation)),
        RecordBody::Receipt(sign(&receipt(), &key())),
        RecordBody::Policy(PolicyReport {
            version: 3,
            applied: false,
            detail: "not newer".into(),
        }),
        RecordBody::Tamper(TamperReport {
            what: "nftables table inet cordon was gone".into(),
            repaired: true,
            micros: 21_000,
            by: None,
        }),
        RecordBody::Loss(LossReport {
            source: "spool".into(),
            count: 3,
            reason: "over quota".into(),
        }),
        RecordBody::Stop(Box::new(stop)),
        RecordBody::Block(Box::new(block())),
        RecordBody::Quarantine(Box::new(quarantine())),
        RecordBody::Detection(Box::new(proposed)),
        RecordBody::Approval(Box::new(approval())),
        RecordBody::Agent(AgentReport {
            act: AgentAct::Stopped,
            reason: "by stop code of \"night desk\": a new kernel".into(),
            policy_version: 3,
        }),
        RecordBody::Tamper(TamperReport {
            what: "SIGTERM to the agent was refused".into(),
            repaired: true,
            micros: 0,
            by: Some(Actor {
                pid: 7,
                uid: Some(0),
                exe: "/usr/bin/kill".into(),
            }),
        }),
    ];
    let record = |body| Record {
        at: AT.parse().unwrap(),
        body,
    };
    bodies.into_iter().map(record).collect()
}

/// The records that agents of this version have on disk and controllers must still read.
#[test]
fn golden_records_v1() {
    let records = records();
    insta::assert_json_snapshot!(records);
    for record in records {
        reads_back(&record);
    }
}

#[test]
fn golden_receipt_v1() {
    insta::assert_json_snapshot!(receipt());
}

#[test]
fn every_document_reads_back_as_it_was_written() {
    reads_back(&policy());
    reads_back(&order());
    reads_back(&receipt());
    reads_back(&verdict());
    reads_back(&release_file());
}

#[test]
fn golden_release_file_v1() {
    insta::assert_json_snapshot!(release_file());
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(document: &T) {
    let json = serde_json::to_vec(document).unwrap();
    assert_eq!(&serde_json::from_slice::<T>(&json).unwrap(), document);
}

/// Everything that reads bytes of the other end. What comes out does not matter, that it comes does.
fn decode_as_everything(bytes: &[u8]) {
    drop(serde_json::from_slice::<Policy>(bytes));
    drop(serde_json::from_slice::<Order>(bytes));
    drop(serde_json::from_slice::<Receipt>(bytes));
    drop(serde_json::from_slice::<Record>(bytes));
    drop(serde_json::from_slice::<Verdict>(bytes));
    drop(pb::AgentMessage::decode(bytes));
    drop(pb::ControllerMessage::decode(bytes));
    if let Ok(envelope) = Envelope::from_json(bytes) {
        let trusted = key().verifying_key();
        drop(envelope.open::<Receipt>(&[trusted]));
        drop(envelope.open::<ReleaseFile>(&[trusted]));
        drop(Policy::accept(&envelope, &trusted, &audience(), Some(1)));
    }
    let typed = String::from_utf8_lossy(bytes);
    drop(typed.parse::<Challenge>());
    drop(typed.parse::<Code>());
}

fn challenge() -> Challenge {
    Challenge::draw([8; 32], ID.parse().unwrap(), &[]).0
}

fn to_stop() -> Challenge {
    Challenge::draw_for(Purpose::Stop, [8; 32], ID.parse().unwrap(), &[]).0
}

fn release_file() -> ReleaseFile {
    ReleaseFile {
        challenge: challenge(),
        reason: "the line is down".into(),
        issued_at: AT.parse().unwrap(),
    }
}

fn audience() -> Audience {
    Audience {
        site: "hq".into(),
        group: "servers".into(),
    }
}

fn documents() -> Vec<Vec<u8>> {
    let json = |value: serde_json::Result<Vec<u8>>| value.unwrap();
    let mut documents = vec![
        json(serde_json::to_vec(&policy())),
        json(serde_json::to_vec(&order())),
        json(serde_json::to_vec(&receipt())),
        json(serde_json::to_vec(&verdict())),
        sign(&policy(), &key()).to_json(),
        sign(&receipt(), &key()).to_json(),
        sign(&release_file(), &key()).to_json(),
        challenge().to_string().into_bytes(),
        to_stop().to_string().into_bytes(),
        challenge().answer(&key()).to_string().into_bytes(),
    ];
    documents.extend(
        records()
            .iter()
            .map(|record| json(serde_json::to_vec(record))),
    );
    documents
}

/// A signed policy whose payload is any JSON at all: the signature is good, so only the reader's own
/// checks stand between it and the agent.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Anything(serde_json::Value);

impl cordon_proto::envelope::Signed for Anything {
    const PAYLOAD_TYPE: &'static str = <Policy as cordon_proto::envelope::Signed>::PAYLOAD_TYPE;
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,16}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into);
        let map = prop::collection::vec((".{0,8}", inner), 0..4)
            .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect()));
        prop_oneof![list, map]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn damaged_documents_never_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        kept in any::<prop::sample::Index>(),
        cut_off in any::<bool>(),
    ) {
        let documents = documents();
        let mut bytes = documents[which.index(documents.len())].clone();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut_off {
            bytes.truncate(kept.index(bytes.len()));
        }
        decode_as_everything(&bytes);
    }

    #[test]
    fn one_field_of_a_policy_replaced_by_anything_is_never_taken_for_sense(
        field in prop::sample::select(vec![
            "version", "site", "group", "issued_at", "expires_at", "mode", "thresholds", "isolation",
            "caps", "protected_processes", "order_keys", "protection",
        ]),
        value in any_json(),
    ) {
        let mut document = serde_json::to_value(policy()).unwrap();
        document[field] = value.clone();
        let trusted = key().verifying_key();
        let taken = Policy::accept(&sign(&Anything(document), &key()), &trusted, &audience(), None);
        if let Ok(taken) = taken {
            // Whatever was taken says of itself what was signed.
            let read = serde_json::to_value(&taken).unwrap();
            prop_assert!(read.get(field).unwrap_or(&serde_json::Value::Null) == &value, "{read}");
            prop_assert!(taken.version > 0);
        }
    }

    #[test]
    fn any_other_version_than_a_newer_one_is_refused(offered in any::<u64>(), in_force in any::<u64>()) {
        let document = Policy { version: offered, ..policy() };
        let trusted = key().verifying_key();
        let taken = Policy::accept(&sign(&document, &key()), &trusted, &audience(), Some(in_force));
        prop_assert_eq!(taken.is_ok(), offered > in_force);
    }
}
