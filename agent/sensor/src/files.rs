//! What is done to files, by fanotify.
//!
//! Two groups, so that a flood of one does not hide the other, each with a queue of
//! `fs.fanotify.max_queued_events` (16,384 unless changed); what does not fit is told as the loss
//! `fanotify/overflow`, of which the kernel does not say how many.
//!
//! - **Watching**: marks on the directories and secret files of a list ([`defaults`], and the
//!   configuration's). Read at once; each event names directory, name and process. A path that does
//!   not exist is waited for from the nearest directory that does.
//! - **Counting**: marks on every local file system in every mount namespace that `/proc` shows, read in
//!   batches, counted by process, names not looked at. It also lends the watching group what that
//!   cannot have: the other place of a rename, and what was done in a directory before it was marked.
//!
//! Paths are those of this host: of what a container does in its overlay, the path of the overlay's
//! mount here, or of its upper directory where that is all that can be reached. Overlays are not counted
//! themselves: what is done through one is told of the file system below it. Before Linux 6.5 that is only
//! what is made, renamed and removed, and before 6.6 no directory on an overlay can be watched; then the
//! coverage says so.
//!
//! A path is found from a directory's handle only when it is needed, which is seldom (a rename out of
//! or into watched directories), and never remembered: so no rename can make a remembered one wrong.
//!
//! | call | since | gives |
//! |---|---|---|
//! | `fanotify_init(FAN_REPORT_DFID_NAME_TARGET)` | 5.17 | handles and names |
//! | `fanotify_mark(FAN_MARK_FILESYSTEM)` | 4.20 | a whole file system |
//! | `FAN_RENAME` | 5.17 | both places in one event |
//! | `name_to_handle_at(AT_HANDLE_FID)` | 6.5 | handles on an overlay (6.6) |
//! | `open_by_handle_at` | 2.6.39 | samples, paths |

mod allowance;
mod budget;
mod count;
mod decode;
mod defaults;
mod done;
mod entropy;
mod fanotify;
mod filesystems;
mod gauge;
mod halves;
mod kept;
mod marks;
mod meaning;
mod mounts;
mod pattern;
mod plan;
mod rates;
mod replaced;
mod run;
mod seen;
mod sketch;
mod tell;
mod teller;
mod told;
mod wanted;
mod watch;

use crate::ebpf::SetIds;
use crate::out::Out;
use crate::sensor::Source;
use crate::{Coverage, FilesConfig, SensorConfig};
pub use decode::{FileNotice, MalformedNotice, NamedFile, file_notices};
use marks::Marks;
use run::Run;

/// Starts watching, as far as this host allows.
pub(crate) fn start(config: &SensorConfig, out: &Out, set_ids: Option<SetIds>) -> Source {
    let mut marks = match Marks::new(config.files.clone()) {
        Ok(marks) => marks,
        Err(error) => return Source::refused(marks::refused(&error)),
    };
    marks.watch.set_ids = set_ids;
    let coverage = marks.coverage();
    let run = Run::new(marks, out, config.scope.clone());
    Source::spawn("cordon-files", coverage, move |stopped| run.watch(stopped))
}

/// What a source started here would see: marks everything and lets go of it.
pub(crate) fn probe(set_ids: Option<SetIds>) -> Vec<Coverage> {
    match Marks::new(FilesConfig::default()) {
        Ok(mut marks) => {
            marks.watch.set_ids = set_ids;
            marks.coverage()
        }
        Err(error) => marks::refused(&error),
    }
}
