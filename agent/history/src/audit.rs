//! The Linux audit daemon's log: records of one event, joined by their serial number.
//!
//! `linux-audit-parser` reads the same; its licence (LGPL) does not go with a program that is linked into one file.

mod address;
mod calls;
mod fields;
mod group;
mod login;
mod record;
mod tell;

use std::collections::VecDeque;

use crate::Damage;
use crate::seen::Seen;
pub(crate) use address::socket_address;
pub(crate) use calls::Call;
pub(crate) use group::{Group, Name, NameType, Syscall};
pub(crate) use login::method as login_method;
pub(crate) use record::Stamp;
use record::{Kind, Record};
pub(crate) use tell::tell;

/// Events of which records may still follow.
const OPEN: usize = 256;
const OPEN_BYTES: usize = 8 << 20;
/// The audit library waits as long.
const OPEN_MS: u64 = 2000;

/// Events whose records are being put together.
#[derive(Default)]
pub(crate) struct Audit {
    /// In the order of their first record.
    open: VecDeque<(Stamp, Group)>,
    bytes: usize,
}

impl Audit {
    pub(crate) fn line(&mut self, line: &[u8], out: &mut Vec<Seen>) -> Result<(), Damage> {
        let record = Record::parse(line)?;
        let (stamp, kind) = (record.stamp, record.kind);
        match kind {
            Kind::Other => return Ok(()),
            Kind::Login(way) => {
                out.extend(login::tell(&record, way)?);
                return Ok(());
            }
            Kind::End => {}
            _ => self.add(&record)?,
        }
        // The kernel writes the process's title last; the end itself is rarely in the file.
        if matches!(kind, Kind::End | Kind::ProcTitle) {
            let place = self.open.iter().rposition(|(open, _)| *open == stamp);
            if let Some((stamp, group)) = place.and_then(|place| self.open.remove(place)) {
                self.close(stamp, &group, out);
            }
        }
        self.close_old(stamp.ms, out);
        Ok(())
    }

    pub(crate) fn end(&mut self, out: &mut Vec<Seen>) {
        while let Some((stamp, group)) = self.open.pop_front() {
            self.close(stamp, &group, out);
        }
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        let place = self
            .open
            .iter()
            .rposition(|(open, _)| *open == record.stamp);
        let place = place.unwrap_or_else(|| {
            self.open.push_back((record.stamp, Group::default()));
            self.bytes += size_of::<Group>();
            self.open.len() - 1
        });
        let Some((_, group)) = self.open.get_mut(place) else {
            return Ok(());
        };
        let before = group.bytes();
        let added = group.add(record);
        self.bytes = self.bytes + group.bytes() - before;
        added
    }

    fn close(&mut self, stamp: Stamp, group: &Group, out: &mut Vec<Seen>) {
        self.bytes -= size_of::<Group>() + group.bytes();
        out.extend(tell(stamp.wall_ns(), group));
    }

    fn close_old(&mut self, now_ms: u64, out: &mut Vec<Seen>) {
        while let Some((stamp, _)) = self.open.front() {
            let is_old = stamp.ms.saturating_add(OPEN_MS) < now_ms;
            if !is_old && self.open.len() <= OPEN && self.bytes <= OPEN_BYTES {
                return;
            }
            if let Some((stamp, group)) = self.open.pop_front() {
                self.close(stamp, &group, out);
            }
        }
    }
}
