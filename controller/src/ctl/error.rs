//! Why `cordonctl` failed, and the exit code that says so to a script.

use std::path::PathBuf;
use std::time::Duration;

use cordon_proto::order::OrderState;

use super::Answer;
use super::orders::state_name;
use super::trust::PinError;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The command line does not say enough.
    #[error("{0}")]
    Usage(String),
    /// A file on this machine.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file that was to be made.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The data directory's settings.
    #[error("cannot find the controller by its data directory")]
    Config(#[from] crate::config::ConfigError),
    /// The CA to trust.
    #[error("cannot pin the site's CA")]
    Pin(#[from] PinError),
    /// No answer that can be trusted.
    #[error("cannot reach the controller at {server}: is it running, and is this its site's CA?")]
    Unreachable {
        /// Where it should be.
        server: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered no.
    #[error("the controller refused ({status}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        detail: String,
    },
    /// It answered something else than was asked for.
    #[error("the controller's answer to {path} cannot be read: is it of another version?")]
    Answer {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// No such host, or several.
    #[error("{0}")]
    Host(String),
    /// A document that cannot be used.
    #[error("cannot use {path}")]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The order ended otherwise than asked for.
    #[error("order {id} is {}: {detail}", state_name(*state))]
    Order {
        /// Which.
        id: String,
        /// Its last state.
        state: OrderState,
        /// The last word on it.
        detail: String,
    },
    /// The order may still be carried out.
    #[error(
        "order {id} is still {} after {} s; it stays valid until it expires: `cordonctl order {id}` tells",
        state_name(*state), waited.as_secs()
    )]
    Timeout {
        /// Which.
        id: String,
        /// Its state now.
        state: OrderState,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Files with mistakes in them; what else was found is told.
    #[error("{count} {what} are broken and do not count")]
    Faulty {
        /// How many mistakes.
        count: usize,
        /// In what.
        what: &'static str,
        /// What is told all the same.
        answer: Box<Answer>,
    },
    /// An exception of what people called malicious.
    #[error(
        "nothing was written: the exception would have hidden {count} stories that people called malicious; make it narrower, or give --force\n  {named}"
    )]
    Hides {
        /// How many.
        count: u64,
        /// The first of them, a line each.
        named: String,
    },
    /// The audit trail was changed or cut.
    #[error("audit trail does not hold: {0}")]
    Audit(String),
}

impl CtlError {
    /// As `docs/controller.md` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Config(_)
            | Self::Document { .. }
            | Self::Answer { .. }
            | Self::Faulty { .. } => 1,
            Self::Usage(_) | Self::Pin(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Refused { .. } | Self::Host(_) => 4,
            Self::Order { .. } => 5,
            Self::Timeout { .. } => 6,
            Self::Audit(_) => 7,
            Self::Hides { .. } => 8,
        }
    }

    /// What is told before the error is.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Faulty { answer, .. } => Some(answer),
            _ => None,
        }
    }
}
