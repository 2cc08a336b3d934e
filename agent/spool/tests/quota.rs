//! Over quota: who goes, and what is told of it.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_spool::{Class, Gap, Options, Spool, SpoolError, Stats};

const TEXT: usize = 104;
/// Bytes that a test record costs.
const COST: u64 = TEXT as u64 + Stats::OVERHEAD;

fn open(dir: &tempfile::TempDir, boot_id: &str, records: u64) -> Spool {
    let options = Options {
        max_bytes: records * COST,
    };
    Spool::open(dir.path(), boot_id, options).unwrap()
}

fn append(spool: &Spool, class: Class) -> u64 {
    spool.append(class, &[b'x'; TEXT]).unwrap().first
}

fn sequences(spool: &Spool) -> Vec<u64> {
    let pending = spool.pending(None, usize::MAX, usize::MAX).unwrap();
    pending.into_iter().map(|one| one.sequence).collect()
}

#[test]
fn the_least_important_goes_first_and_the_oldest_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, "b", 4);
    let state = append(&spool, Class::State);
    let notices = [append(&spool, Class::Notice), append(&spool, Class::Notice)];
    let evidence: Vec<u64> = (0..3).map(|_| append(&spool, Class::Evidence)).collect();
    assert_eq!(sequences(&spool), [vec![state], evidence.clone()].concat());
    let gone = Gap::OverQuota {
        boot_id: "b".into(),
        class: Class::Notice,
        first: notices[0],
        last: notices[1],
        count: 2,
    };
    assert_eq!(spool.gaps().unwrap(), [gone]);
    let newer: Vec<u64> = (0..2).map(|_| append(&spool, Class::Evidence)).collect();
    assert_eq!(sequences(&spool), [&evidence[1..], &newer].concat());
    assert_eq!(
        spool.stats(),
        Stats {
            records: 4,
            bytes: 4 * COST
        }
    );
}

#[test]
fn a_notice_among_evidence_goes_at_once_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, "b", 2);
    let kept = [
        append(&spool, Class::Evidence),
        append(&spool, Class::Evidence),
    ];
    let appended = spool.append(Class::Notice, &[b'x'; TEXT]).unwrap();
    assert_eq!(appended.dropped, 1);
    assert_eq!(sequences(&spool), kept);
    assert_eq!(spool.gaps().unwrap().len(), 1);
    // Its sequence is used up all the same.
    assert_eq!(append(&spool, Class::Evidence), appended.last + 1);
}

#[test]
fn an_earlier_boot_goes_before_a_later_one_of_the_same_class() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = append(&open(&dir, "first", 2), Class::State);
    let spool = open(&dir, "second", 2);
    let later = [append(&spool, Class::State), append(&spool, Class::State)];
    assert_eq!(sequences(&spool), later);
    let Gap::OverQuota { boot_id, first, .. } = &spool.gaps().unwrap()[0] else {
        panic!("not a quota gap");
    };
    assert_eq!((boot_id.as_str(), *first), ("first", earlier));
}

#[test]
fn a_gap_lasts_over_restarts_until_it_is_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, "b", 3);
    for _ in 0..5 {
        append(&spool, Class::Notice);
    }
    drop(spool);
    let spool = open(&dir, "b", 3);
    assert_eq!(spool.gaps().unwrap()[0].count(), 2);
    let reported = spool
        .report_gaps(|gap| gap.to_string().into_bytes())
        .unwrap();
    assert_eq!(reported, 1);
    let last = spool.pending(None, 10, 10_000).unwrap().pop().unwrap();
    let text = String::from_utf8(last.json).unwrap();
    assert!(
        text.starts_with("outbox over quota: 2 notice records between sequences "),
        "{text}"
    );
    // The report took room itself; what that cost is the next gap.
    assert_eq!(spool.gaps().unwrap()[0].count(), 1);
    drop(spool);
    assert_eq!(open(&dir, "b", 3).gaps().unwrap().len(), 1);
}

#[test]
fn a_record_over_the_quota_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir, "b", 2);
    append(&spool, Class::Notice);
    let large = vec![b'x'; 2 * COST as usize];
    let refused = spool
        .append_all(&[(Class::Evidence, b"small"), (Class::Evidence, &large)])
        .unwrap_err();
    assert!(
        matches!(
            refused,
            SpoolError::TooLarge {
                bytes: 496,
                quota: 400
            }
        ),
        "{refused}"
    );
    assert_eq!(spool.stats().records, 1);
    assert_eq!(spool.gaps().unwrap(), []);
}

#[test]
fn the_file_stays_near_the_quota_and_shrinks_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let quota = 4 * 1024 * 1024;
    let open = || Spool::open(dir.path(), "b", Options { max_bytes: quota }).unwrap();
    let spool = open();
    let large = vec![b'x'; 16 * 1024];
    let batch: Vec<_> = (0..64).map(|_| (Class::Notice, large.as_slice())).collect();
    for _ in 0..20 {
        spool.append_all(&batch).unwrap();
    }
    let size = || std::fs::metadata(spool.path()).unwrap().len();
    assert!(spool.stats().bytes <= quota);
    assert!(
        size() <= 3 * quota,
        "{} bytes for a quota of {quota}",
        size()
    );
    spool.acknowledge("b", &[(0, u64::MAX)]).unwrap();
    assert_eq!(spool.stats(), Stats::default());
    let path = spool.path();
    drop(spool);
    drop(open());
    let size = std::fs::metadata(path).unwrap().len();
    assert!(size <= quota, "{size} bytes for nothing");
}
