//! Why a card was not delivered, and whether trying again can help.

use std::time::Duration;

use super::Channel;

const MAX_ANSWER_CHARS: usize = 200;

/// Why a card was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The certificates given to trust cannot be read.
    #[error("cannot set up https for notifications: check that the CA file holds PEM certificates")]
    Trust(#[source] reqwest::Error),
    /// The channel's address cannot be used.
    #[error("notification address cannot be used: {0}; give an http or https URL")]
    BadUrl(String),
    /// Sending now would break the platform's limits; nothing was sent.
    #[error("channel is at its rate limit: wait {} ms", wait.as_millis())]
    Paced {
        /// How long.
        wait: Duration,
    },
    /// The receiver asked for silence.
    #[error("{host} asked to wait {} s before the next notification", wait.as_secs())]
    Muted {
        /// The receiver.
        host: String,
        /// How long.
        wait: Duration,
    },
    /// No answer.
    #[error(
        "cannot reach {host} to notify: check the address, the network and the receiver's certificate"
    )]
    Unreachable {
        /// The receiver.
        host: String,
        /// What went wrong, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that says no, but perhaps not for good.
    #[error("{host} could not take the notification: {answer}")]
    Unwilling {
        /// The receiver.
        host: String,
        /// Its words.
        answer: String,
    },
    /// An answer that says no and will say so again.
    #[error("{host} refused the notification: {answer}; check the channel's address and secret")]
    Refused {
        /// The receiver.
        host: String,
        /// Its words.
        answer: String,
    },
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again until somebody changes the configuration.
    Never,
    /// Not before this time has passed.
    After(Duration),
}

impl NotifyError {
    /// What to do with the card after its `attempt`-th try (from 1). `jitter` in [0, 1) spreads the
    /// retries of many cards; the caller draws it.
    pub fn retry(&self, attempt: u32, jitter: f64) -> Retry {
        match self {
            Self::Trust(_) | Self::BadUrl(_) | Self::Refused { .. } => Retry::Never,
            Self::Paced { wait } | Self::Muted { wait, .. } => Retry::After(*wait),
            Self::Unreachable { .. } | Self::Unwilling { .. } => {
                Retry::After(backoff(attempt, jitter))
            }
        }
    }

    pub(super) fn unreachable(channel: &Channel, source: reqwest::Error) -> Self {
        Self::Unreachable {
            host: channel.host(),
            source: source.without_url(),
        }
    }

    /// By HTTP status: the receiver's own trouble passes, ours does not.
    pub(super) fn refused(channel: &Channel, status: u16, answer: &[u8]) -> Self {
        let (host, answer) = (
            channel.host(),
            format!("status {status}, {}", excerpt(answer)),
        );
        match status {
            408 | 425 | 500..=599 => Self::Unwilling { host, answer },
            _ => Self::Refused { host, answer },
        }
    }
}

/// 2 s, doubled with each try up to 5 minutes, plus up to half of it.
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doubled = 2_u64.saturating_pow(attempt.clamp(1, 16)).min(300);
    Duration::from_secs(doubled).mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// A receiver's words are as hostile as an endpoint's.
pub(super) fn excerpt(answer: &[u8]) -> String {
    cordon_analyst::clean::quoted(&String::from_utf8_lossy(answer), MAX_ANSWER_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_and_is_bounded() {
        let waits: Vec<u64> = (1..=12).map(|n| backoff(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
        assert_eq!(backoff(u32::MAX, 1.0), Duration::from_secs(450));
    }

    #[test]
    fn our_mistakes_are_not_repeated_and_theirs_are() {
        let channel = Channel {
            kind: super::super::Kind::Webhook,
            url: "http://chat.example/token".into(),
            secret: None,
        };
        for (status, wanted) in [
            (400, false),
            (401, false),
            (404, false),
            (302, false),
            (408, true),
            (500, true),
            (503, true),
        ] {
            let retry = NotifyError::refused(&channel, status, b"").retry(1, 0.0);
            assert_eq!(retry != Retry::Never, wanted, "{status}");
        }
    }
}
