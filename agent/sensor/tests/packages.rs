//! rpm's database as rpm wrote it (`tests/data/rpmdb.sh`).
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use cordon_sensor::{ReadAt, rpm_name, rpm_paths, sqlite_column};

fn packages<F: ReadAt + ?Sized>(file: &F, wal: Option<&F>) -> BTreeMap<String, Vec<String>> {
    let mut packages = BTreeMap::new();
    sqlite_column(file, wal, "Packages", 1, &mut |header| {
        let name = String::from_utf8_lossy(rpm_name(header).unwrap()).into_owned();
        let mut paths = Vec::new();
        rpm_paths(header, &mut |path| {
            paths.push(String::from_utf8_lossy(path).into_owned());
        })
        .unwrap();
        packages.insert(name, paths);
    })
    .unwrap();
    packages
}

fn open(name: &str) -> File {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    File::open(data.join(name)).unwrap()
}

#[test]
fn every_package_and_path_is_found_over_all_pages() {
    let packages = packages(&open("rpmdb.sqlite"), None);
    assert_eq!(packages.len(), 40);
    // Its header is longer than a page: it goes on in overflow pages.
    let large = &packages["large"];
    assert_eq!(large.len(), 602);
    for path in [
        "/usr/bin/large",
        "/usr/lib/large",
        "/usr/lib/large/helper-1",
        "/usr/lib/large/helper-600",
    ] {
        assert!(large.iter().any(|known| known == path), "{path}");
    }
    let small = [
        "/usr/bin/small-7",
        "/usr/lib/small-7",
        "/usr/lib/small-7/helper-1",
        "/usr/lib/small-7/helper-2",
    ];
    assert_eq!(packages["small-7"], small);
}

#[test]
fn what_is_only_in_the_log_is_seen() {
    let packages = packages(&open("rpmdb.sqlite"), Some(&open("rpmdb.sqlite-wal")));
    assert_eq!(packages.len(), 40);
    assert!(!packages.contains_key("small-7"));
    assert!(packages["late"].iter().any(|path| path == "/usr/bin/late"));
}

#[test]
fn what_is_no_database_is_an_error() {
    let nothing: &[u8] = b"SQLite format 2\0";
    assert!(sqlite_column(nothing, None, "Packages", 1, &mut |_| {}).is_err());
    let file = open("rpmdb.sqlite");
    assert!(sqlite_column(&file, None, "NoSuchTable", 1, &mut |_| {}).is_err());
}
