//! The list in the kernel, looked at now and then: root can alter it there.

use std::time::Duration;

use cordon_proto::record::{RecordBody, TamperReport};

use super::Worker;

/// How often, when nothing else is to be done.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Worker {
    /// Puts back and reports what somebody has altered.
    pub(super) fn look_after_list(&self) {
        let Some(gate) = &self.gate else {
            return;
        };
        let holds = || {
            let holds = gate.holds(&self.programs.list);
            holds.map_err(|error| crate::chain(&error))
        };
        match holds() {
            Ok(true) => return,
            Ok(false) => self.list(),
            Err(why) => {
                return tracing::error!(%why, "the list in the kernel cannot be looked after");
            }
        }
        self.recorder.record(RecordBody::Tamper(TamperReport {
            what: "the list of programs that must not run was altered in the kernel".to_owned(),
            repaired: holds() == Ok(true),
            micros: 0,
            by: None,
        }));
    }
}
