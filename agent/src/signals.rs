//! Signals that ask the agent to end, with who sent them. What is done about one the engine decides.
//!
//! They are blocked in every thread and read from a descriptor, so that none ends the process by itself. What no process
//! can hold off, SIGKILL and SIGSTOP, and what says that the process is broken, SIGSEGV and its like, are not among them.

use cordon_proto::record::Actor;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::sync::mpsc;

use crate::{actor, power};

/// Signals that wait for the engine; the kernel keeps one more of each kind.
const WAITING: usize = 4;

/// Those that would end the process if nobody heard them.
pub const HEARD: [Signal; 12] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
];

/// A signal that was heard.
#[derive(Clone, Debug)]
pub struct Signalled {
    /// Which.
    pub signal: Signal,
    /// By whom; unknown when the kernel sent it.
    pub by: Option<Actor>,
    /// The whole system was going down then.
    pub going_down: bool,
}

/// Blocks them for this thread and for those that it makes: to be called before there are others. Programs that are
/// started inherit it; those of the agent end by themselves or by SIGKILL.
pub fn block() -> nix::Result<SignalFd> {
    let mut heard = SigSet::empty();
    for signal in HEARD {
        heard.add(signal);
    }
    heard.thread_block()?;
    SignalFd::with_flags(&heard, SfdFlags::SFD_CLOEXEC)
}

/// Reads them on a thread of its own, which ends with the process.
pub fn watch(signals: SignalFd) -> std::io::Result<mpsc::Receiver<Signalled>> {
    let (told, heard) = mpsc::channel(WAITING);
    let builder = std::thread::Builder::new().name("cordon-signals".to_owned());
    builder.spawn(move || {
        loop {
            let info = match signals.read_signal() {
                Ok(Some(info)) => info,
                Ok(None) | Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return tracing::error!(%error, "signals are not heard any more"),
            };
            let Ok(signal) = Signal::try_from(info.ssi_signo as i32) else {
                continue;
            };
            // Positive: the kernel's own.
            let by = (info.ssi_code <= 0).then(|| actor::of_pid(info.ssi_pid, Some(info.ssi_uid)));
            let going_down = power::is_going_down();
            let signalled = Signalled {
                signal,
                by,
                going_down,
            };
            if told.blocking_send(signalled).is_err() {
                return;
            }
        }
    })?;
    Ok(heard)
}
