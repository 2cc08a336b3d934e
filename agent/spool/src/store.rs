//! The tables, and what one transaction does to them. Every commit waits for `fsync`.

use std::collections::BTreeMap;

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};

use crate::record::{Appended, Class, Gap, Pending, Position, Stats};

/// Most records that one transaction acknowledges: it bounds the memory of the call.
pub(crate) const AT_ONCE: u64 = 4096;

/// Boots in the order of their first record: number -> (boot id, next sequence).
const BOOTS: TableDefinition<u64, (&str, u64)> = TableDefinition::new("boots");
/// (boot, sequence) -> (class, text).
const RECORDS: TableDefinition<(u64, u64), (u8, &[u8])> = TableDefinition::new("records");
/// (class, boot, sequence) -> bytes of text: its first entry is what goes first over quota.
const DROP_ORDER: TableDefinition<(u8, u64, u64), u64> = TableDefinition::new("drop_order");
/// (boot id, class) -> (first, last, count) of what went.
const GAPS: TableDefinition<(&str, u8), (u64, u64, u64)> = TableDefinition::new("gaps");
/// Name of a set-aside database -> what was wrong with it.
const SET_ASIDE: TableDefinition<&str, &str> = TableDefinition::new("set_aside");

/// An open database, and the boot that appends to it.
pub(crate) struct Store {
    database: Database,
    boot: u64,
}

impl Store {
    /// Makes the tables of a new database. `first` is its boot's first sequence.
    pub(crate) fn create(
        database: &Database,
        boot_id: &str,
        first: u64,
        set_aside: Option<(&str, &str)>,
    ) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut tables = Tables::open(&transaction)?;
            tables.boots.insert(1, (boot_id, first))?;
            if let Some((file, why)) = set_aside {
                tables.set_aside.insert(file, why)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Takes up a database: a boot that is new to it is numbered from 1, behind all earlier ones.
    pub(crate) fn open(database: Database, boot_id: &str) -> Result<(Self, Stats), redb::Error> {
        let transaction = database.begin_write()?;
        let (boot, stats) = {
            let mut tables = Tables::open(&transaction)?;
            let boot = tables.enter_boot(boot_id)?;
            tables.forget_empty_boots(boot)?;
            (boot, tables.count()?)
        };
        transaction.commit()?;
        Ok((Self { database, boot }, stats))
    }

    /// Gives what the file does not need back to the file system.
    pub(crate) fn compact(&mut self) -> Result<(), redb::Error> {
        self.database.compact()?;
        Ok(())
    }

    pub(crate) fn append(
        &self,
        records: &[(Class, &[u8])],
        stats: &mut Stats,
        quota: u64,
    ) -> Result<Appended, redb::Error> {
        self.write(stats, |tables, stats| {
            tables.append(self.boot, records, stats, quota)
        })
    }

    /// Appends `reports` of all gaps that there are, and forgets the gaps.
    pub(crate) fn report(
        &self,
        reports: &[Vec<u8>],
        stats: &mut Stats,
        quota: u64,
    ) -> Result<Appended, redb::Error> {
        let records: Vec<_> = reports
            .iter()
            .map(|report| (Class::Evidence, report.as_slice()))
            .collect();
        self.write(stats, |tables, stats| {
            // First, since the reports themselves may push others out.
            tables.gaps.retain(|_, _| false)?;
            tables.set_aside.retain(|_, _| false)?;
            tables.append(self.boot, &records, stats, quota)
        })
    }

    pub(crate) fn acknowledge(
        &self,
        boot_id: &str,
        ranges: &[(u64, u64)],
        stats: &mut Stats,
    ) -> Result<u64, redb::Error> {
        self.write(stats, |tables, stats| {
            let Some(boot) = tables.boot_of(boot_id)? else {
                return Ok(0);
            };
            let sequences = tables.within(boot, ranges)?;
            for sequence in &sequences {
                stats.remove(tables.remove((boot, *sequence))?);
            }
            tables.forget_empty_boots(self.boot)?;
            Ok(sequences.len() as u64)
        })
    }

    pub(crate) fn pending(
        &self,
        after: Option<Position>,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let (boots, records) = (
            transaction.open_table(BOOTS)?,
            transaction.open_table(RECORDS)?,
        );
        let from = after.map_or((0, 0), |at| (at.boot, at.sequence.saturating_add(1)));
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in records.range(from..)? {
            let (key, value) = entry?;
            let ((boot, sequence), (_, json)) = (key.value(), value.value());
            bytes += json.len();
            if found.len() == max_records || (bytes > max_bytes && !found.is_empty()) {
                break;
            }
            let name = boots.get(boot)?;
            found.push(Pending {
                position: Position { boot, sequence },
                boot_id: name.map_or_else(String::new, |name| name.value().0.to_owned()),
                sequence,
                json: json.to_vec(),
            });
        }
        Ok(found)
    }

    pub(crate) fn gaps(&self) -> Result<Vec<Gap>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut found = Vec::new();
        for entry in transaction.open_table(SET_ASIDE)?.iter()? {
            let (file, why) = entry?;
            found.push(Gap::Damaged {
                file: file.value().to_owned(),
                why: why.value().to_owned(),
            });
        }
        for entry in transaction.open_table(GAPS)?.iter()? {
            let (key, value) = entry?;
            let ((boot_id, class), (first, last, count)) = (key.value(), value.value());
            found.push(Gap::OverQuota {
                boot_id: boot_id.to_owned(),
                class: Class::from_code(class),
                first,
                last,
                count,
            });
        }
        Ok(found)
    }

