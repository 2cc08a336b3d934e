//! Where the host stands.

use cordon_proto::record::IsolationState;
use jiff::Timestamp;

use crate::IsolationFact;

/// Where the host stands after the last step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    NeverIsolated,
    Shut {
        proved: bool,
        lease_until: Option<Timestamp>,
    },
    Released,
    Failed,
}

pub(super) fn standing(isolations: &[&IsolationFact]) -> Standing {
    let Some(report) = isolations.last().map(|fact| &fact.report) else {
        return Standing::NeverIsolated;
    };
    match report.state {
        IsolationState::Applied | IsolationState::Confirmed | IsolationState::Unproven => {
            Standing::Shut {
                proved: report.state == IsolationState::Confirmed,
                lease_until: report.lease_expires_at,
            }
        }
        IsolationState::Released => Standing::Released,
        IsolationState::Failed => Standing::Failed,
    }
}
