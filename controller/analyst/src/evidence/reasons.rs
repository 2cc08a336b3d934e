//! What a verdict was reached by.

use cordon_proto::record::Detection;
use cordon_proto::verdict::Reason;

use super::{MOST_REASONS, REASON_CHARS};
use crate::clean::quoted;

/// Only what raises the score; a reason against it would read as its opposite.
pub(super) fn reasons(detection: &Detection, of: impl Fn(&Reason) -> &str) -> Vec<String> {
    detection
        .verdict
        .reasons
        .iter()
        .filter(|reason| reason.weight > 0.0)
        .take(MOST_REASONS)
        .map(|reason| quoted(of(reason), REASON_CHARS))
        .collect()
}

/// Agents of before told some reasons in English only.
pub(super) fn in_chinese(reason: &Reason) -> &str {
    if reason.zh.is_empty() {
        &reason.text
    } else {
        &reason.zh
    }
}

/// Agents of before told in English only why the policy decided so.
pub(super) fn decision_in_chinese(detection: &Detection) -> &str {
    if detection.decision_reason_zh.is_empty() {
        &detection.decision_reason
    } else {
        &detection.decision_reason_zh
    }
}
