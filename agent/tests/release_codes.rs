//! The challenge on disk and its answers: what opens a host, what does not, and what guessing costs.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::path::Path;

use cordon_agent::release_codes::{
    LONGEST_WAIT, NotTaken, Permit, Refusal, ReleaseCodes, VALID, root_may_release,
};
use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::release::{Challenge, ReleaseFile, ReleaseKey};
use jiff::{SignedDuration, Timestamp};
use support::key;

const HOST: &str = "01890000-0000-7000-8000-0000abcd1234";
const HOLDER: u8 = 1;

struct Cut {
    dir: tempfile::TempDir,
    isolation: IsolationId,
    now: Timestamp,
}

impl Cut {
    /// A host that was just isolated.
    fn off() -> Self {
        let cut = Self {
            dir: tempfile::tempdir().unwrap(),
            isolation: IsolationId::generate(),
            now: "2026-11-26T03:00:00Z".parse().unwrap(),
        };
        cut.codes();
        cut
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// As the next process finds it.
    fn codes(&self) -> ReleaseCodes {
        self.codes_of(self.isolation, &[holder("night desk", HOLDER)])
    }

    fn codes_of(&self, isolation: IsolationId, keys: &[ReleaseKey]) -> ReleaseCodes {
        let mut codes = ReleaseCodes::load(self.path(), host());
        codes.keep(isolation, Some(keys), self.now).unwrap();
        codes
    }

    fn challenge(&self) -> Challenge {
        let shown = self.codes().challenge(self.isolation).unwrap();
        shown.challenge.parse().unwrap()
    }

    fn admit(&self, permit: &Permit) -> Result<String, Refusal> {
        self.codes().admit(self.isolation, permit, self.now)
    }
}

fn host() -> HostId {
    HOST.parse().unwrap()
}

fn holder(name: &str, seed: u8) -> ReleaseKey {
    ReleaseKey {
        name: name.into(),
        public_key: hex::encode(key(seed).verifying_key().as_bytes()),
    }
}

fn code(text: &(impl ToString + ?Sized)) -> Permit {
    Permit::Code {
        code: text.to_string(),
        reason: "the line is down".into(),
    }
}

fn file(challenge: Challenge, seed: u8) -> Permit {
    let file = ReleaseFile {
        challenge,
        reason: "carried by Ada".into(),
        issued_at: "2026-11-26T04:00:00Z".parse().unwrap(),
    };
    let json = sign(&file, &key(seed)).to_json();
    Permit::File(Envelope::from_json(&json).unwrap())
}

fn wrong() -> Permit {
    code("0000-0000-0000-0000")
}

#[test]
fn a_code_made_from_what_is_shown_opens_the_host_after_a_restart_and_says_whose_it_was() {
    let cut = Cut::off();
    let answer = cut.challenge().answer(&key(HOLDER));
    let reason = cut.admit(&code(&answer)).unwrap();
    assert_eq!(
        reason,
        "by release code of \"night desk\": the line is down"
    );
}

#[test]
fn nothing_on_disk_is_the_code_or_makes_it() {
    let cut = Cut::off();
    let answer = cut.challenge().answer(&key(HOLDER)).to_string();
    let kept = std::fs::read_to_string(cut.path().join("release.json")).unwrap();
    assert!(!kept.contains(&answer) && !kept.contains(&answer.replace('-', "")));
    let digests = kept.matches("digest").count();
    assert_eq!(digests, 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(cut.path().join("release.json"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn any_of_several_holders_may_answer_and_is_named() {
    let mut cut = Cut::off();
    cut.isolation = IsolationId::generate();
    let keys = [holder("night desk", 1), holder("the safe", 2)];
    let mut codes = cut.codes_of(cut.isolation, &keys);
    let shown = codes.challenge(cut.isolation).unwrap().challenge;
    let challenge: Challenge = shown.parse().unwrap();
    for (seed, name) in [(1, "night desk"), (2, "the safe")] {
        for permit in [
            code(&challenge.answer(&key(seed))),
            file(challenge.clone(), seed),
        ] {
            let reason = codes.admit(cut.isolation, &permit, cut.now).unwrap();
            assert!(reason.contains(&format!("{name:?}")), "{reason}");
        }
    }
}

#[test]
fn a_file_opens_the_host_with_the_reason_that_was_signed() {
    let cut = Cut::off();
    let reason = cut.admit(&file(cut.challenge(), HOLDER)).unwrap();
    assert_eq!(reason, "by release file of \"night desk\": carried by Ada");
}

#[test]
fn answers_of_other_keys_hosts_and_isolations_do_not_open_it() {
    let cut = Cut::off();
    let (elsewhere, _) = Challenge::draw([7; 32], HostId::generate(), &[]);
    let earlier = Cut::off().challenge();
    for challenge in [elsewhere, earlier] {
        let answer = challenge.answer(&key(HOLDER));
        assert!(matches!(
            cut.admit(&code(&answer)),
            Err(Refusal::Code(NotTaken::Wrong { .. }))
        ));
        let refused = cut.admit(&file(challenge, HOLDER));
        assert!(matches!(refused, Err(Refusal::OtherChallenge)));
    }
    let stranger = cut.challenge().answer(&key(9));
    assert!(matches!(
        cut.admit(&code(&stranger)),
        Err(Refusal::Code(NotTaken::Wrong { .. }))
    ));
    let forged = cut.admit(&file(cut.challenge(), 9));
    assert!(matches!(forged, Err(Refusal::File(_))));
}

#[test]
fn a_code_is_used_up_with_its_isolation() {
    let cut = Cut::off();
    let answer = cut.challenge().answer(&key(HOLDER));
    let mut codes = cut.codes();
    codes.admit(cut.isolation, &code(&answer), cut.now).unwrap();
    codes.forget().unwrap();
    assert!(!cut.path().join("release.json").exists());
    let again = codes.admit(cut.isolation, &code(&answer), cut.now);
    assert!(matches!(again, Err(Refusal::NoChallenge)));

    // Isolated again: the same machine, another isolation.
    let next = IsolationId::generate();
    let mut codes = cut.codes_of(next, &[holder("night desk", HOLDER)]);
    let again = codes.admit(next, &code(&answer), cut.now);
    assert!(matches!(
        again,
        Err(Refusal::Code(NotTaken::Wrong { wrong: 1, .. }))
    ));
}

#[test]
fn a_challenge_ends_and_the_next_one_is_there_at_once() {
    let mut cut = Cut::off();
    let first = cut.challenge();
    cut.now += VALID - SignedDuration::from_secs(1);
    assert_eq!(cut.challenge(), first);
    let late = code(&first.answer(&key(HOLDER)));
    let late_file = file(first.clone(), HOLDER);
    cut.now += SignedDuration::from_secs(1);
    let second = cut.challenge();
    assert_ne!(first, second);
    assert!(matches!(
        cut.admit(&late),
        Err(Refusal::Code(NotTaken::Wrong { .. }))
    ));
    assert!(matches!(
        cut.admit(&late_file),
        Err(Refusal::OtherChallenge)
    ));
    assert!(cut.admit(&code(&second.answer(&key(HOLDER)))).is_ok());
}

#[test]
fn other_keys_in_the_policy_make_another_challenge_and_none_makes_none() {
    let cut = Cut::off();
    let first = cut.challenge();
    let codes = cut.codes_of(cut.isolation, &[holder("day desk", 2)]);
    let second = codes.challenge(cut.isolation).unwrap().challenge;
    assert_ne!(second, first.to_string());
    let mut codes = cut.codes_of(cut.isolation, &[]);
    assert!(codes.challenge(cut.isolation).is_none());
    let refused = codes.admit(cut.isolation, &wrong(), cut.now);
    assert!(matches!(refused, Err(Refusal::NoChallenge)));
}

#[test]
fn a_policy_that_cannot_be_read_does_not_take_the_way_back() {
    let mut cut = Cut::off();
    let challenge = cut.challenge();
    let mut codes = ReleaseCodes::load(cut.path(), host());
    codes.keep(cut.isolation, None, cut.now).unwrap();
    let shown = codes.challenge(cut.isolation).unwrap().challenge;
    assert_eq!(shown, challenge.to_string());
    cut.now += VALID;
    codes.keep(cut.isolation, None, cut.now).unwrap();
    let renewed = codes.challenge(cut.isolation).unwrap().challenge;
    assert_ne!(renewed, shown);
    let renewed: Challenge = renewed.parse().unwrap();
    let answer = code(&renewed.answer(&key(HOLDER)));
    assert!(codes.admit(cut.isolation, &answer, cut.now).is_ok());
    assert!(root_may_release(None));
}

#[test]
fn guessing_is_slowed_over_restarts_and_renewals_and_each_guess_is_reported() {
    let mut cut = Cut::off();
    for n in 1..=5 {
        let refused = cut.admit(&wrong()).unwrap_err();
        let told = refused.report().unwrap();
        assert!(told.contains(&format!("({n} so far)")), "{told}");
    }
    let right = code(&cut.challenge().answer(&key(HOLDER)));
    let too_soon = cut.admit(&right).unwrap_err();
    assert!(
        matches!(&too_soon, Refusal::Code(NotTaken::TooSoon { wrong: 5, .. })),
        "{too_soon}"
    );
    assert!(too_soon.to_string().contains("30 s") && too_soon.report().is_none());

    cut.now += SignedDuration::from_secs(30);
    assert!(matches!(
        cut.admit(&wrong()),
        Err(Refusal::Code(NotTaken::Wrong { wrong: 6, .. }))
    ));
    cut.now += SignedDuration::from_secs(30);
    assert!(matches!(
        cut.admit(&right),
        Err(Refusal::Code(NotTaken::TooSoon { .. }))
    ));
    // Another challenge is no new chance.
    cut.codes_of(cut.isolation, &[holder("day desk", HOLDER)]);
    assert!(matches!(
        cut.admit(&wrong()),
        Err(Refusal::Code(NotTaken::TooSoon { .. }))
    ));
    cut.now += SignedDuration::from_secs(30);
    let right = code(&cut.challenge().answer(&key(HOLDER)));
    assert!(cut.admit(&right).is_ok());
}

#[test]
fn however_many_guesses_the_owner_waits_a_quarter_of_an_hour_at_most() {
    let mut cut = Cut::off();
    for _ in 0..40 {
        assert!(matches!(
            cut.admit(&wrong()),
            Err(Refusal::Code(NotTaken::Wrong { .. }))
        ));
        cut.now += LONGEST_WAIT;
    }
    let right = code(&cut.challenge().answer(&key(HOLDER)));
    assert!(cut.admit(&right).is_ok());
}

#[test]
fn a_clock_that_jumps_back_keeps_nobody_out() {
    let mut cut = Cut::off();
    for _ in 0..5 {
        assert!(cut.admit(&wrong()).is_err());
    }
    cut.now -= SignedDuration::from_hours(24 * 365);
    let right = code(&cut.challenge().answer(&key(HOLDER)));
    assert!(matches!(
        cut.admit(&right),
        Err(Refusal::Code(NotTaken::TooSoon { .. }))
    ));
    cut.now += SignedDuration::from_secs(30);
    assert!(cut.admit(&right).is_ok());
}

#[test]
fn what_is_not_a_code_is_no_guess() {
    let cut = Cut::off();
    for text in [
        "",
        "0000",
        "0000-0000-0000-000U",
        "0000 0000 0000 0000 0000",
    ] {
        let refused = cut.admit(&code(text)).unwrap_err();
        assert!(
            matches!(refused, Refusal::Code(NotTaken::Typed { .. })) && refused.report().is_none()
        );
    }
    assert!(matches!(
        cut.admit(&wrong()),
        Err(Refusal::Code(NotTaken::Wrong { wrong: 1, .. }))
    ));
}

#[test]
fn a_damaged_file_gives_way_to_another_challenge() {
    let cut = Cut::off();
    let first = cut.challenge();
    let path = cut.path().join("release.json");
    let whole = std::fs::read(&path).unwrap();
    let other_version = String::from_utf8(whole.clone()).unwrap();
    let other_version = other_version.replacen("\"version\": 1", "\"version\": 2", 1);
    for damaged in [
        &whole[..whole.len() / 2],
        b"",
        b"[]",
        other_version.as_bytes(),
    ] {
        std::fs::write(&path, damaged).unwrap();
        let challenge = cut.challenge();
        assert_ne!(challenge, first);
        assert!(cut.admit(&code(&challenge.answer(&key(HOLDER)))).is_ok());
    }
}

#[test]
fn a_disk_that_takes_no_writes_does_not_keep_the_owner_out() {
    let cut = Cut::off();
    let nowhere = cut.path().join("gone");
    let mut codes = ReleaseCodes::load(&nowhere, host());
    let keys = [holder("night desk", HOLDER)];
    assert!(codes.keep(cut.isolation, Some(&keys), cut.now).is_err());
    let shown = codes.challenge(cut.isolation).unwrap().challenge;
    let challenge: Challenge = shown.parse().unwrap();
    let guess = codes.admit(cut.isolation, &wrong(), cut.now);
    assert!(matches!(guess, Err(Refusal::Code(NotTaken::Wrong { .. }))));
    let answer = code(&challenge.answer(&key(HOLDER)));
    assert!(codes.admit(cut.isolation, &answer, cut.now).is_ok());
}
