//! A process that was stopped on its way out of `execve`, and waits for a word.

use std::io;

use cordon_behavior::event::ProcessKey;

use super::plan::Name;
use super::{name_of, ticks_per_second};

/// A process, by name: nobody else who was given its pid is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldProcess(Name);

impl HeldProcess {
    /// The process with this key.
    pub fn of(process: ProcessKey) -> Self {
        Self(name_of(process, ticks_per_second()))
    }

    /// It stands still, and has run nothing of its own. So are those that the agent before this one left behind.
    pub fn is_waiting(self) -> bool {
        self.0.is_stopped() && self.0.user_ticks() == Some(0)
    }

    /// Lets it go on. False when it has ended before.
    pub fn let_go(self) -> io::Result<bool> {
        self.0.signal(libc::SIGCONT)
    }

    /// Ends it. False when it has ended before.
    pub fn kill(self) -> io::Result<bool> {
        self.0.signal(libc::SIGKILL)
    }

    /// Nothing of it runs any more.
    pub fn has_ended(self) -> bool {
        self.0.has_ended()
    }
}
