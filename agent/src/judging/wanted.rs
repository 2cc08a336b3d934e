//! Whether anybody will read the reasons of a verdict.
//!
//! They take twenty times as long to find as the verdict, and a loop makes hundreds of the same a second: who judges
//! would fall behind by seconds, and with it what ends the loop.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How long the engine may take to say so; then they are found unasked.
const PATIENCE: Duration = Duration::from_secs(1);

/// To ask for the reasons. Dropped, they are not found.
#[derive(Debug)]
pub struct Wanted(SyncSender<()>);

/// Waits for the answer.
pub(super) struct Answer(Receiver<()>);

impl Wanted {
    /// With the end that waits.
    pub(super) fn pair() -> (Self, Answer) {
        let (say, hear) = sync_channel(1);
        (Self(say), Answer(hear))
    }

    /// They are to be found, at once.
    pub fn say(self) {
        // Who has waited for too long finds them unasked, and is gone.
        self.0.try_send(()).ok();
    }
}

impl Answer {
    pub(super) fn is_yes(&self) -> bool {
        self.0.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_is_not_wanted() {
        let (wanted, answer) = Wanted::pair();
        wanted.say();
        assert!(answer.is_yes());
        let (wanted, answer) = Wanted::pair();
        drop(wanted);
        assert!(!answer.is_yes());
    }
}
