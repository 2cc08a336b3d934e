//! The endpoint agent: a daemon with one event loop, and its command line.
//!
//! - [`config`], [`identity`], [`enroll`]: what the agent is told, and who it is.
//! - [`judging`]: the thread that turns events into stories and stories into verdicts.
//! - [`isolation`]: the shell around the isolation state machine; its blocking work is on threads of its own.
//! - [`stopping`]: the thread that freezes, kills and thaws process trees.
//! - [`filing`]: files taken out of reach and put back. [`ordered`]: who ordered what is done.
//! - [`rules`]: rules, indicators and exceptions, read from disk.
//! - [`recorder`]: what is reported goes to disk here, before anything is sent.
//! - [`release_codes`]: the challenge that opens this host without the controller, and its answers.
//! - [`signals`], [`power`], [`stop_codes`]: who asks the agent to end, and whose word counts; [`last_word`]: that the controller hears of it.
//! - [`proposals`]: what waits for a yes, on disk.
//! - [`guard`]: what is done to the agent itself, and whether the last one was cut short.
//! - [`engine`]: the one loop that owns policy, orders and isolation.
//! - [`uplink`]: the session with the controller. The engine never waits for it.
//! - [`privileges`]: what the daemon may do.
//! - [`metrics`], [`vitals`]: what the agent measures of itself, and who may read it.
//! - [`local`]: the socket by which root at the machine talks to the daemon.
//! - [`telling`], [`recording`]: stories as events make them, and files of them, for `replay` and `record`.
//! - [`cli`]: the commands.
#![forbid(unsafe_code)]

mod actor;
mod attempts;
pub mod blocking;
pub mod cli;
mod codes;
pub mod config;
pub mod daemon;
mod durable;
pub mod engine;
pub mod enroll;
pub mod filing;
pub mod guard;
pub mod hands;
pub mod host;
pub mod identity;
pub mod isolation;
pub mod judging;
pub mod last_word;
pub mod local;
pub mod losses;
pub mod metrics;
pub mod model_trust;
pub mod ordered;
pub mod orders;
pub mod pins;
pub mod policy_store;
pub mod power;
pub mod prevention;
pub mod privileges;
pub mod proposals;
pub mod recent;
pub mod recorder;
pub mod recording;
pub mod release_codes;
pub mod rules;
pub mod signals;
pub mod stop_codes;
pub mod stopping;
pub mod telling;
pub mod trust;
pub mod uplink;
pub mod vitals;

/// An error with its causes, each once, on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