    /// `stats` change only when the transaction is committed.
    fn write<T>(
        &self,
        stats: &mut Stats,
        work: impl FnOnce(&mut Tables, &mut Stats) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut after = *stats;
        let result = {
            let mut tables = Tables::open(&transaction)?;
            work(&mut tables, &mut after)?
        };
        transaction.commit()?;
        *stats = after;
        Ok(result)
    }
}

struct Tables<'a> {
    boots: Table<'a, u64, (&'static str, u64)>,
    records: Table<'a, (u64, u64), (u8, &'static [u8])>,
    drop_order: Table<'a, (u8, u64, u64), u64>,
    gaps: Table<'a, (&'static str, u8), (u64, u64, u64)>,
    set_aside: Table<'a, &'static str, &'static str>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            boots: transaction.open_table(BOOTS)?,
            records: transaction.open_table(RECORDS)?,
            drop_order: transaction.open_table(DROP_ORDER)?,
            gaps: transaction.open_table(GAPS)?,
            set_aside: transaction.open_table(SET_ASIDE)?,
        })
    }

    fn boot_of(&self, boot_id: &str) -> Result<Option<u64>, redb::Error> {
        for entry in self.boots.iter()?.rev() {
            let (boot, value) = entry?;
            if value.value().0 == boot_id {
                return Ok(Some(boot.value()));
            }
        }
        Ok(None)
    }

    fn enter_boot(&mut self, boot_id: &str) -> Result<u64, redb::Error> {
        if let Some(known) = self.boot_of(boot_id)? {
            return Ok(known);
        }
        let boot = self.boots.last()?.map_or(1, |(last, _)| last.value() + 1);
        self.boots.insert(boot, (boot_id, 1))?;
        Ok(boot)
    }

    /// The current boot stays: it holds the next sequence.
    fn forget_empty_boots(&mut self, current: u64) -> Result<(), redb::Error> {
        let mut empty = Vec::new();
        for entry in self.boots.iter()? {
            let boot = entry?.0.value();
            let has_records = self
                .records
                .range((boot, 0)..=(boot, u64::MAX))?
                .next()
                .is_some();
            if boot != current && !has_records {
                empty.push(boot);
            }
        }
        for boot in empty {
            self.boots.remove(boot)?;
        }
        Ok(())
    }

    fn count(&self) -> Result<Stats, redb::Error> {
        let mut stats = Stats::default();
        for entry in self.drop_order.iter()? {
            stats.add(entry?.1.value());
        }
        Ok(stats)
    }

    fn append(
        &mut self,
        boot: u64,
        records: &[(Class, &[u8])],
        stats: &mut Stats,
        quota: u64,
    ) -> Result<Appended, redb::Error> {
        let first = self.reserve(boot, records.len() as u64)?;
        for ((class, json), sequence) in records.iter().zip(first..) {
            let (class, length) = (class.code(), json.len() as u64);
            self.records.insert((boot, sequence), (class, *json))?;
            self.drop_order.insert((class, boot, sequence), length)?;
            stats.add(length);
        }
        Ok(Appended {
            first,
            last: first + records.len() as u64 - 1,
            dropped: self.drop_over(quota, stats)?,
        })
    }

    /// Takes the next `count` sequences of `boot`; returns the first.
    fn reserve(&mut self, boot: u64, count: u64) -> Result<u64, redb::Error> {
        let (boot_id, first) = {
            let row = self.boots.get(boot)?;
            let row = row.ok_or_else(|| redb::Error::Corrupted("the boot is missing".into()))?;
            let (boot_id, next) = row.value();
            (boot_id.to_owned(), next)
        };
        self.boots.insert(boot, (boot_id.as_str(), first + count))?;
        Ok(first)
    }

    /// Drops the least important, oldest first, until `quota` is kept; returns how many went.
    fn drop_over(&mut self, quota: u64, stats: &mut Stats) -> Result<u64, redb::Error> {
        let mut gone: BTreeMap<(u64, u8), (u64, u64, u64)> = BTreeMap::new();
        let mut dropped = 0;
        while stats.bytes > quota {
            let Some((class, boot, sequence)) =
                self.drop_order.first()?.map(|(key, _)| key.value())
            else {
                break;
            };
            stats.remove(self.remove((boot, sequence))?);
            let hole = gone.entry((boot, class)).or_insert((sequence, sequence, 0));
            *hole = widened(*hole, (sequence, sequence, 1));
            dropped += 1;
        }
        for ((boot, class), hole) in gone {
            self.remember_gap(boot, class, hole)?;
        }
        Ok(dropped)
    }

    fn remember_gap(
        &mut self,
        boot: u64,
        class: u8,
        hole: (u64, u64, u64),
    ) -> Result<(), redb::Error> {
        let boot_id = self.boots.get(boot)?.map(|row| row.value().0.to_owned());
        let boot_id = boot_id.unwrap_or_default();
        let before = self
            .gaps
            .get((boot_id.as_str(), class))?
            .map(|row| row.value());
        let hole = before.map_or(hole, |before| widened(before, hole));
        self.gaps.insert((boot_id.as_str(), class), hole)?;
        Ok(())
    }

    /// Removes one record; returns the bytes of its text.
    fn remove(&mut self, (boot, sequence): (u64, u64)) -> Result<u64, redb::Error> {
        let removed = self.records.remove((boot, sequence))?;
        let removed = removed.map(|value| (value.value().0, value.value().1.len() as u64));
        let (class, length) =
            removed.ok_or_else(|| redb::Error::Corrupted("a listed record is missing".into()))?;
        self.drop_order.remove((class, boot, sequence))?;
        Ok(length)
    }

    /// At most [`AT_ONCE`] sequences of `boot` that are there and in one of `ranges`, which are
    /// sorted and apart. A look into the table finds a record or skips ranges up to the next one,
    /// so the looks are about as many as the records found.
    fn within(&self, boot: u64, ranges: &[(u64, u64)]) -> Result<Vec<u64>, redb::Error> {
        let mut found = Vec::new();
        let mut ranges = ranges.iter().copied().peekable();
        while let Some(&(low, high)) = ranges.peek() {
            for entry in self.records.range((boot, low)..=(boot, high))? {
                if found.len() as u64 == AT_ONCE {
                    return Ok(found);
                }
                found.push(entry?.0.value().1);
            }
            ranges.next();
            let Some(entry) = self.records.range((boot, high)..=(boot, u64::MAX))?.next() else {
                break;
            };
            let next = entry?.0.value().1;
            while ranges.next_if(|(_, high)| *high < next).is_some() {}
        }
        Ok(found)
    }
}

fn widened(a: (u64, u64, u64), b: (u64, u64, u64)) -> (u64, u64, u64) {
    (a.0.min(b.0), a.1.max(b.1), a.2 + b.2)
}

/// `ranges` sorted, with overlapping and touching ones made one and backward ones left out.
pub(crate) fn merged(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<_> = ranges
        .iter()
        .copied()
        .filter(|(low, high)| low <= high)
        .collect();
    sorted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (low, high) in sorted {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}
