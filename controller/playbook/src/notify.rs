//! One card to one channel: a generic JSON webhook, or Feishu's signed custom bot.
//!
//! Sending is at-least-once from the caller's queue: [`send`] tries once and says by
//! [`NotifyError::retry`] whether and when to try again. It keeps each channel within the limits
//! that the platform states, and stays silent towards a channel that asked for it, so that a muted
//! channel loses nothing: the caller's queue keeps the card and its urgency.
//!
//! Text in a card is hostile (it quotes endpoints). It goes out as plain text only: no markdown, no
//! mention, no link but the controller's own.

mod card;
mod error;
mod feishu;
mod pace;
mod webhook;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};

pub use card::{Card, Language};
pub use error::{NotifyError, Retry, backoff};
use pace::Pace;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// What speaks at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Any receiver of Cordon's own JSON, see `docs/notifications.md`.
    Webhook,
    /// A custom bot of a Feishu (Lark) group.
    Feishu,
}

/// Where to tell.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// What speaks there.
    pub kind: Kind,
    /// `http` or `https`. For Feishu it holds the bot's token: as secret as a password.
    pub url: String,
    /// Signing key, when the receiver checks one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The address without what may be secret in it.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("kind", &self.kind)
            .field("host", &self.host())
            .field("signed", &self.secret.is_some())
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// Whether anything can be sent there at all; for checking configuration when it is read.
    pub fn check(&self) -> Result<(), NotifyError> {
        let url = reqwest::Url::parse(&self.url)
            .map_err(|error| NotifyError::BadUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NotifyError::BadUrl(format!(
                "scheme {} is neither http nor https",
                url.scheme()
            )));
        }
        Ok(())
    }

    /// The host part of the URL: enough to say which channel is meant, and no secret.
    pub fn host(&self) -> String {
        reqwest::Url::parse(&self.url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_else(|| "unreadable address".to_owned())
    }
}

/// Connections and each channel's pace. One for the life of the controller.
pub struct Client {
    http: reqwest::Client,
    pace: Mutex<HashMap<Channel, Pace>>,
}

impl Client {
    /// `trust`: PEM certificates that alone may vouch for an https receiver; the system's when absent.
    pub fn new(trust: Option<&[u8]>) -> Result<Self, NotifyError> {
        // Another part of the process may have chosen the provider already; that is as good.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let http = match trust {
            Some(pem) => {
                let roots =
                    reqwest::Certificate::from_pem_bundle(pem).map_err(NotifyError::Trust)?;
                builder().tls_certs_only(roots).build()
            }
            // A host without any trusted certificate can still notify over plain http.
            None => builder()
                .build()
                .or_else(|_| builder().tls_certs_only([]).build()),
        };
        Ok(Self {
            http: http.map_err(NotifyError::Trust)?,
            pace: Mutex::default(),
        })
    }

    fn admit(&self, channel: &Channel, now: Timestamp) -> Result<(), NotifyError> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.entry(channel.clone())
            .or_default()
            .admit(now)
            .map_err(|wait| NotifyError::Paced { wait })
    }

    fn mute(&self, channel: &Channel, now: Timestamp, wait: Duration) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.entry(channel.clone()).or_default().mute(now, wait);
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("cordon-controller/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry the card, and the token in the URL, to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        // What the controller reaches is decided by its configuration, not by its environment.
        .no_proxy()
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
}

/// Tells `card` to `channel`, once.
pub async fn send(
    client: &Client,
    channel: &Channel,
    card: &Card,
    now: Timestamp,
) -> Result<(), NotifyError> {
    channel.check()?;
    client.admit(channel, now)?;
    let outcome = attempt(client, channel, card, now).await;
    if let Err(NotifyError::Muted { wait, .. }) = &outcome {
        client.mute(channel, now, *wait);
    }
    outcome
}

async fn attempt(
    client: &Client,
    channel: &Channel,
    card: &Card,
    now: Timestamp,
) -> Result<(), NotifyError> {
    let request = client
        .http
        .post(&channel.url)
        .header("content-type", "application/json; charset=utf-8");
    let secret = channel.secret.as_deref();
    let request = match channel.kind {
        Kind::Feishu => request.body(feishu::body(card, secret, now)),
        Kind::Webhook => {
            let body = webhook::body(card);
            webhook::headers(request, &body, secret, now).body(body)
        }
    };
    // The URL holds the bot's token, so it must not ride along in the error.
    let response = request
        .send()
        .await
        .map_err(|error| NotifyError::unreachable(channel, error))?;
    let status = response.status();
    if status.as_u16() == 429
        || (status.as_u16() == 503 && response.headers().contains_key(RETRY_AFTER))
    {
        return Err(NotifyError::Muted {
            host: channel.host(),
            wait: pace::retry_after(response.headers(), now),
        });
    }
    let answer = read(response)
        .await
        .map_err(|error| NotifyError::unreachable(channel, error))?;
    if !status.is_success() {
        return Err(NotifyError::refused(channel, status.as_u16(), &answer));
    }
    match channel.kind {
        Kind::Webhook => Ok(()),
        Kind::Feishu => feishu::check(channel, &answer),
    }
}

/// The answer, or as much of it as is worth reading.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_RESPONSE_BYTES - answer.len();
        answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if answer.len() == MAX_RESPONSE_BYTES {
            break;
        }
    }
    Ok(answer)
}
