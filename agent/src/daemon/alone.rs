//! What the daemon does while it has one thread: what holds for a thread holds for those that it makes.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::{Mode, umask};

use crate::config::Config;
use crate::guard::OwnFiles;
use crate::power;
use crate::privileges::{self, Unlimited};
use crate::signals;

/// What the daemon found out of itself before it had threads.
pub(super) struct Own {
    /// What is its own on disk.
    pub files: OwnFiles,
    /// Where signals are heard.
    pub signals: SignalFd,
    /// What of the limits does not hold.
    pub degraded: Vec<String>,
}

/// What of the limits to itself does not hold.
pub(super) fn limited(done: Result<(), Unlimited>) -> Vec<String> {
    let failed = done.err().into_iter();
    failed.map(|error| crate::chain(&error)).collect()
}

/// To be called first.
pub(super) fn begin(config: &Config, config_file: &Path) -> Result<Own> {
    die_whole();
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    cordon_sensor::share_one_arena();
    let beside: &[_] = if power::is_systemd_first() {
        &[]
    } else {
        &privileges::FOR_FILES
    };
    let program = std::env::current_exe().context("cannot tell what this process runs")?;
    Ok(Own {
        files: OwnFiles::of(&program, config_file, config),
        degraded: limited(privileges::drop_capabilities(beside)),
        signals: signals::block().context("cannot hold off signals")?,
    })
}

/// A thread that panics takes the daemon along: half an agent would look like a whole one. It is started again,
/// and an isolation stays in force meanwhile.
fn die_whole() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
