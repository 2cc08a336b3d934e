//! A program that the policy lists among those that must not run, in English.

use crate::evidence::Lead;

pub(super) const HOW_IT_WAS_JUDGED: &str = "The policy lists it as a program that must not run.";

/// Of one that was kept from running.
pub(super) const RISK: &str = "It did nothing: it was ended before its first instruction. Whoever brought or started it may have done more, and can try something else.";

/// Of one that was kept from running, on a host that is open.
pub(super) const ADVICE: &str =
    "Find out how it came to the host and who started it; isolate the host if nobody can say.";

pub(super) fn title(host: &str, lead: &Lead) -> String {
    if lead.process.is_empty() {
        format!("Forbidden program on {host}")
    } else {
        format!("Forbidden program {} on {host}", lead.process)
    }
}
