//! The rows of one table of an SQLite database file, read without SQLite.
//!
//! Only what rpm's database needs of <https://www.sqlite.org/fileformat2.html>: the table b-tree with its
//! overflow pages, and the write-ahead log. Nothing is locked: what a writer changes meanwhile shows as
//! damage or as an old state, and the caller reads again when the file has changed.

use super::bytes::{DatabaseError, ReadAt, big, part};
use super::wal::Wal;

/// Longest row that is read, bytes; rpm's own limit of a header is 256 MiB, and a large one has 5.
const ROW_BYTES: u64 = 64 << 20;
const HEADER_BYTES: usize = 100;
const INTERIOR: u64 = 5;
const LEAF: u64 = 13;

/// Calls `each` with the blob or text in `column` of every row of `table`. `wal` is the file beside the database
/// that has `-wal` at its name's end, if there is one.
pub fn sqlite_column<F: ReadAt + ?Sized>(
    file: &F,
    wal: Option<&F>,
    table: &str,
    column: usize,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), DatabaseError> {
    let mut database = Database::open(file, wal)?;
    let mut root = None;
    database.rows(1, &mut |row| {
        let (kind, name, page) = (value(row, 0)?, value(row, 1)?, value(row, 3)?);
        if kind == b"table" && name == table.as_bytes() {
            root = Some(big(page, 0, page.len().min(8))?);
        }
        Ok(())
    })?;
    let root = root.ok_or(DatabaseError::Damaged("the table is not there"))?;
    database.rows(root, &mut |row| {
        each(value(row, column)?);
        Ok(())
    })
}

struct Database<'a, F: ?Sized> {
    file: &'a F,
    wal: Option<Wal<'a, F>>,
    page_bytes: usize,
    /// Bytes of a page that are not reserved for extensions.
    usable: usize,
    /// Pages that may still be read: each is part of one structure only, so a circle runs out of them.
    left: u64,
}

type Row<'a> = dyn FnMut(&[u8]) -> Result<(), DatabaseError> + 'a;

impl<'a, F: ReadAt + ?Sized> Database<'a, F> {
    fn open(file: &'a F, wal: Option<&'a F>) -> Result<Self, DatabaseError> {
        let mut header = [0; HEADER_BYTES];
        file.fill(&mut header, 0)?;
        if !header.starts_with(b"SQLite format 3\0") {
            return Err(DatabaseError::Damaged("it is not an SQLite database"));
        }
        let page_bytes = match big(&header, 16, 2)? {
            1 => 65_536,
            bytes => bytes as usize,
        };
        let usable = page_bytes.saturating_sub(usize::from(header[20]));
        if !page_bytes.is_power_of_two() || page_bytes < 512 || usable < 480 {
            return Err(DatabaseError::Damaged("its page size is impossible"));
        }
        let wal = wal.map(|wal| Wal::open(wal, page_bytes)).transpose()?;
        let pages = file.length()? / page_bytes as u64;
        Ok(Self {
            file,
            left: pages + wal.as_ref().map_or(0, Wal::pages) + 1,
            wal,
            page_bytes,
            usable,
        })
    }

    fn page(&mut self, number: u64) -> Result<Vec<u8>, DatabaseError> {
        let index = number
            .checked_sub(1)
            .ok_or(DatabaseError::Damaged("page 0"))?;
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(DatabaseError::Damaged("its pages form a circle"))?;
        let mut page = vec![0; self.page_bytes];
        if let Some(wal) = &self.wal
            && wal.read(number, &mut page)?
        {
            return Ok(page);
        }
        let offset = index.saturating_mul(self.page_bytes as u64);
        self.file.fill(&mut page, offset)?;
        Ok(page)
    }

    fn rows(&mut self, root: u64, each: &mut Row<'_>) -> Result<(), DatabaseError> {
        let mut waiting = vec![root];
        while let Some(number) = waiting.pop() {
            let page = self.page(number)?;
            let at = if number == 1 { HEADER_BYTES } else { 0 };
            let cells = big(&page, at + 3, 2)? as usize;
            match big(&page, at, 1)? {
                INTERIOR => {
                    for cell in 0..cells {
                        let cell = big(&page, at + 12 + 2 * cell, 2)? as usize;
                        waiting.push(big(&page, cell, 4)?);
                    }
                    waiting.push(big(&page, at + 8, 4)?);
                }
                LEAF => {
                    for cell in 0..cells {
                        let cell = big(&page, at + 8 + 2 * cell, 2)? as usize;
                        each(&self.payload(&page, cell)?)?;
                    }
                }
                _ => return Err(DatabaseError::Damaged("a page is not of a table")),
            }
        }
        Ok(())
    }

