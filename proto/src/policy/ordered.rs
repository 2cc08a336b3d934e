//! What people may order hosts to do besides isolation.

use super::Policy;
use crate::order::{STEPS, UNDOS};

impl Policy {
    /// A key that may sign a step has a cap, and what undoes the step can be signed too.
    pub(super) fn check_ordered(&self) -> Result<(), String> {
        let signed = STEPS.into_iter().filter(|verb| self.has_keys_for(&[verb]));
        for verb in signed {
            if self.caps.ordered_per_hour.is_none() {
                return Err(format!(
                    "order_keys: a key may sign {verb}, and caps has no ordered_per_hour: say how many such orders one host carries out in an hour"
                ));
            }
            let undo = UNDOS.iter().find(|(step, _)| *step == verb);
            if let Some((_, undo)) = undo
                && !self.has_keys_for(&[undo])
            {
                return Err(format!(
                    "order_keys: a key may sign {verb}, and none may sign {undo}: list it too, or nobody could undo the one by the other"
                ));
            }
        }
        Ok(())
    }
}
