//! `cordonctl release-code` and `release-key`: with the controller's records, and with nothing but a key.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod site;

use std::process::Output;

use cordon_proto::envelope::Envelope;
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::release::{Challenge, Purpose, ReleaseFile, ReleaseKey};
use cordon_store::{
    CertificateFacts, IncomingRecord, NewHost, NewJoinToken, Reading, SecretHash, Store,
};
use ed25519_dalek::VerifyingKey;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use site::{Site, program, stderr};

const BOOT: &str = "00000000-0000-4000-8000-000000000001";
const SEED: [u8; 32] = [8; 32];

/// On a machine that has no controller, by the key alone.
fn offline(site: &Site, arguments: &[&str]) -> Output {
    let key = site.data().join("keys/release.key");
    program("cordonctl", &["--json", "release-code", "--key"])
        .arg(key)
        .args(arguments)
        .output()
        .unwrap()
}

/// The site's release key, as a policy names it.
fn release_key(site: &Site) -> VerifyingKey {
    let public = std::fs::read_to_string(site.data().join("keys/release.pub")).unwrap();
    let named = ReleaseKey {
        name: "site".into(),
        public_key: public.trim().into(),
    };
    named.key().unwrap()
}

fn shown_by(host: HostId, site: &Site) -> (String, String) {
    let (challenge, codes) = Challenge::draw(SEED, host, &[release_key(site)]);
    (challenge.to_string(), codes[0].to_string())
}

#[test]
fn a_typed_challenge_is_answered_with_no_controller_at_all() {
    let site = Site::init();
    let host: HostId = "01890000-0000-7000-8000-0000abcd1234".parse().unwrap();
    let (challenge, code) = shown_by(host, &site);
    let typed = challenge.to_lowercase().replace('-', " ");
    let out = offline(&site, &["--challenge", &typed]);
    assert!(out.status.success(), "{}", stderr(&out));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["code"], code.as_str());
    assert_eq!(said["host_ends_in"], "abcd1234");
}

#[test]
fn a_release_file_is_signed_over_the_challenge_and_the_reason() {
    let site = Site::init();
    let (challenge, _) = shown_by(HostId::generate(), &site);
    let arguments = ["--challenge", &challenge, "--file", "--reason", "no line"];
    let out = offline(&site, &arguments);
    assert!(out.status.success(), "{}", stderr(&out));
    let envelope = Envelope::from_json(out.stdout.trim_ascii()).unwrap();
    let file: ReleaseFile = envelope.open(&[release_key(&site)]).unwrap();
    assert_eq!(file.challenge.to_string(), challenge);
    assert_eq!(file.reason, "no line");
}

