//! The stop challenge on disk and its answers: what stops the agent, what does not, and what guessing costs.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cordon_agent::release_codes::{Permit, Refusal, ReleaseCodes};
use cordon_agent::stop_codes::{self, NotTaken, StopCodes, VALID};
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::policy::Policy;
use cordon_proto::release::{Challenge, Purpose, ReleaseKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use support::key;

const HOST: &str = "01890000-0000-7000-8000-0000abcd1234";
const HOLDER: u8 = 1;

struct Asked {
    dir: tempfile::TempDir,
    now: Timestamp,
}

impl Asked {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            now: "2026-11-26T03:00:00Z".parse().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// As the next process finds it.
    fn codes(&self) -> StopCodes {
        StopCodes::load(self.path(), host())
    }

    fn challenge(&self) -> Challenge {
        let shown = self.codes().challenge(&keys(), self.now);
        shown.challenge.parse().unwrap()
    }

    fn admit(&self, code: &str) -> Result<String, NotTaken> {
        self.codes().admit(code, &keys(), self.now)
    }

    fn answer(&self, seed: u8) -> String {
        self.challenge().answer(&key(seed)).to_string()
    }
}

fn host() -> HostId {
    HOST.parse().unwrap()
}

fn keys() -> Vec<ReleaseKey> {
    vec![ReleaseKey {
        name: "night desk".into(),
        public_key: hex::encode(key(HOLDER).verifying_key().as_bytes()),
    }]
}

const WRONG: &str = "0000-0000-0000-0000";

#[test]
fn a_code_made_from_what_is_shown_is_taken_after_a_restart_and_once() {
    let asked = Asked::new();
    let challenge = asked.challenge();
    assert_eq!(challenge.purpose(), Purpose::Stop);
    assert!(challenge.is_for(host()));
    let code = asked.answer(HOLDER);
    assert_eq!(asked.admit(&code.to_lowercase()).unwrap(), "night desk");
    assert!(!asked.path().join("stop.json").exists());
    let again = asked.admit(&code);
    assert!(matches!(again, Err(NotTaken::Wrong { wrong: 1, .. })));
}

#[test]
fn codes_of_other_keys_hosts_times_and_purposes_stop_nothing() {
    let mut asked = Asked::new();
    let mine = asked.answer(HOLDER);
    let (elsewhere, _) = Challenge::draw_for(Purpose::Stop, [7; 32], HostId::generate(), &[]);
    let isolation = IsolationId::generate();
    let mut release = ReleaseCodes::load(asked.path(), host());
    release.keep(isolation, Some(&keys()), asked.now).unwrap();
    let shown = release.challenge(isolation).unwrap().challenge;
    let opens: Challenge = shown.parse().unwrap();
    for code in [
        asked.answer(9),
        elsewhere.answer(&key(HOLDER)).to_string(),
        opens.answer(&key(HOLDER)).to_string(),
    ] {
        let refused = asked.admit(&code).unwrap_err();
        assert!(matches!(refused, NotTaken::Wrong { .. }), "{refused}");
    }
    // And a code that stops opens nothing.
    let permit = Permit::Code {
        code: mine.clone(),
        reason: "the line is down".into(),
    };
    let refused = release.admit(isolation, &permit, asked.now);
    assert!(matches!(
        refused,
        Err(Refusal::Code(NotTaken::Wrong { .. }))
    ));
    asked.now += VALID;
    let late = asked.admit(&mine);
    assert!(matches!(late, Err(NotTaken::Wrong { .. })));
}

#[test]
fn nothing_on_disk_is_the_code_or_makes_it_and_only_its_owner_reads_it() {
    let asked = Asked::new();
    let code = asked.answer(HOLDER);
    let path = asked.path().join("stop.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(!kept.contains(&code) && !kept.contains(&code.replace('-', "")));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn guessing_is_slowed_over_restarts_and_renewals_and_each_guess_is_reported() {
    let mut asked = Asked::new();
    let typo = asked.admit("hello").unwrap_err();
    assert!(matches!(typo, NotTaken::Typed { .. }) && typo.report().is_none());
    for n in 1..=5 {
        let told = asked.admit(WRONG).unwrap_err().report().unwrap();
        assert!(told.contains(&format!("({n} so far)")), "{told}");
    }
    let right = asked.answer(HOLDER);
    let too_soon = asked.admit(&right).unwrap_err();
    assert!(
        matches!(too_soon, NotTaken::TooSoon { wrong: 5, .. }),
        "{too_soon}"
    );
    assert!(too_soon.report().is_none());
    // Other keys make another challenge, and that is no new chance.
    let mut others = keys();
    others[0].name = "day desk".into();
    let refused = asked.codes().admit(WRONG, &others, asked.now);
    assert!(matches!(refused, Err(NotTaken::TooSoon { .. })));
    asked.now += SignedDuration::from_secs(30);
    let right = asked.answer(HOLDER);
    assert!(asked.admit(&right).is_ok());
}

#[test]
fn guesses_of_another_day_are_forgotten() {
    let mut asked = Asked::new();
    for _ in 0..5 {
        asked.admit(WRONG).unwrap_err();
    }
    asked.now += VALID;
    let refused = asked.admit(WRONG);
    assert!(matches!(refused, Err(NotTaken::Wrong { wrong: 1, .. })));
}

#[test]
fn a_damaged_file_or_a_full_disk_keeps_no_owner_out() {
    let asked = Asked::new();
    let first = asked.challenge();
    for damaged in [&b""[..], b"[]", b"{\"version\": 2}"] {
        std::fs::write(asked.path().join("stop.json"), damaged).unwrap();
        assert_ne!(asked.challenge(), first);
        assert!(asked.admit(&asked.answer(HOLDER)).is_ok());
    }
    let mut codes = StopCodes::load(&asked.path().join("gone"), host());
    let shown = codes.challenge(&keys(), asked.now).challenge;
    let challenge: Challenge = shown.parse().unwrap();
    let code = challenge.answer(&key(HOLDER)).to_string();
    assert!(codes.admit(&code, &keys(), asked.now).is_ok());
}

#[test]
fn only_a_policy_that_says_so_takes_a_code() {
    let mut document = json!({
        "version": 1, "site": "hq", "group": "servers", "mode": "observe",
        "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
        "isolation": { "lease_seconds": 0, "without_proof": "stay_shut", "allow": [] },
        "caps": { "isolations_per_hour": 1 }, "protected_processes": [], "order_keys": [],
        "release_keys": keys(),
    });
    let read = |document: &serde_json::Value| -> Policy {
        serde_json::from_value(document.clone()).unwrap()
    };
    assert!(stop_codes::keys(None).is_none());
    assert!(stop_codes::keys(Some(&read(&document))).is_none());
    document["protection"] = json!({ "stop": "root" });
    assert!(stop_codes::keys(Some(&read(&document))).is_none());
    document["protection"] = json!({ "stop": "code" });
    let policy = read(&document);
    assert_eq!(stop_codes::keys(Some(&policy)), Some(keys().as_slice()));
}
