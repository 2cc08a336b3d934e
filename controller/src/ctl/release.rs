//! Answers to a host's challenge, by a release key that lies on this machine: a code to type that opens it or stops its
//! agent, or a signed file for a stick that opens it.

use std::path::Path;

use cordon_analyst::clean::plain;
use cordon_proto::envelope::{key_id, sign};
use cordon_proto::id::IsolationId;
use cordon_proto::release::{Challenge, Purpose, ReleaseFile};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{ReleaseCodeArgs, StopCodeArgs};
use super::client::{Client, read};
use super::hosts::find;
use super::policy::{document, read_key};
use super::show::time;
use super::{Answer, CtlError};
use crate::http::dto::{HostName, ReleaseChallenge};
use crate::init::new_signing_key;
use crate::layout::Layout;

/// What is answered.
struct Asked {
    challenge: Challenge,
    /// What the controller knows of it.
    told: Option<(HostName, IsolationId, Timestamp)>,
}

pub(super) async fn answer(
    client: &Client<'_>,
    wanted: &ReleaseCodeArgs,
    data: &Path,
) -> Result<Answer, CtlError> {
    let reason = wanted.reason.as_deref().unwrap_or_default();
    if let Some(challenge) = &wanted.challenge {
        check_purpose(challenge, Purpose::Release)?;
    }
    // First, so that nothing is taken down as taken when there is no key to answer with.
    let default = Layout::of(data).release_key();
    let key = read_key(wanted.key.as_ref().unwrap_or(&default))?;
    let asked = match (&wanted.challenge, &wanted.host) {
        (Some(challenge), _) => Asked {
            challenge: challenge.clone(),
            told: None,
        },
        (None, Some(host)) => ask(client, host, reason).await?,
        (None, None) => {
            let missing = "name a host, or give --challenge";
            return Err(CtlError::Usage(missing.to_owned()));
        }
    };
    Ok(if wanted.file {
        as_file(asked, reason, &key)
    } else {
        as_code(&asked, &key)
    })
}

/// The code that stops an agent.
pub(super) fn stop(wanted: &StopCodeArgs, data: &Path) -> Result<Answer, CtlError> {
    let challenge = &wanted.challenge;
    check_purpose(challenge, Purpose::Stop)?;
    let default = Layout::of(data).release_key();
    let key = read_key(wanted.key.as_ref().unwrap_or(&default))?;
    let code = challenge.answer(&key).to_string();
    let tail = challenge.host_ends_in();
    let key = key_id(&key.verifying_key());
    let text = format!(
        "code   {code}\nstops  the agent of the host whose id ends in {tail}: compare it with the host you mean\n       \
         good once, for as long as the host shows this challenge\nkey    {key}\n\n\
         On the host: cordon-agent stop --reason TEXT --code {code}\n"
    );
    let json = json!({ "code": code, "host_ends_in": tail, "key_id": key });
    Ok(Answer { json, text })
}

/// Who answers a challenge is to know what he lets happen by it.
fn check_purpose(challenge: &Challenge, wanted: Purpose) -> Result<(), CtlError> {
    let found = challenge.purpose();
    if found == wanted {
        return Ok(());
    }
    let said = match found {
        Purpose::Release => {
            "an answer to this challenge opens an isolated host: `cordonctl release-code` makes it"
        }
        Purpose::Stop => {
            "an answer to this challenge stops a host's agent: `cordonctl stop-code` makes it"
        }
    };
    Err(CtlError::Usage(said.to_owned()))
}

/// From the controller. A host could report what another one shows: then its own people would be sent to open that one.
async fn ask(client: &Client<'_>, host: &str, reason: &str) -> Result<Asked, CtlError> {
    let host = find(client, host).await?;
    let path = format!("/hosts/{}/release-challenge", host.id);
    let json = client.post(&path, &json!({ "reason": reason })).await?;
    let told: ReleaseChallenge = read(&path, &json)?;
    let bad = |why: String| CtlError::Host(format!("host {} reported {why}", told.host.id));
    let challenge: Challenge = told
        .challenge
        .parse()
        .map_err(|error| bad(format!("no challenge that can be answered: {error}")))?;
    if challenge.purpose() != Purpose::Release {
        return Err(bad("a challenge that opens nothing".to_owned()));
    }
    if !challenge.is_for(host.id) {
        return Err(bad(format!(
            "the challenge of another host, whose id ends in {}: do not answer it, and look into both",
            challenge.host_ends_in()
        )));
    }
    let told = Some((told.host, told.isolation, told.expires_at));
    Ok(Asked { challenge, told })
}

fn as_file(asked: Asked, reason: &str, key: &SigningKey) -> Answer {
    let file = ReleaseFile {
        challenge: asked.challenge,
        reason: reason.to_owned(),
        issued_at: Timestamp::now(),
    };
    let json = json!(sign(&file, key));
    let text = format!("{json}\n");
    Answer { json, text }
}

fn as_code(asked: &Asked, key: &SigningKey) -> Answer {
    let Asked { challenge, told } = asked;
    let code = challenge.answer(key).to_string();
    let tail = challenge.host_ends_in();
    let (host, until) = match told {
        Some((host, isolation, until)) => (
            format!(
                "{} ({}), isolation {isolation}",
                plain(&host.name, 64),
                host.id
            ),
            validity(*until),
        ),
        None => (
            format!("the host whose id ends in {tail}: compare it with the host you mean"),
            "good once, for as long as the host shows this challenge".to_owned(),
        ),
    };
    let key = key_id(&key.verifying_key());
    let text = format!(
        "code   {code}\nopens  {host}\n       {until}\nkey    {key}\n\n\
         On the host: cordon-agent release --reason TEXT --code {code}\n"
    );
    let json = json!({
        "code": code,
        "host": told.as_ref().map_or(Value::Null, |told| json!(told.0.id)),
        "host_ends_in": tail,
        "isolation": told.as_ref().map(|told| told.1),
        "expires_at": told.as_ref().map(|told| told.2),
        "key_id": key,
    });
    Answer { json, text }
}

/// By the controller's clock, and as far as it heard: the host's own clock decides.
fn validity(until: Timestamp) -> String {
    if until > Timestamp::now() {
        return format!("good once, until {}", time(until));
    }
    let ended = time(until);
    format!(
        "good until {ended}, so by now the host shows another challenge: have that one read out"
    )
}

pub(super) fn new_key(file: &Path) -> Result<Answer, CtlError> {
    let public = new_signing_key(file).map_err(|error| document(file, error))?;
    let text = format!("{public}\n");
    let json = json!({ "public_key": public });
    Ok(Answer { json, text })
}
