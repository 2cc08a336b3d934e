//! Trading a join token for an identity.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cordon_proto::pb;
use cordon_proto::pb::enrollment_client::EnrollmentClient;
use cordon_proto::policy::Audience;
use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::durable::{self, DiskError};
use crate::host::HostFacts;
use crate::identity::{self, Identity, IdentityError};
use crate::pins::{self, Pins, ResolveError};
use crate::trust::{self, Fingerprint};
use crate::uplink::{ConnectError, channel, connect};

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What the person who enrols says.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// `HOST:PORT` of the controller's agent port.
    pub controller: String,
    /// Of the controller's CA.
    pub ca_fingerprint: Fingerprint,
    /// From `cordonctl token create`.
    pub token: String,
    /// Replace an identity that is there.
    pub force: bool,
}

/// Why this host was not enrolled. Nothing was changed on it.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// There is an identity.
    #[error("this host is enrolled already ({0} exists): use --force to replace its identity")]
    Enrolled(PathBuf),
    /// Not an address.
    #[error("controller address {0:?} is not HOST:PORT, for example controller.example.org:7443")]
    Address(String),
    /// What is on disk.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The controller's name.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The way to the controller, or its certificate.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// HTTP/2 did not come about.
    #[error("the controller does not speak HTTP/2 on that port: check the address")]
    Http(#[source] tonic::transport::Error),
    /// The controller said no.
    #[error("the controller refused to enroll this host: {message}{remedy}")]
    Refused {
        /// What it said.
        message: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It said nothing.
    #[error("the controller did not answer within {} s: look at its log, then try again", ANSWER_LIMIT.as_secs())]
    Silent,
    /// The certificate request could not be made.
    #[error("cannot make a certificate request")]
    Request(#[source] rcgen::Error),
    /// The answer is not an identity.
    #[error("the controller's answer is not a good identity ({0}): are both of one version?")]
    Answer(String),
}

/// Enrols this host and writes its identity. The key is made here and never leaves.
pub async fn enroll(
    state_dir: &Path,
    facts: &HostFacts,
    invitation: &Invitation,
) -> Result<Identity, EnrollError> {
    check_address(&invitation.controller)?;
    // All that can fail on this side fails before the token is used.
    check_state(state_dir, invitation.force)?;
    let key = identity::generate_key();
    let csr_pem = identity::request_pem(&key).map_err(EnrollError::Request)?;
    let addresses = pins::lookup(&invitation.controller).await?;
    let stream = connect(&addresses, trust::by_fingerprint(invitation.ca_fingerprint)).await?;
    let channel = channel(stream).await.map_err(EnrollError::Http)?;
    let request = pb::EnrollRequest {
        join_token: invitation.token.clone(),
        csr_pem,
        hostname: facts.hostname.clone(),
        machine_id: facts.machine_id.clone(),
    };
    let mut client = EnrollmentClient::new(channel);
    let answer = tokio::time::timeout(ANSWER_LIMIT, client.enroll(request)).await;
    let answer = answer.map_err(|_| EnrollError::Silent)?;
    let answer = answer.map_err(|status| refused(&status))?.into_inner();
    let identity = accept(answer, key, invitation).map_err(EnrollError::Answer)?;
    identity.save(state_dir)?;
    Pins::load(state_dir, &invitation.controller).remember(&addresses);
    Ok(identity)
}

fn check_address(controller: &str) -> Result<(), EnrollError> {
    let port = controller
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty());
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if port.is_some_and(|(_, port)| is_port(port)) {
        return Ok(());
    }
    Err(EnrollError::Address(controller.to_owned()))
}

fn check_state(state_dir: &Path, force: bool) -> Result<(), EnrollError> {
    let path = identity::path(state_dir);
    if path.exists() && !force {
        return Err(EnrollError::Enrolled(path));
    }
    durable::make_folder(state_dir)?;
    let trial = state_dir.join("enroll.trial");
    durable::replace(&trial, b"can this be written?")?;
    Ok(durable::remove(&trial)?)
}

/// What the controller says of a token names its own remedy; anything else is in its log.
fn refused(status: &tonic::Status) -> EnrollError {
    use tonic::Code;
    let remedy = match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::NotFound
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::ResourceExhausted => "",
        _ => "; look at the controller's log",
    };
    EnrollError::Refused {
        message: status.message().to_owned(),
        remedy,
    }
}

fn accept(
    answer: pb::EnrollResponse,
    key: SigningKey,
    invitation: &Invitation,
) -> Result<Identity, String> {
    let ca = identity::certificates(&answer.ca_pem)?;
    if Fingerprint::of(&ca[0]) != invitation.ca_fingerprint || ca.len() > 1 {
        return Err("its CA is not the one with the wanted fingerprint".to_owned());
    }
    let validity = identity::check_certificate(&answer.certificate_pem, &key)?;
    let policy_key = answer.policy_key.as_slice().try_into().ok();
    let policy_key = policy_key.and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
    Ok(Identity {
        host: answer
            .host_id
            .parse()
            .map_err(|_| "no host id".to_owned())?,
        audience: Audience {
            site: answer.site,
            group: answer.group,
        },
        controller: invitation.controller.clone(),
        policy_key: policy_key.ok_or("its policy key is not an Ed25519 key")?,
        key,
        certificate_pem: answer.certificate_pem,
        ca_pem: answer.ca_pem,
        validity,
    })
}