    fn payload(&mut self, page: &[u8], cell: usize) -> Result<Vec<u8>, DatabaseError> {
        let (bytes, after) = varint(page, cell)?;
        let (_row, at) = varint(page, after)?;
        if bytes > ROW_BYTES {
            return Err(DatabaseError::Damaged("a row is too long"));
        }
        let bytes = bytes as usize;
        let local = self.local(bytes);
        let mut payload = part(page, at, local)?.to_vec();
        let mut next = if local < bytes {
            big(page, at + local, 4)?
        } else {
            0
        };
        while payload.len() < bytes {
            let page = self.page(next)?;
            next = big(&page, 0, 4)?;
            let wanted = (bytes - payload.len()).min(self.usable - 4);
            payload.extend(part(&page, 4, wanted)?);
        }
        Ok(payload)
    }

    /// How much of a row of `bytes` lies in the leaf itself.
    fn local(&self, bytes: usize) -> usize {
        let most = self.usable - 35;
        if bytes <= most {
            return bytes;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (bytes - least) % (self.usable - 4);
        if fitting <= most { fitting } else { least }
    }
}

/// The value in a column of a row, as bytes; nothing for NULL and for a column that is not there.
fn value(row: &[u8], column: usize) -> Result<&[u8], DatabaseError> {
    let (header, mut at) = varint(row, 0)?;
    let mut content = header as usize;
    let mut index = 0;
    while (at as u64) < header {
        let (kind, next) = varint(row, at)?;
        let length = match kind {
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            0 | 8..=11 => 0,
            _ => usize::try_from((kind - 12) / 2).unwrap_or(usize::MAX),
        };
        if index == column {
            return part(row, content, length);
        }
        content = content.saturating_add(length);
        at = next;
        index += 1;
    }
    Ok(&[])
}

/// A number of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Result<(u64, usize), DatabaseError> {
    let mut number = 0;
    for index in 0..8 {
        let byte = big(bytes, at + index, 1)?;
        number = number << 7 | byte & 0x7f;
        if byte < 0x80 {
            return Ok((number, at + index + 1));
        }
    }
    Ok((number << 8 | big(bytes, at + 8, 1)?, at + 9))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATABASE: &[u8] = include_bytes!("../../../tests/data/rpmdb.sqlite");
    const LOG: &[u8] = include_bytes!("../../../tests/data/rpmdb.sqlite-wal");

    fn count(database: &[u8], log: Option<&[u8]>) -> Result<usize, DatabaseError> {
        let mut rows = 0;
        sqlite_column(database, log, "Packages", 1, &mut |_| rows += 1)?;
        Ok(rows)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, log: Vec<u8>) {
            let mut file = DATABASE[..HEADER_BYTES].to_vec();
            file.extend(bytes);
            count(&file, Some(&log)).ok();
        }

        #[test]
        fn a_damaged_database_is_read_without_a_panic_and_to_an_end(
            damage in proptest::collection::vec((0..DATABASE.len(), any::<u8>()), 1..200),
            log_damage in proptest::collection::vec((0..LOG.len(), any::<u8>()), 0..3),
        ) {
            let (mut file, mut log) = (DATABASE.to_vec(), LOG.to_vec());
            for (at, byte) in damage {
                file[at] = byte;
            }
            for (at, byte) in log_damage {
                log[at] = byte;
            }
            count(&file, Some(&log)).ok();
        }

        #[test]
        fn a_cut_log_never_shows_half_a_transaction(length in 0..LOG.len()) {
            // Each transaction takes one package away or adds one.
            let rows = count(DATABASE, Some(&LOG[..length])).unwrap();
            prop_assert!((39..=40).contains(&rows), "{rows}");
        }
    }
}