#[test]
fn what_is_mistyped_or_missing_is_named_and_nothing_is_answered() {
    let site = Site::init();
    let (challenge, _) = shown_by(HostId::generate(), &site);
    let last = challenge.chars().last().unwrap();
    let other = if last == '7' { '8' } else { '7' };
    let mistyped = format!("{}{other}", &challenge[..challenge.len() - 1]);
    for (arguments, wanted) in [
        (&["--challenge", &mistyped][..], "mistyped"),
        (&["--challenge", "0000-0000"], "64 letters and digits"),
        (&["--challenge", &challenge, "--file"], "--reason"),
        (&["ep1"], "--reason"),
        (
            &["ep1", "--reason", "x", "--challenge", &challenge],
            "--challenge",
        ),
        (&[], "--challenge"),
    ] {
        let out = offline(&site, arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert!(out.stdout.is_empty());
        assert!(stderr(&out).contains(wanted), "{}", stderr(&out));
    }
    let mut command = program("cordonctl", &["release-code", "--challenge", &challenge]);
    let out = command
        .args(["--key", "/nowhere/release.key"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("/nowhere/release.key"));
}

#[test]
fn a_stop_code_is_made_from_a_stop_challenge_and_neither_command_answers_the_others() {
    let site = Site::init();
    let host: HostId = "01890000-0000-7000-8000-0000abcd1234".parse().unwrap();
    let draw = |purpose| Challenge::draw_for(purpose, SEED, host, &[release_key(&site)]);
    let (to_stop, codes) = draw(Purpose::Stop);
    let (to_stop, to_release) = (to_stop.to_string(), draw(Purpose::Release).0.to_string());
    let key = site.data().join("keys/release.key");
    let stop_code = |challenge: &str| {
        let mut command = program("cordonctl", &["--json", "stop-code", "--challenge"]);
        command.arg(challenge).arg("--key").arg(&key);
        command.output().unwrap()
    };
    let out = stop_code(&to_stop.to_lowercase());
    assert!(out.status.success(), "{}", stderr(&out));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["code"], codes[0].to_string().as_str());
    assert_eq!(said["host_ends_in"], "abcd1234");
    for (out, wanted) in [
        (stop_code(&to_release), "release-code"),
        (stop_code("0000-0000"), "64 letters and digits"),
        (offline(&site, &["--challenge", &to_stop]), "stop-code"),
    ] {
        assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
        assert!(out.stdout.is_empty());
        assert!(stderr(&out).contains(wanted), "{}", stderr(&out));
    }
}

#[test]
fn a_new_release_key_never_replaces_a_file() {
    let site = Site::init();
    let path = site.data().join("second.key");
    let path = path.to_str().unwrap();
    let made = site.ctl(&["release-key", path]);
    let named = ReleaseKey {
        name: "second".into(),
        public_key: made["public_key"].as_str().unwrap().into(),
    };
    let (challenge, codes) = Challenge::draw(SEED, HostId::generate(), &[named.key().unwrap()]);
    let challenge = challenge.to_string();
    let said = site.ctl(&["release-code", "--challenge", &challenge, "--key", path]);
    assert_eq!(said["code"], codes[0].to_string().as_str());
    let (code, words) = site.ctl_fails(&["release-key", path]);
    assert_eq!(code, 1);
    assert!(words.contains("second.key"), "{words}");
}

/// Adds a host that reports to be isolated, while nothing is served.
async fn isolated(site: &Site, name: &str, id: HostId, challenge: Option<&str>) {
    let store = Store::open(&site.data().join("cordon.db")).await.unwrap();
    let now = Timestamp::now();
    let token = NewJoinToken {
        hash: SecretHash::of(name),
        group: "servers".to_owned(),
        uses: 1,
        expires_at: now + 1.hours(),
        created_by: "admin".to_owned(),
    };
    store.add_join_token(&token, now).await.unwrap();
    let host = NewHost {
        id,
        name: name.to_owned(),
        machine_id: name.to_owned(),
        public_key: *id.0.as_bytes().repeat(2).first_chunk().unwrap(),
        certificate: CertificateFacts {
            serial: id.to_string(),
            not_after: now + 1.hours(),
        },
    };
    store.enroll(&token.hash, &host, now).await.unwrap();
    let mut body = json!({
        "id": IsolationId::generate(), "state": "confirmed", "reason": "drill", "policy_version": 1,
    });
    if let Some(challenge) = challenge {
        body["release"] = json!({ "challenge": challenge, "expires_at": now + 1.hours() });
    }
    let record = json!({ "at": now, "kind": "isolation", "body": body });
    let record = IncomingRecord {
        sequence: 1,
        json: serde_json::to_vec(&record).unwrap(),
        reading: Reading::Record(Box::new(serde_json::from_value(record).unwrap())),
    };
    store.commit_batch(id, BOOT, &[record], now).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn the_controllers_record_gives_the_code_and_the_audit_trail_says_who_asked() {
    let mut site = Site::init();
    let [web, twin, old, odd] = [(); 4].map(|()| HostId::generate());
    let (challenge, code) = shown_by(web, &site);
    isolated(&site, "web", web, Some(&challenge)).await;
    // It says that it shows what another host shows.
    isolated(&site, "twin", twin, Some(&challenge)).await;
    isolated(&site, "old", old, None).await;
    isolated(&site, "odd", odd, Some("\u{1b}[2J")).await;
    site.serve();
    let said = site.ctl(&["release-code", "web", "--reason", "line cut"]);
    assert_eq!(said["code"], code.as_str());
    assert_eq!(said["host"], web.to_string());
    for (host, wanted) in [
        ("twin", "another host"),
        ("old", "release_keys"),
        ("odd", "no challenge that can be answered"),
        ("nobody", "no host"),
    ] {
        let (exit, words) = site.ctl_fails(&["release-code", host, "--reason", "line cut"]);
        assert_eq!(exit, 4, "{words}");
        assert!(words.contains(wanted), "{words}");
    }
    let trail = site.ctl(&["audit", "show"]);
    let taken: Vec<&Value> = trail.as_array().unwrap().iter().collect();
    let taken = taken
        .iter()
        .filter(|e| e["what"] == "release_challenge.take");
    let targets: Vec<&str> = taken.map(|e| e["target"].as_str().unwrap()).collect();
    assert_eq!(targets.len(), 3, "{targets:?}");
    assert!(
        targets[2].contains("web") && targets[2].ends_with(": line cut"),
        "{targets:?}"
    );
}
