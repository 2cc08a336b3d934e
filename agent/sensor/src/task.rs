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

/// A source that [`wait`] wakes for when it can be read.
pub(crate) fn readable(source: &impl AsFd) -> PollFd<'_> {
    PollFd::new(source.as_fd(), PollFlags::POLLIN)
}

/// Sleeps until one of `sources` is ready, or until `limit` is over if there is one; true when it is time
/// to stop.
pub(crate) fn wait<'a>(
    sources: impl IntoIterator<Item = PollFd<'a>>,
    stopped: &'a PipeReader,
    limit: Option<Duration>,
) -> bool {
    let mut fds = vec![readable(stopped)];
    fds.extend(sources);
    let limit = limit.map_or(PollTimeout::NONE, |limit| {
        PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
    });
    // An interrupted poll is an early wake-up, and that harms nobody.
    poll(&mut fds, limit).is_ok() && fds[0].any().unwrap_or(false)
}

/// Sleeps for `time`; true when it is time to stop.
pub(crate) fn nap(stopped: &PipeReader, time: Duration) -> bool {
    wait([], stopped, Some(time))
}

/// Whether it is time to stop.
pub(crate) fn is_over(stopped: &PipeReader) -> bool {
    nap(stopped, Duration::ZERO)
}
