//! How urgent an incident is.

use std::fmt;

use cordon_proto::verdict::VerdictKind;
use serde::{Deserialize, Serialize};

use crate::attack::Tactic;

/// Urgency, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth keeping.
    Low,
    /// Worth a look today.
    Medium,
    /// Somebody should look now.
    High,
    /// Everything else can wait.
    Critical,
}

impl Severity {
    /// The name in JSON and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What severity depends on. Nothing in it can be worded by an endpoint to lower the result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// The worst verdict; none when a person isolated the host without one.
    pub worst: Option<VerdictKind>,
    /// Tactics of all techniques.
    pub tactics: Vec<Tactic>,
    /// The judged process ran as uid 0.
    pub root: bool,
    /// An isolation was tried and is not there.
    pub isolation_failed: bool,
}

/// Starts at the verdict and goes up one step for each kind of aggravation, never down: an incident
/// that was contained is as severe as it was, since its cause is still unknown.
pub(crate) fn rank(signs: &Signs) -> Severity {
    let mut severity = match signs.worst {
        Some(VerdictKind::Malicious) => Severity::High,
        Some(VerdictKind::Suspicious) => Severity::Medium,
        Some(VerdictKind::Benign | VerdictKind::NotEvaluable) | None => Severity::Low,
    };
    let judged_bad = signs.worst >= Some(VerdictKind::Suspicious);
    if judged_bad && (signs.root || signs.tactics.iter().any(|t| t.is_late())) {
        severity = severity.raised();
    }
    if signs.isolation_failed {
        severity = severity.raised();
    }
    severity
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(worst: VerdictKind) -> Signs {
        Signs {
            worst: Some(worst),
            ..Signs::default()
        }
    }

    #[test]
    fn the_verdict_sets_the_floor() {
        assert_eq!(rank(&Signs::default()), Severity::Low);
        assert_eq!(rank(&signs(VerdictKind::NotEvaluable)), Severity::Low);
        assert_eq!(rank(&signs(VerdictKind::Suspicious)), Severity::Medium);
        assert_eq!(rank(&signs(VerdictKind::Malicious)), Severity::High);
    }

    #[test]
    fn each_aggravation_raises_and_none_lowers() {
        for worst in [
            VerdictKind::NotEvaluable,
            VerdictKind::Benign,
            VerdictKind::Suspicious,
            VerdictKind::Malicious,
        ] {
            let base = rank(&signs(worst));
            for root in [false, true] {
                for tactics in [vec![], vec![Tactic::Discovery], vec![Tactic::Impact]] {
                    for isolation_failed in [false, true] {
                        let aggravated = Signs {
                            worst: Some(worst),
                            tactics: tactics.clone(),
                            root,
                            isolation_failed,
                        };
                        assert!(rank(&aggravated) >= base, "{aggravated:?}");
                        if isolation_failed {
                            assert!(rank(&aggravated) > base || base == Severity::Critical);
                        }
                    }
                }
            }
        }
    }
}
