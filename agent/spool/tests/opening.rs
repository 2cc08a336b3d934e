//! One owner; damage; acknowledgements that ask for the impossible.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Instant;

use cordon_spool::{Class, Gap, Opened, Options, Spool, SpoolError};

fn open(dir: &Path) -> Spool {
    Spool::open(dir, "b", Options::default()).unwrap()
}

#[test]
fn the_directory_is_made_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/outbox");
    let spool = open(&path);
    assert_eq!(spool.opened(), Opened::Created);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&spool.path())), (0o700, 0o600));
    drop(spool);
    assert_eq!(open(&path).opened(), Opened::Existing);
}

#[test]
fn a_second_opening_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let refused = Spool::open(dir.path(), "b", Options::default());
    let Err(SpoolError::InUse { path }) = refused else {
        panic!("opened twice");
    };
    assert_eq!(path, dir.path());
    first.append(Class::State, b"{}").unwrap();
    drop(first);
    assert_eq!(open(dir.path()).stats().records, 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(error) = Spool::open(&file.join("outbox"), "b", Options::default()) else {
        panic!("opened under a file");
    };
    assert!(
        error.to_string().contains("could not make directory"),
        "{error}"
    );
}

/// Damages a database with 200 records by `damage`; checks that its bytes are kept under another
/// name, that the fact is a gap until it is reported, and that no sequence is used again.
fn check_damage(damage: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let text = [b'x'; 1000];
    let batch: Vec<_> = (0..200)
        .map(|_| (Class::Evidence, text.as_slice()))
        .collect();
    let before = spool.append_all(&batch).unwrap();
    let path = spool.path();
    drop(spool);
    damage(&path);
    let damaged = fs::read(&path).unwrap();
    let spool = open(dir.path());
    let Opened::Replaced { set_aside, .. } = spool.opened() else {
        panic!("damage went unseen");
    };
    assert_eq!(fs::read(&set_aside).unwrap(), damaged);
    assert!(spool.append(Class::State, b"{}").unwrap().first > before.last);
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(spool.opened(), Opened::Existing);
    let [Gap::Damaged { file, .. }] = &spool.gaps().unwrap()[..] else {
        panic!("the damage was forgotten");
    };
    assert_eq!(set_aside.file_name().unwrap().to_str(), Some(file.as_str()));
    assert_eq!(
        spool
            .report_gaps(|gap| gap.to_string().into_bytes())
            .unwrap(),
        1
    );
    assert_eq!(spool.stats().records, 2);
}

#[test]
fn a_file_of_something_else_is_set_aside() {
    check_damage(|path| fs::write(path, "not a database".repeat(1000)).unwrap());
}

#[test]
fn a_truncated_file_is_set_aside() {
    check_damage(|path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
}

#[test]
fn an_empty_file_is_set_aside() {
    check_damage(|path| drop(fs::File::create(path).unwrap()));
}

#[test]
fn a_header_of_zeros_is_set_aside() {
    check_damage(|path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
    });
}

#[test]
fn a_deleted_database_does_not_bring_sequences_back() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batch: Vec<_> = (0..2000)
        .map(|_| (Class::State, b"{}".as_slice()))
        .collect();
    let before = spool.append_all(&batch).unwrap();
    fs::remove_file(spool.path()).unwrap();
    drop(spool);
    assert!(open(dir.path()).append(Class::State, b"{}").unwrap().first > before.last);
}

/// Wherever a bit flips, the outbox opens, and what it hands out is what was put in: either the
/// flip was in no page in use, or the file was set aside.
#[test]
fn no_flipped_bit_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let text = [b'x'; 1000];
    let batch: Vec<_> = (0..40)
        .map(|_| (Class::Evidence, text.as_slice()))
        .collect();
    spool.append_all(&batch).unwrap();
    let path = spool.path();
    drop(spool);
    let whole = fs::read(&path).unwrap();
    let mut replaced = 0;
    for at in (0..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let spool = open(dir.path());
        let pending = spool.pending(None, 100, usize::MAX).unwrap();
        assert!(pending.iter().all(|one| one.json == text), "flip at {at}");
        match spool.opened() {
            Opened::Replaced { set_aside, .. } => {
                replaced += 1;
                assert_eq!(pending, []);
                fs::remove_file(set_aside).unwrap();
            }
            opened => {
                assert_eq!(opened, Opened::Existing);
                assert_eq!(pending.len(), 40, "flip at {at}");
            }
        }
    }
    assert!(replaced > 10, "{replaced} of the flips were seen");
}

#[test]
fn hostile_ranges_cost_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batch: Vec<_> = (0..10_000)
        .map(|_| (Class::State, b"{}".as_slice()))
        .collect();
    let appended = spool.append_all(&batch).unwrap();
    let begun = Instant::now();
    // A million ranges of one sequence each, none of which is there, and backward ones.
    let far: Vec<_> = (0..1_000_000)
        .map(|n| (appended.last + 2 + 2 * n, appended.last + 2 + 2 * n))
        .collect();
    assert_eq!(spool.acknowledge("b", &far).unwrap(), 0);
    assert_eq!(spool.acknowledge("b", &[(9, 3), (u64::MAX, 0)]).unwrap(), 0);
    assert_eq!(spool.acknowledge("another", &[(0, u64::MAX)]).unwrap(), 0);
    assert_eq!(spool.acknowledge("b", &[(0, u64::MAX); 3]).unwrap(), 10_000);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert_eq!(spool.stats().records, 0);
}
