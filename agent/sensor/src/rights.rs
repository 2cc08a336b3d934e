//! What a process may do, as far as the events told, and when an image made it more.

use cordon_behavior::event::{Credentials, Event, EventBody, Exec};

/// Not told.
const UNKNOWN: u32 = u32::MAX;

/// What a process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    uid: u32,
    euid: u32,
    capabilities: u64,
    /// Effective uid before the last image, and when that came.
    euid_before: u32,
    exec_ns: u64,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            uid: UNKNOWN,
            euid: UNKNOWN,
            capabilities: 0,
            euid_before: UNKNOWN,
            exec_ns: 0,
        }
    }
}

impl Rights {
    /// Effective uid at a time of CLOCK_MONOTONIC that may lie before the last image.
    pub(crate) fn euid_at(&self, mono_ns: u64) -> Option<u32> {
        let euid = if mono_ns < self.exec_ns {
            self.euid_before
        } else {
            self.euid
        };
        (euid != UNKNOWN).then_some(euid)
    }

    /// Real and effective uid now.
    pub(crate) fn ids(&self) -> Option<(u32, u32)> {
        (self.euid != UNKNOWN).then_some((self.uid, self.euid))
    }

    /// After `event` of the same process.
    pub(crate) fn after(self, event: &Event) -> Self {
        match &event.body {
            EventBody::Exec(exec) => Self {
                uid: exec.uid,
                euid: exec.euid,
                capabilities: exec.capabilities,
                euid_before: self.euid,
                exec_ns: event.mono_ns,
            },
            EventBody::Credential(now) if event.mono_ns >= self.exec_ns => Self {
                uid: now.uid,
                euid: now.euid,
                capabilities: now.capabilities.unwrap_or(self.capabilities),
                ..self
            },
            _ => self,
        }
    }

    /// The change that shows by a new image: a set-uid program, one with file capabilities, or a
    /// setuid() before it. `only_capabilities` where the kernel itself tells of the ids.
    pub(crate) fn raised(&self, exec: &Exec, only_capabilities: bool) -> Option<Credentials> {
        if exec.snapshot || self.euid == UNKNOWN {
            return None;
        }
        let same_user = exec.euid == self.euid;
        let gained = exec.capabilities & !self.capabilities != 0;
        let told = if only_capabilities {
            same_user && gained
        } else {
            !same_user || gained
        };
        // Sources that do not tell capabilities leave them empty.
        let told_of = |capabilities: u64| (capabilities != 0).then_some(capabilities);
        told.then_some(Credentials {
            old_euid: Some(self.euid),
            uid: exec.uid,
            euid: exec.euid,
            gid: Some(exec.gid),
            egid: Some(exec.egid),
            old_capabilities: told_of(self.capabilities),
            capabilities: told_of(exec.capabilities),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_behavior::event::ProcessKey;

    fn exec(euid: u32, capabilities: u64) -> Exec {
        Exec {
            uid: 1000,
            euid,
            capabilities,
            ..Exec::default()
        }
    }

    fn event(mono_ns: u64, body: EventBody) -> Event {
        Event {
            mono_ns,
            wall_ns: 0,
            process: ProcessKey::NONE,
            cgroup_id: 0,
            container: None,
            body,
        }
    }

    fn user() -> Rights {
        Rights::default().after(&event(5, EventBody::Exec(Box::new(exec(1000, 0)))))
    }

    #[test]
    fn an_image_with_other_rights_is_told() {
        let rose = user().raised(&exec(0, 0x3f), false).expect("rose");
        assert_eq!((rose.old_euid, rose.uid, rose.euid), (Some(1000), 1000, 0));
        assert!(user().raised(&exec(1000, 1 << 13), false).is_some());
        assert!(user().raised(&exec(1000, 0), false).is_none());
        assert!(user().raised(&exec(0, 0), true).is_none());
        assert!(user().raised(&exec(1000, 1 << 13), true).is_some());
    }

    #[test]
    fn what_was_there_before_or_is_not_known_rose_from_nothing() {
        let snapshot = Exec {
            snapshot: true,
            ..exec(0, 0)
        };
        assert!(user().raised(&snapshot, false).is_none());
        assert!(Rights::default().raised(&exec(0, 0), false).is_none());
    }

    #[test]
    fn a_late_notice_is_about_the_time_before_the_image() {
        let rose = user().after(&event(9, EventBody::Exec(Box::new(exec(0, 0)))));
        assert_eq!(rose.euid_at(8), Some(1000));
        assert_eq!(rose.euid_at(9), Some(0));
        let credentials = Credentials {
            euid: 33,
            ..Credentials::default()
        };
        let late = event(8, EventBody::Credential(Box::new(credentials)));
        assert_eq!(rose.after(&late), rose);
        let next = event(10, EventBody::Credential(Box::new(credentials)));
        assert_eq!(rose.after(&next).ids(), Some((0, 33)));
    }
}
