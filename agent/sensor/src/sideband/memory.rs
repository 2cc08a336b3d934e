//! Telling once that a process makes code: a just-in-time compiler does it all the time.

use std::collections::{HashMap, VecDeque};

use cordon_behavior::event::ProcessKey;

const LIMIT: usize = 8192;

/// Which process was told of, and with what kinds of mapping.
#[derive(Default)]
pub(super) struct Told {
    kinds: HashMap<ProcessKey, u16>,
    order: VecDeque<ProcessKey>,
    /// Processes forgotten for want of room: told again if they go on.
    pub evicted: u64,
}

impl Told {
    pub(super) const ENTRY_BYTES: u64 = 64;
    pub(super) const LIMIT_BYTES: u64 = LIMIT as u64 * Self::ENTRY_BYTES;

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// True the first time that this process makes this kind of mapping executable.
    pub(super) fn is_news(&mut self, process: ProcessKey, path: &str, writable: bool) -> bool {
        if let Some(kinds) = self.kinds.get_mut(&process) {
            let is_news = *kinds & kind(path, writable) == 0;
            *kinds |= kind(path, writable);
            return is_news;
        }
        if self.order.len() >= LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.kinds.remove(&oldest);
            self.evicted += 1;
        }
        self.order.push_back(process);
        self.kinds.insert(process, kind(path, writable));
        true
    }
}

fn kind(path: &str, writable: bool) -> u16 {
    let starts = [
        "//anon",
        "[heap]",
        "[stack",
        "/memfd:",
        "/dev/zero",
        "/SYSV",
    ];
    let place = starts.iter().position(|start| path.starts_with(start));
    1 << (place.unwrap_or(starts.len()) + 8 * usize::from(writable))
}

/// The kernel's name of a mapping as an event tells it.
pub(super) fn path(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    // Every memfd and shared mapping is a file without a name, so that says nothing.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_mapping_is_told_once_for_each_process() {
        let key = |pid| ProcessKey { pid, start_ns: 1 };
        let mut told = Told::default();
        assert!(told.is_news(key(1), "//anon", false));
        assert!(!told.is_news(key(1), "//anon", false));
        assert!(told.is_news(key(1), "//anon", true));
        assert!(told.is_news(key(1), "/memfd:a", false));
        assert!(!told.is_news(key(1), "/memfd:b", false));
        assert!(told.is_news(key(2), "//anon", false));
        assert!(told.is_news(key(2), "/opt/x", true));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut told = Told::default();
        for pid in 0..=LIMIT as u32 {
            assert!(told.is_news(ProcessKey { pid, start_ns: 1 }, "//anon", false));
        }
        assert_eq!((told.len(), told.evicted), (LIMIT, 1));
    }
}
