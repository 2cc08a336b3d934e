//! Typed ids: a host id cannot be passed where an incident id is meant.
//!
//! Every id is a UUID (RFC 9562), version 7 where Cordon makes it, so that ids sort by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, ordered by the time of the call.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

typed_id!(
    /// An enrolled endpoint.
    HostId
);
typed_id!(
    /// One isolation of one host, from intent to release.
    IsolationId
);
typed_id!(
    /// One order; also its idempotency key.
    OrderId
);
typed_id!(
    /// One incident on the controller.
    IncidentId
);
typed_id!(
    /// One proposal of a host: what it would do if somebody said yes.
    ProposalId
);
