//! A mark on disk for as long as the agent runs: the next start sees by it whether the last one ended by a way that it
//! knows, and reports when it did not.

use std::path::{Path, PathBuf};

use cordon_proto::record::TamperReport;
use cordon_sensor::SignalNote;
use serde::{Deserialize, Serialize};

use super::{is_heard, sender, signal_name};
use crate::actor;
use crate::durable;

const VERSION: u32 = 1;
const FILE: &str = "running.json";
const MAX_BYTES: u64 = 4096;

/// The mark.
#[derive(Debug)]
pub struct Life {
    path: PathBuf,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    version: u32,
    boot_id: String,
}

impl Life {
    /// Makes the mark; true when there is one of this boot already. One of another boot went with its machine, and that
    /// is nobody's doing here.
    pub fn begin(state_dir: &Path, boot_id: &str) -> (Self, bool) {
        let path = state_dir.join(FILE);
        let mark = Mark {
            version: VERSION,
            boot_id: boot_id.to_owned(),
        };
        let before = durable::read(&path, MAX_BYTES).ok().flatten();
        let before = before.and_then(|json| serde_json::from_slice::<Mark>(&json).ok());
        let was_cut_short = before.as_ref() == Some(&mark);
        let json = serde_json::to_vec(&mark).expect("marks have string keys only");
        // A power cut takes the boot with it.
        if let Err(error) = durable::replace_unsynced(&path, &json) {
            tracing::error!(error = %crate::chain(&error), "the next start will not see whether this one was cut short");
        }
        (Self { path }, was_cut_short)
    }

    /// The agent ends by a way that it knows.
    pub fn end(self) {
        if let Err(error) = durable::remove(&self.path) {
            tracing::warn!(error = %crate::chain(&error), "the next start will say that this one was cut short");
        }
    }
}

/// What is reported of an agent that ended without a word, by what was noted of signals to it.
pub fn cut_short(notes: &[SignalNote]) -> TamperReport {
    let fatal = notes.iter().rfind(|note| !is_heard(note) && ends(note));
    let (what, by) = match fatal {
        Some(note) if note.is_kernel => (
            "the agent was ended by the kernel with SIGKILL, for want of memory or by a BPF program"
                .to_owned(),
            None,
        ),
        Some(note) => {
            let by = sender(note);
            let (signal, who) = (signal_name(note.signal), actor::in_words(&by));
            (format!("the agent was ended by {signal} of {who}"), Some(by))
        }
        None => (
            "the agent ended without a word, by SIGKILL of an unknown sender or by a crash".to_owned(),
            None,
        ),
    };
    TamperReport {
        what: format!("{what}; it runs again"),
        repaired: true,
        micros: 0,
        by,
    }
}

/// Not those that only make it stand still.
fn ends(note: &SignalNote) -> bool {
    use nix::sys::signal::Signal::{SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    let stops = [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU];
    stops.iter().all(|stop| *stop as i32 != note.signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_of_this_boot_that_did_not_say_so_was_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let begin = |boot| Life::begin(dir.path(), boot);
        assert!(!begin("one").1);
        assert!(begin("one").1);
        assert!(!begin("two").1);
        let (life, _) = begin("two");
        life.end();
        assert!(!begin("two").1);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(!begin("two").1);
    }

    fn note(signal: i32, exe: &str) -> SignalNote {
        SignalNote {
            mono_ns: 1,
            signal,
            pid: 7,
            uid: 0,
            exe: exe.to_owned(),
            is_kernel: exe.is_empty(),
        }
    }

    #[test]
    fn the_last_signal_that_ends_a_process_did_it_and_no_other_is_blamed() {
        let said = |notes: &[SignalNote]| cut_short(notes).what;
        let (kill, stop, term, segv) = (9, 19, 15, 11);
        let told = said(&[
            note(segv, "/bin/a"),
            note(kill, "/bin/b"),
            note(stop, "/bin/c"),
        ]);
        assert_eq!(
            told,
            "the agent was ended by SIGKILL of /bin/b (pid 7, uid 0); it runs again"
        );
        assert!(said(&[note(kill, "")]).contains("want of memory"));
        for unknown in [&[][..], &[note(term, "/bin/a")], &[note(stop, "/bin/a")]] {
            assert!(said(unknown).contains("unknown sender"));
        }
        assert!(said(&[note(34, "/bin/a")]).contains("signal 34 of /bin/a"));
    }
}
