//! Renames of which the kernel told one place: the other group tells both.

use super::decode::{FileNotice, NamedFile};
use super::told::Told;

/// Most renames that wait for their other place.
const MOST: usize = 1024;

/// Renames that wait for a batch of counted events. The kernel tells both groups of one rename one after the other, so
/// what the watching group has of it may be read before the counting group has it: a rename waits until a batch that
/// was read after it is through.
#[derive(Default)]
pub(super) struct Halves {
    waiting: Vec<Waiting>,
}

struct Waiting {
    told: Told,
    /// The next batch was read when it waited already.
    is_asked: bool,
}

impl Halves {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps a rename of one place; gives back what is none, or what there is no room for.
    pub(super) fn keep(&mut self, told: Told) -> Option<Told> {
        if told.half.is_none() || self.waiting.len() >= MOST {
            return Some(told);
        }
        self.waiting.push(Waiting {
            told,
            is_asked: false,
        });
        None
    }

    /// A batch is about to be read: it has the other place of all that wait now, if anybody tells it.
    pub(super) fn ask(&mut self) {
        self.waiting.iter_mut().for_each(|one| one.is_asked = true);
    }

    /// The rename that a counted event tells in whole, and its place that was not known.
    pub(super) fn take<'a>(&mut self, notice: &FileNotice<'a>) -> Option<(Told, NamedFile<'a>)> {
        let (old, new) = (notice.at?, notice.to?);
        let is_it = |one: &Waiting| {
            let Some(half) = &one.told.half else {
                return false;
            };
            let place = if half.is_new { new } else { old };
            one.told.pid == notice.pid && *half.dir == *place.dir && *half.name == *place.name
        };
        let index = self.waiting.iter().position(is_it)?;
        let told = self.waiting.remove(index).told;
        let is_new = told.half.as_ref().is_some_and(|half| half.is_new);
        Some((told, if is_new { old } else { new }))
    }

    /// Those of whose other place a whole batch told nothing: its file system may not be marked.
    pub(super) fn unanswered(&mut self) -> Vec<Told> {
        let asked = self.waiting.extract_if(.., |one| one.is_asked);
        asked.map(|one| one.told).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cordon_behavior::event::FileOp;

    use super::super::tell::Tell;
    use super::super::told::Half;
    use super::*;

    const HERE: NamedFile<'_> = NamedFile {
        dir: b"here",
        name: b"in",
    };
    const ELSEWHERE: NamedFile<'_> = NamedFile {
        dir: b"elsewhere",
        name: b"out",
    };

    fn half(pid: u32) -> Told {
        let mut told = Told::new(pid, FileOp::Rename, Path::new("/w/in"), None, Tell::WATCHED);
        told.half = Some(Half::new(HERE, true));
        told
    }

    fn whole(pid: u32) -> FileNotice<'static> {
        FileNotice {
            mask: libc::FAN_RENAME,
            pid,
            at: Some(ELSEWHERE),
            to: Some(HERE),
            file: None,
        }
    }

    #[test]
    fn a_rename_gets_its_other_place_and_only_its_own() {
        let mut halves = Halves::default();
        assert!(halves.keep(half(7)).is_none());
        assert!(halves.take(&whole(8)).is_none());
        let unwatched = FileNotice {
            to: None,
            ..whole(7)
        };
        assert!(halves.take(&unwatched).is_none());
        let (told, other) = halves.take(&whole(7)).unwrap();
        assert_eq!((told.pid, other), (7, ELSEWHERE));
        assert!(halves.is_empty());
    }

    #[test]
    fn a_rename_that_was_read_after_a_batch_waits_for_the_next() {
        let mut halves = Halves::default();
        assert!(halves.keep(half(1)).is_none());
        halves.ask();
        assert!(halves.keep(half(2)).is_none());
        let pids = |told: Vec<Told>| told.iter().map(|told| told.pid).collect::<Vec<_>>();
        assert_eq!(pids(halves.unanswered()), [1]);
        assert!(halves.unanswered().is_empty());
        assert!(halves.take(&whole(2)).is_some());
    }

    #[test]
    fn what_is_whole_or_has_no_room_is_given_back() {
        let mut halves = Halves::default();
        let mut told = half(1);
        told.half = None;
        assert!(halves.keep(told).is_some());
        assert!((0..MOST as u32).all(|pid| halves.keep(half(pid)).is_none()));
        assert!(halves.keep(half(0)).is_some());
    }
}
