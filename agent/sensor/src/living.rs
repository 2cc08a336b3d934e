//! Whether a process is still the one that was meant.

use cordon_behavior::event::ProcessKey;

use crate::clock;

/// Whether the process with this pid is the one that started then, to a clock tick; a start time of 0 is one that
/// nobody told, and any process is it.
pub(crate) fn is_alive(process: ProcessKey) -> bool {
    let stat = procfs::process::Process::new(process.pid.cast_signed()).and_then(|it| it.stat());
    let ticks = process.start_ns / clock::tick_ns();
    stat.is_ok_and(|stat| process.start_ns == 0 || stat.starttime == ticks)
}
