//! One table from the store's errors to gRPC codes.

use std::error::Error;
use std::fmt::Write as _;

use cordon_store::StoreError;
use tonic::{Code, Status};

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        write!(text, ": {error}").ok();
        cause = error.source();
    }
    text
}

/// What an agent is told. Causes inside the controller are for the controller's log.
pub(crate) fn status(error: &StoreError) -> Status {
    let code = match error {
        StoreError::Full { .. } => Code::ResourceExhausted,
        StoreError::Locked { .. } => Code::Unavailable,
        StoreError::Token(_) => Code::PermissionDenied,
        StoreError::Unknown { .. } => Code::NotFound,
        _ => Code::Internal,
    };
    if code == Code::Internal {
        tracing::error!(error = %chain(error), "store failed");
        return Status::internal("the controller's database failed; its log says how");
    }
    Status::new(code, error.to_string())
}
