//! Which orders a host obeys: a row a reason to refuse.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::{Order, Verb};
use cordon_proto::policy::{
    BlockedPrograms, Caps, IsolationPolicy, Mode, OrderKey, Policy, Protection, Stop, WithoutProof,
};
use cordon_respond::order::{Refusal, admit};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use proptest::prelude::*;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn host(n: u8) -> HostId {
    format!("00000000-0000-7000-8000-0000000000{n:02}")
        .parse()
        .unwrap()
}

fn order_id() -> OrderId {
    "00000000-0000-7000-8000-000000000099".parse().unwrap()
}

/// May sign both verbs.
fn full() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// May sign `release` only.
fn releasing() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn stranger() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn policy() -> Policy {
    let may = |key: &SigningKey, verbs: &[&str]| OrderKey {
        public_key: hex::encode(key.verifying_key().as_bytes()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
    };
    Policy {
        version: 1,
        site: "hq".into(),
        group: "servers".into(),
        issued_at: now(),
        expires_at: now(),
        mode: Mode::Observe,
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
            isolations_per_hour: 0,
            hosts_at_once: None,
            ordered_per_hour: None,
            quiet_hours: Vec::new(),
        },
        protected_processes: Vec::new(),
        order_keys: vec![
            may(&full(), &["isolate", "release"]),
            may(&releasing(), &["release"]),
        ],
        release_keys: Vec::new(),
    }
}

fn order(verb: Verb) -> Order {
    Order {
        id: order_id(),
        host: host(1),
        verb,
        reason: "drill".into(),
        requested_by: "admin".into(),
        issued_at: "2026-11-24T11:59:00Z".parse().unwrap(),
        expires_at: "2026-11-24T12:00:01Z".parse().unwrap(),
        undoes: None,
    }
}

fn isolate() -> Order {
    order(Verb::Isolate { lease_seconds: 60 })
}

fn offer(envelope: &Envelope) -> Result<Order, Refusal> {
    admit(envelope, Some(&policy()), host(1), &|_| false, now())
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn a_signed_order_for_this_host_is_obeyed() {
    assert_eq!(offer(&sign(&isolate(), &full())).unwrap(), isolate());
    let release = order(Verb::Release);
    assert_eq!(offer(&sign(&release, &full())).unwrap(), release);
    assert_eq!(offer(&sign(&release, &releasing())).unwrap(), release);
}

#[test]
fn each_refusal_says_why() {
    let other_host = Order {
        host: host(2),
        ..isolate()
    };
    let expired = Order {
        expires_at: now(),
        ..isolate()
    };
    for (envelope, expected) in [
        (
            sign(&isolate(), &stranger()),
            "order envelope refused: no valid signature by a trusted key",
        ),
        (
            sign(&isolate(), &releasing()),
            "signed by a key that the policy does not allow to sign isolate",
        ),
        (
            sign(&other_host, &full()),
            "is for host 00000000-0000-7000-8000-000000000002, this is host",
        ),
        (sign(&expired, &full()), "expired at 2026-11-24T12:00:00Z"),
        (
            sign(&policy(), &full()),
            "order envelope refused: envelope holds",
        ),
    ] {
        let refusal = offer(&envelope).unwrap_err();
        let text = chain(&refusal);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn without_a_policy_no_order_is_obeyed() {
    let refused = admit(&sign(&isolate(), &full()), None, host(1), &|_| false, now());
    assert!(matches!(refused, Err(Refusal::NoPolicy)));
}

#[test]
fn a_repeated_order_is_a_repetition_even_after_it_expired() {
    let late = now() + jiff::SignedDuration::from_hours(1);
    let seen = |id: OrderId| id == order_id();
    let again = admit(
        &sign(&isolate(), &full()),
        Some(&policy()),
        host(1),
        &seen,
        late,
    );
    assert!(matches!(again, Err(Refusal::Seen { order }) if order == order_id()));
}

#[test]
fn a_forged_order_is_not_asked_about() {
    // Whether an id was taken may be told only to whoever can sign one.
    let nobody_asks = |_| panic!("an unsigned id was looked up");
    let forged = sign(&isolate(), &stranger());
    let refused = admit(&forged, Some(&policy()), host(1), &nobody_asks, now()).unwrap_err();
    assert_eq!(refused.order(), None);
}

proptest! {
    #[test]
    fn no_envelope_with_a_changed_byte_is_obeyed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = sign(&isolate(), &full()).to_json();
        let mut changed = good.clone();
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(envelope) = Envelope::from_json(&changed)
            && let Ok(order) = offer(&envelope)
        {
            // The key id is a hint; base64 has spellings of one value. The order is the one signed.
            prop_assert_eq!(order, isolate());
        }
    }
}
