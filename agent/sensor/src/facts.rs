//! What this host knows of an image or a cgroup, looked up in memory as the event passes.
//!
//! [`Facts::enrich`] runs on the way of every event, so it never waits for a disk: what is read from
//! files is read by a thread beside it.

use cordon_behavior::event::Event;

use crate::{CacheUse, SensorConfig};

#[derive(Default)]
pub(crate) struct Facts {}

impl Facts {
    pub(crate) fn new(_config: &SensorConfig) -> Self {
        Self {}
    }

    /// Adds what is known.
    #[expect(clippy::unused_self, reason = "nothing is looked up yet")]
    pub(crate) fn enrich(&mut self, _event: &mut Event) {}

    /// How full its caches are.
    #[expect(clippy::unused_self, reason = "nothing is looked up yet")]
    pub(crate) fn usage(&self) -> Vec<CacheUse> {
        Vec::new()
    }
}
