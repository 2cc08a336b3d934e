//! Policies: signed away from the controller, pushed to it, never made by it.

use std::path::Path;

use cordon_proto::envelope::{Envelope, sign as seal};
use cordon_proto::policy::{Audience, Mode, Policy, Stop};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde_json::json;

use super::args::PolicyCommand;
use super::client::{Client, read, read_file};
use super::show::{Table, time};
use super::{Answer, CtlError};
use crate::http::dto::PolicyView;

pub(super) async fn run(client: &Client<'_>, command: &PolicyCommand) -> Result<Answer, CtlError> {
    match command {
        PolicyCommand::Sign { key, policy } => sign(key, policy),
        PolicyCommand::Push { file } => push(client, file).await,
        PolicyCommand::Show => show(client).await,
    }
}

/// Signs a policy and checks it as an agent will. The answer's text is the envelope, too: it is for a
/// file either way.
fn sign(key_file: &Path, policy_file: &Path) -> Result<Answer, CtlError> {
    let key = read_key(key_file)?;
    let policy: Policy = serde_json::from_slice(&read_file(policy_file)?)
        .map_err(|error| document(policy_file, error))?;
    let envelope = seal(&policy, &key);
    let audience = Audience {
        site: policy.site,
        group: policy.group,
    };
    Policy::accept(&envelope, &key.verifying_key(), &audience, None)
        .map_err(|error| document(policy_file, error))?;
    let json = json!(envelope);
    let text = format!("{json}\n");
    Ok(Answer { json, text })
}

pub(super) fn read_key(file: &Path) -> Result<SigningKey, CtlError> {
    let pem = String::from_utf8(read_file(file)?).map_err(|error| document(file, error))?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|error| document(file, error))
}

pub(super) fn document(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> CtlError {
    CtlError::Document {
        path: path.to_owned(),
        source: source.into(),
    }
}

async fn push(client: &Client<'_>, file: &Path) -> Result<Answer, CtlError> {
    let bytes = read_file(file)?;
    let envelope = Envelope::from_json(&bytes).map_err(|error| document(file, error))?;
    let json = client.post("/policies", &envelope).await?;
    let view: PolicyView = read("/policies", &json)?;
    let text = format!(
        "policy version {} is in force for group {}\n",
        view.version, view.group
    );
    Ok(Answer { json, text })
}

async fn show(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get("/policies").await?;
    let policies: Vec<PolicyView> = read("/policies", &json)?;
    let mut table = Table::new(
        &[
            "GROUP",
            "VERSION",
            "MODE",
            "STOP",
            "ISOLATIONS/HOUR",
            "AT ONCE",
            "ORDERS/HOUR",
            "LEASE",
            "EXPIRES",
            "PUSHED",
        ],
        "no policy was pushed: agents only observe until one is",
    );
    for view in &policies {
        let policy = &view.policy;
        table.row(&[
            &view.group,
            &view.version.to_string(),
            mode_name(policy.mode),
            stop_name(policy.stop),
            &policy.caps.isolations_per_hour.to_string(),
            &at_once(view),
            &policy
                .caps
                .ordered_per_hour
                .map_or_else(|| "none".to_owned(), |cap| cap.to_string()),
            &lease(policy.isolation.lease_seconds),
            &time(policy.expires_at),
            &time(view.pushed_at),
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

/// How many hosts of the group are isolated, or about to be, of those that may be.
fn at_once(view: &PolicyView) -> String {
    match (view.policy.caps.hosts_at_once, view.places_taken) {
        (None, _) => "no cap".to_owned(),
        (Some(cap), Some(taken)) => format!("{taken} of {cap}"),
        (Some(cap), None) => format!("at most {cap}"),
    }
}

fn lease(seconds: u64) -> String {
    match seconds {
        0 => "none".to_owned(),
        seconds => format!("{seconds} s"),
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Recommend => "recommend",
        Mode::Approve => "approve",
        Mode::Autonomous => "autonomous",
    }
}

fn stop_name(stop: Stop) -> &'static str {
    match stop {
        Stop::None => "none",
        Stop::Freeze => "freeze",
        Stop::Kill => "kill",
    }
}
