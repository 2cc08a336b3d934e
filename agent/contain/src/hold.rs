//! Holding an isolation while no daemon does: after a boot, until the daemon has started.

use std::time::{Duration, Instant};

use crate::containment::Containment;
use crate::error::ContainError;
use crate::outcome::Health;
use crate::watch::NftWatch;

/// How often it is asked whether to go on.
const ASK: Duration = Duration::from_secs(1);
/// The rules are also looked at this often when nothing was heard of them.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Containment {
    /// Puts back what is changed and covers devices that appear, as long as an isolation is on disk and `goes_on` says so;
    /// it is asked every second. `changes` is older than the last look at the rules, so that nothing was missed. `mended`
    /// is told what was not whole, and whether it is now.
    ///
    /// A look that fails is told and taken again; it ends when nobody can be heard any more.
    pub fn hold(
        &self,
        changes: &NftWatch,
        mut goes_on: impl FnMut() -> bool,
        mut mended: impl FnMut(Result<Health, ContainError>),
    ) -> Result<(), ContainError> {
        let mut looked_at = Instant::now();
        while self.current().is_some() && goes_on() {
            if !changes.wait(Some(ASK))? && looked_at.elapsed() < LOOK_AGAIN {
                continue;
            }
            looked_at = Instant::now();
            match self.verify() {
                Ok(Health::Whole) => {}
                Ok(health) => mended(self.repair().map(|_| health)),
                Err(error) => mended(Err(error)),
            }
        }
        Ok(())
    }
}
