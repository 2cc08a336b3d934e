//! Why something is told.

use std::ops::{BitOr, BitOrAssign};

use cordon_behavior::event::Sensitivity;

/// Reasons to watch a name, any number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tell(u8);

impl Tell {
    /// Changes are told.
    pub(super) const WATCHED: Self = Self(1);
    /// Reads are told too.
    pub(super) const SECRET: Self = Self(2);
    /// Everything is told.
    pub(super) const DECOY: Self = Self(4);
    /// Only that a mode with set-uid or set-gid was given.
    pub(super) const SET_ID: Self = Self(8);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether more than a mode is told.
    pub(super) fn is_of_changes(self) -> bool {
        self.has(Self::WATCHED) || self.is_of_reads()
    }

    /// Whether reads are told.
    pub(super) fn is_of_reads(self) -> bool {
        self.has(Self::SECRET) || self.has(Self::DECOY)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The gravest reason.
    pub(super) fn sensitivity(self) -> Sensitivity {
        if self.has(Self::DECOY) {
            Sensitivity::Decoy
        } else if self.has(Self::SECRET) {
            Sensitivity::Secret
        } else {
            Sensitivity::Watched
        }
    }
}

impl BitOr for Tell {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Tell {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}
