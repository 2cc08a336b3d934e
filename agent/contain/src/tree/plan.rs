//! Pure: who belongs to a tree, and who is never touched.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// A process, over pid reuse. No other can be meant: a pid is given out again only when its process has ended, and then
/// with a later start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Name {
    pub pid: u32,
    /// Start since boot, in the clock ticks of `/proc`.
    pub start_ticks: u64,
}

/// What `/proc/PID/stat` says of a process, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub parent: u32,
    /// Pid of the process that made the session.
    pub session: u32,
    pub start_ticks: u64,
    /// A thread of the kernel.
    pub is_kernel: bool,
}

/// One look at processes, by pid.
pub(crate) type Table = HashMap<u32, Row>;

/// Everybody in `table` who is `known`, or descends from one who is as far as `table` shows it.
///
/// Children are found by their parent. Who lost his own by a double fork has another parent, and is found by his
/// session as long as its maker belongs to the tree: a session holds nobody who does not descend from its maker.
pub(crate) fn members(table: &Table, known: &HashSet<Name>) -> HashSet<Name> {
    let name_of = |pid: u32| {
        let row = table.get(&pid)?;
        Some(Name {
            pid,
            start_ticks: row.start_ticks,
        })
    };
    let mut found: HashSet<Name> = table
        .keys()
        .filter_map(|pid| name_of(*pid))
        .filter(|name| known.contains(name))
        .collect();
    loop {
        let belongs = |pid: u32| name_of(pid).is_some_and(|name| found.contains(&name));
        let more: Vec<Name> = table
            .iter()
            .filter(|(_, row)| belongs(row.parent) || belongs(row.session))
            .filter_map(|(pid, _)| name_of(*pid))
            .filter(|name| !found.contains(name))
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Why a process is never touched, whatever tree it belongs to. `agent` is the pid of the agent.
pub(crate) fn untouchable(table: &Table, pid: u32, agent: u32) -> Option<&'static str> {
    if pid == agent {
        return Some("the agent itself");
    }
    if pid == 1 {
        return Some("the first process of the system");
    }
    if table.get(&pid).is_some_and(|row| row.is_kernel) {
        return Some("a thread of the kernel");
    }
    if lineage(table, agent).any(|above| above == pid) {
        return Some("the agent runs under it");
    }
    lineage(table, pid)
        .any(|above| above == agent)
        .then_some("it belongs to the agent")
}

/// The process and those above it.
fn lineage(table: &Table, pid: u32) -> impl Iterator<Item = u32> {
    let above = move |pid: &u32| Some(table.get(pid)?.parent).filter(|parent| *parent != 0);
    // Rows are not read all at once: as far as they tell, processes could be above each other.
    std::iter::successors(Some(pid), above).take(table.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pid, parent, session; the start is the pid.
    fn table(rows: &[(u32, u32, u32)]) -> Table {
        let row = |&(pid, parent, session): &(u32, u32, u32)| {
            let row = Row {
                parent,
                session,
                start_ticks: u64::from(pid),
                is_kernel: pid == 2,
            };
            (pid, row)
        };
        rows.iter().map(row).collect()
    }

    fn name(pid: u32) -> Name {
        Name {
            pid,
            start_ticks: u64::from(pid),
        }
    }

    fn pids(table: &Table, known: &[Name]) -> Vec<u32> {
        let known = known.iter().copied().collect();
        let mut pids: Vec<u32> = members(table, &known).iter().map(|name| name.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn children_and_sessions_belong_and_makers_and_neighbours_do_not() {
        let table = table(&[
            (1, 0, 1),
            (10, 1, 10),
            (20, 10, 10),
            (21, 10, 10),
            // Below 20: a child, its child in a session of its own, and one there who lost his parent.
            (30, 20, 10),
            (31, 30, 31),
            (32, 1, 31),
        ]);
        assert_eq!(pids(&table, &[name(20)]), [20, 30, 31, 32]);
        assert_eq!(pids(&table, &[name(31)]), [31, 32]);
        assert_eq!(pids(&table, &[name(21), name(32)]), [21, 32]);
    }

    #[test]
    fn a_reused_pid_is_somebody_else_and_so_are_its_children() {
        let table = table(&[(1, 0, 1), (20, 1, 20), (30, 20, 20)]);
        let before = Name {
            pid: 20,
            start_ticks: 19,
        };
        assert_eq!(pids(&table, &[before]), [0_u32; 0]);
        assert_eq!(pids(&table, &[before, name(30)]), [30]);
    }

    #[test]
    fn the_agent_its_kin_the_first_process_and_the_kernel_are_never_touched() {
        let table = table(&[
            (1, 0, 1),
            (2, 0, 0),
            (10, 1, 10),
            (20, 10, 10),
            (30, 20, 10),
            (40, 10, 10),
        ]);
        let touched = |pid| untouchable(&table, pid, 20).is_none();
        assert!(!touched(1) && !touched(2));
        assert!(!touched(10) && !touched(20) && !touched(30));
        assert!(touched(40));
    }

    #[test]
    fn processes_that_seem_to_be_above_each_other_end_the_climb() {
        let table = table(&[(10, 11, 10), (11, 10, 10)]);
        assert_eq!(untouchable(&table, 10, 99), None);
        assert_eq!(pids(&table, &[name(10)]), [10, 11]);
    }
}
