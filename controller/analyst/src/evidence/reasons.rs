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
