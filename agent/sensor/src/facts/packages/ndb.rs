//! The package headers in rpm's own `Packages.db` (SUSE), `lib/backend/ndb/rpmpkg.c`.
//!
//! A file header, pages of slots that say where each package's blob is, then the blobs in blocks of 16
//! bytes. All numbers are little-endian.

use super::bytes::{DatabaseError, ReadAt, little};

const PAGE_BYTES: u64 = 4096;
const BLOCK_BYTES: u64 = 16;
const FILE_HEADER: u64 = 32;
const BLOB_HEADER: u64 = 16;
/// Longest blob that is read, bytes.
const BLOB_BYTES: u64 = 64 << 20;
/// Most pages of slots: 255 packages a page, a million of them.
const MOST_PAGES: u64 = 4096;

/// Calls `each` with every package's header.
pub fn ndb_blobs<F: ReadAt + ?Sized>(
    file: &F,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), DatabaseError> {
    let mut header = [0; FILE_HEADER as usize];
    file.fill(&mut header, 0)?;
    if !header.starts_with(b"RpmP") {
        return Err(DatabaseError::Damaged("it is not an rpm package database"));
    }
    let pages = little(&header, 12, 4)?;
    if pages > MOST_PAGES {
        return Err(DatabaseError::Damaged("it has too many slots"));
    }
    let mut left = file.length()?;
    let mut offset = FILE_HEADER;
    while offset + BLOCK_BYTES <= pages * PAGE_BYTES {
        let mut slot = [0; BLOCK_BYTES as usize];
        file.fill(&mut slot, offset)?;
        offset += BLOCK_BYTES;
        if !slot.starts_with(b"Slot") {
            return Err(DatabaseError::Damaged("a slot is none"));
        }
        let package = little(&slot, 4, 4)?;
        if package != 0 {
            let blob = blob(file, package, little(&slot, 8, 4)? * BLOCK_BYTES)?;
            // No byte belongs to two blobs, so a file that says so is read to an end as well.
            left = left
                .checked_sub(blob.len() as u64)
                .ok_or(DatabaseError::Damaged("its blobs overlap"))?;
            each(&blob);
        }
    }
    Ok(())
}

fn blob<F: ReadAt + ?Sized>(file: &F, package: u64, at: u64) -> Result<Vec<u8>, DatabaseError> {
    let mut header = [0; BLOB_HEADER as usize];
    file.fill(&mut header, at)?;
    let bytes = little(&header, 12, 4)?;
    let is_its = header.starts_with(b"BlbS") && little(&header, 4, 4)? == package;
    if !is_its || bytes > BLOB_BYTES || bytes > file.length()? {
        return Err(DatabaseError::Damaged("a blob is not where its slot says"));
    }
    let mut blob = vec![0; bytes as usize];
    file.fill(&mut blob, at + BLOB_HEADER)?;
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A database as rpmpkg.c lays it out, with one page of slots.
    fn database(blobs: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0; PAGE_BYTES as usize];
        file[..4].copy_from_slice(b"RpmP");
        file[12] = 1;
        for slot in file[FILE_HEADER as usize..].chunks_exact_mut(16) {
            slot[..4].copy_from_slice(b"Slot");
        }
        for (index, blob) in blobs.iter().enumerate() {
            let number = (index as u32 + 1).to_le_bytes();
            let slot = FILE_HEADER as usize + 16 * index;
            let block = (file.len() / 16) as u32;
            file[slot + 4..slot + 8].copy_from_slice(&number);
            file[slot + 8..slot + 12].copy_from_slice(&block.to_le_bytes());
            file.extend(b"BlbS");
            file.extend(number);
            file.extend([0; 4]);
            file.extend((blob.len() as u32).to_le_bytes());
            file.extend(blob);
            file.resize(file.len().next_multiple_of(16), 0);
        }
        file
    }

    proptest! {
        #[test]
        fn every_blob_is_found(blobs: Vec<Vec<u8>>) {
            let blobs = &blobs[..blobs.len().min(200)];
            let mut found = Vec::new();
            ndb_blobs(&database(blobs)[..], &mut |blob| found.push(blob.to_vec())).unwrap();
            prop_assert_eq!(found, blobs);
        }

        #[test]
        fn damage_is_read_without_a_panic(
            damage in proptest::collection::vec((0..4500usize, any::<u8>()), 1..50),
        ) {
            let mut file = database(&[vec![1; 100], vec![2; 200]]);
            for (at, byte) in damage {
                let at = at % file.len();
                file[at] = byte;
            }
            ndb_blobs(&file[..], &mut |_| {}).ok();
        }
    }
}
