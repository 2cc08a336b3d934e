//! Opening a host without the controller: challenges, codes, signed files, and what policies say of them.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::HostId;
use cordon_proto::policy::{Audience, Policy, PolicyError};
use cordon_proto::release::{
    Challenge, Code, MAX_RELEASE_KEYS, Purpose, ReleaseFile, ReleaseKey, TypedError,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use proptest::prelude::*;
use serde_json::{Value, json};

const HOST: &str = "01890000-0000-7000-8000-0000abcd1234";

fn host() -> HostId {
    HOST.parse().unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seeds: &[u8]) -> Vec<VerifyingKey> {
    seeds.iter().map(|s| key(*s).verifying_key()).collect()
}

/// Both are on paper, on hosts that are cut off now, and in other programs by the time this changes.
#[test]
fn golden_challenge_and_code_v1() {
    let (challenge, codes) = Challenge::draw([8; 32], host(), &public(&[1]));
    insta::assert_snapshot!(format!("{challenge}\n{}", codes[0]));
}

#[test]
fn each_key_has_its_own_code_and_only_holders_can_make_it() {
    let (challenge, codes) = Challenge::draw([8; 32], host(), &public(&[1, 2]));
    assert_eq!(
        codes,
        [challenge.answer(&key(1)), challenge.answer(&key(2))]
    );
    assert_ne!(codes[0], codes[1]);
    assert!(!codes.contains(&challenge.answer(&key(3))));
}

#[test]
fn another_isolation_or_another_host_has_another_code() {
    let keys = public(&[1]);
    let (_, codes) = Challenge::draw([8; 32], host(), &keys);
    let (_, later) = Challenge::draw([9; 32], host(), &keys);
    let (elsewhere, there) = Challenge::draw([8; 32], HostId::generate(), &keys);
    assert!(codes != later && codes != there);
    assert!(!elsewhere.is_for(host()));
}

#[test]
fn a_challenge_says_whose_it_is_and_is_typed_in_any_way() {
    let (challenge, _) = Challenge::draw([8; 32], host(), &[]);
    assert!(challenge.is_for(host()));
    assert_eq!(challenge.host_ends_in(), "abcd1234");
    let shown = challenge.to_string();
    assert_eq!(shown.len(), 79, "a line of a console");
    let bare = shown.replace('-', "");
    let spaced = shown.to_lowercase().replace('-', " \n");
    let lookalikes = shown.replace('0', "o").replace('1', "L");
    for typed in [&shown, &bare, &spaced, &lookalikes] {
        assert_eq!(typed.parse(), Ok(challenge.clone()), "{typed}");
    }
}

#[test]
fn what_is_wrong_with_typed_text_is_said() {
    let shown = Challenge::draw([8; 32], host(), &[]).0.to_string();
    let length = TypedError::Length {
        wanted: 64,
        found: 60,
    };
    assert_eq!(shown[..74].parse::<Challenge>(), Err(length));
    let strange = shown.replacen(|c: char| c != '-', "u", 1);
    assert_eq!(strange.parse::<Challenge>(), Err(TypedError::Letter('u')));
    let wide = shown.replacen(|c: char| c != '-', "é", 1);
    assert_eq!(wide.parse::<Challenge>(), Err(TypedError::Letter('é')));
    assert!("".parse::<Code>().is_err());
    assert!(shown.parse::<Code>().is_err());
}

/// The last public key of a forged challenge makes one code of all release keys: it must not be answered.
#[test]
fn a_challenge_that_anybody_could_answer_is_none() {
    let neutral = [&[1, 0xab, 0xcd, 0x12, 0x34, 1][..], &[0; 31]].concat();
    assert_eq!(
        with_check(&neutral).parse::<Challenge>(),
        Err(TypedError::Forged)
    );
    for unknown in [0, 3, 255] {
        let newer = [&[unknown, 0xab, 0xcd, 0x12, 0x34][..], &[9; 32]].concat();
        assert_eq!(
            with_check(&newer).parse::<Challenge>(),
            Err(TypedError::Version(unknown))
        );
    }
}

/// Of one draw, so that nothing but the purpose tells them apart.
#[test]
fn a_code_for_one_purpose_is_none_for_the_other() {
    let draw = |purpose| Challenge::draw_for(purpose, [8; 32], host(), &public(&[1]));
    let (release, opens) = draw(Purpose::Release);
    let (stop, stops) = draw(Purpose::Stop);
    assert_ne!(release.to_string(), stop.to_string());
    assert_eq!(
        (release.purpose(), stop.purpose()),
        (Purpose::Release, Purpose::Stop)
    );
    assert_ne!(opens, stops);
    assert_eq!(stops, [stop.answer(&key(1))]);
    assert_ne!(opens[0].digest(&release), stops[0].digest(&release));
    // Even the same letters would be kept as something else.
    assert_ne!(opens[0].digest(&release), opens[0].digest(&stop));
    let read: Challenge = stop.to_string().parse().unwrap();
    assert_eq!(read, stop);
    insta::assert_snapshot!(
        "golden_stop_challenge_and_code_v1",
        format!("{stop}\n{}", stops[0])
    );
}

/// Such bytes as a challenge is written, by nothing but the specification.
fn with_check(body: &[u8]) -> String {
    use sha2::Digest as _;
    let check = &sha2::Sha256::digest(body)[..3];
    let bytes = body.iter().chain(check);
    let bits: Vec<u8> = bytes
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let letters = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let five = bits.chunks(5);
    let five = five.map(|five| {
        let number = five.iter().fold(0, |number, bit| number * 2 + bit);
        char::from(letters[usize::from(number)])
    });
    five.collect()
}

#[test]
fn a_code_is_kept_as_a_hash_that_depends_on_the_challenge() {
    let (one, codes) = Challenge::draw([8; 32], host(), &public(&[1]));
    let (other, _) = Challenge::draw([9; 32], host(), &[]);
    let retyped: Code = codes[0].to_string().to_lowercase().parse().unwrap();
    assert_eq!(retyped.digest(&one), codes[0].digest(&one));
    assert_ne!(codes[0].digest(&one), codes[0].digest(&other));
    assert_eq!(format!("{:?}", codes[0]), "Code(..)");
}

#[test]
fn a_file_is_good_by_a_release_key_and_as_nothing_else() {
    let file = ReleaseFile {
        challenge: Challenge::draw([8; 32], host(), &[]).0,
        reason: "the line is down".into(),
        issued_at: "2026-11-01T00:00:00Z".parse().unwrap(),
    };
    let json = sign(&file, &key(1)).to_json();
    let envelope = Envelope::from_json(&json).unwrap();
    assert_eq!(
        envelope.open::<ReleaseFile>(&public(&[2, 1])).unwrap(),
        file
    );
    assert!(envelope.open::<ReleaseFile>(&public(&[2])).is_err());
    assert!(
        envelope
            .open::<cordon_proto::order::Order>(&public(&[1]))
            .is_err()
    );
}

fn policy() -> Value {
    json!({
        "version": 1, "site": "hq", "group": "servers", "mode": "observe",
        "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
        "isolation": { "lease_seconds": 0, "without_proof": "stay_shut", "allow": [] },
        "caps": { "isolations_per_hour": 1 }, "protected_processes": [], "order_keys": [],
    })
}

fn accept(document: &Value) -> Result<Policy, PolicyError> {
    let policy: Policy = serde_json::from_value(document.clone()).unwrap();
    let audience = Audience {
        site: "hq".into(),
        group: "servers".into(),
    };
    Policy::accept(
        &sign(&policy, &key(9)),
        &key(9).verifying_key(),
        &audience,
        None,
    )
}

fn release_key(name: &str, public_key: &str) -> ReleaseKey {
    ReleaseKey {
        name: name.into(),
        public_key: public_key.into(),
    }
}

fn good_key() -> String {
    hex::encode(key(1).verifying_key().as_bytes())
}

/// An agent's policy on disk is an envelope over these very bytes.
#[test]
fn a_policy_of_before_release_keys_is_read_and_written_as_it_was() {
    let read = accept(&policy()).unwrap();
    assert!(read.isolation.local_release && read.release_keys.is_empty());
    assert_eq!(serde_json::to_value(&read).unwrap(), policy());
}

#[test]
fn a_policy_that_would_lock_owners_out_is_refused() {
    let mut strict = policy();
    strict["isolation"]["local_release"] = json!(false);
    let refused = accept(&strict).unwrap_err().to_string();
    assert!(refused.contains("release_keys"), "{refused}");
    strict["release_keys"] = json!([release_key("night desk", &good_key())]);
    let read = accept(&strict).unwrap();
    assert!(!read.isolation.local_release);
    assert_eq!(serde_json::to_value(&read).unwrap(), strict);
}

#[test]
fn senseless_release_keys_are_refused() {
    let good = good_key();
    let neutral = format!("01{}", "00".repeat(31));
    let weak = "00".repeat(32);
    let long = "x".repeat(65);
    for (name, public_key) in [
        ("", good.as_str()),
        (&long, &good),
        ("desk", &neutral),
        ("desk", &weak),
        ("desk", "not hex"),
    ] {
        let mut document = policy();
        document["release_keys"] = json!([release_key(name, public_key)]);
        assert!(accept(&document).is_err(), "{name} {public_key}");
    }
    let mut many = policy();
    many["release_keys"] = json!(vec![release_key("desk", &good); MAX_RELEASE_KEYS + 1]);
    assert!(accept(&many).is_err());
}

proptest! {
    #[test]
    fn whatever_is_drawn_reads_back_and_is_answered(seed in any::<[u8; 32]>(), release in any::<[u8; 32]>()) {
        let release = SigningKey::from_bytes(&release);
        let (challenge, codes) = Challenge::draw(seed, host(), &[release.verifying_key()]);
        let read: Challenge = challenge.to_string().parse().unwrap();
        prop_assert_eq!(&read, &challenge);
        let typed: Code = read.answer(&release).to_string().parse().unwrap();
        prop_assert_eq!(&typed, &codes[0]);
    }

    #[test]
    fn one_wrong_letter_is_noticed(at in any::<prop::sample::Index>(), letter in "[0-9A-HJKMNP-TV-Z]") {
        let shown = Challenge::draw([8; 32], host(), &[]).0.to_string();
        let places: Vec<usize> = (0..shown.len()).filter(|i| &shown[*i..=*i] != "-").collect();
        let at = *at.get(&places);
        prop_assume!(shown[at..=at] != letter);
        let mut typed = shown;
        typed.replace_range(at..=at, &letter);
        prop_assert_eq!(typed.parse::<Challenge>(), Err(TypedError::Check));
    }

    #[test]
    fn typed_text_of_any_kind_is_answered(text in "\\PC{0,90}", letters in "[0-9a-zA-Z \\-]{0,100}") {
        for text in [text, letters] {
            drop(text.parse::<Challenge>());
            if let Ok(code) = text.parse::<Code>() {
                prop_assert_eq!(code.to_string().parse::<Code>(), Ok(code));
            }
        }
    }
}
