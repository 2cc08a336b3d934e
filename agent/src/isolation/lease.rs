//! The time that the lease of an isolation on disk is counted by.

use cordon_contain::{Containment, IsolationSpec, Moment};
use cordon_respond::isolation::Timeline;
use cordon_respond::proposal::Clocks;
use jiff::Timestamp;

use crate::proposals::clocks;

/// A lease on disk, counted on from when it was read, for those who do not run the isolation's machine.
pub struct Lease {
    timeline: Timeline,
    expires_at: Option<Timestamp>,
}

impl Lease {
    /// Of an isolation on disk.
    pub fn of(spec: &IsolationSpec) -> Self {
        let now = clocks(Timestamp::now());
        Self {
            timeline: Timeline::resumed(anchor_of(spec), spec.started_at, now),
            expires_at: spec.lease_expires_at,
        }
    }

    /// By now.
    pub fn is_over(&self) -> bool {
        let time = self.timeline.at(clocks(Timestamp::now()));
        self.expires_at.is_some_and(|at| at <= time)
    }
}

/// A moment of an isolation's time in this boot, if the disk has one.
pub(super) fn anchor_of(spec: &IsolationSpec) -> Option<Clocks> {
    let (boot_ns, wall) = spec.moment.as_ref()?.in_this_boot()?;
    Some(Clocks { wall, boot_ns })
}

/// Sees to it that the disk has one, so that a wall clock that is set from now on changes nothing. The disk that does not
/// take it leaves that to the process that reads it.
pub fn keep_time(containment: &Containment, spec: IsolationSpec) -> IsolationSpec {
    if anchor_of(&spec).is_some() {
        return spec;
    }
    let anchor = Lease::of(&spec).timeline.anchor();
    let kept = IsolationSpec {
        moment: Moment::of_this_boot(anchor.boot_ns, anchor.wall),
        ..spec
    };
    if let Err(error) = containment.intend(&kept) {
        let why = crate::chain(&error);
        tracing::warn!(%why, "the time of the isolation is not on disk");
    }
    kept
}
