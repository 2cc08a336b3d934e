//! A source's thread, and how it is stopped.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A running thread. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub(crate) struct Task {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Task {
    /// Runs `work` on a thread of its own; it must return soon after its pipe is closed.
    pub(crate) fn spawn(
        name: &str,
        work: impl FnOnce(&PipeReader) + Send + 'static,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // The thread sees the pipe close.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread of the sensor panicked");
        }
    }
}

/// Sleeps for `ms`; true when it is time to stop.
pub(crate) fn pause(stopped: &PipeReader, ms: u16) -> bool {
    let mut fds = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    let woken = poll(&mut fds, PollTimeout::from(ms)).is_ok();
    woken && fds[0].any().unwrap_or(false)
}

/// Sleeps until `source` is readable or `limit_ms` is over; true when it is time to stop.
pub(crate) fn wait(source: &impl AsFd, stopped: &PipeReader, limit_ms: u16) -> bool {
    let mut fds = [
        PollFd::new(source.as_fd(), PollFlags::POLLIN),
        PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
    ];
    // An interrupted poll is an early wake-up, and that harms nobody.
    let woken = poll(&mut fds, PollTimeout::from(limit_ms)).is_ok();
    woken && fds[1].any().unwrap_or(false)
}

/// Sleeps for `time`; true when it is time to stop.
pub(crate) fn nap(stopped: &PipeReader, time: Duration) -> bool {
    let mut fds = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    poll(&mut fds, limit).is_ok() && fds[0].any().unwrap_or(false)
}

/// Whether it is time to stop.
pub(crate) fn is_over(stopped: &PipeReader) -> bool {
    nap(stopped, Duration::ZERO)
}
