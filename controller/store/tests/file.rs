//! The file itself: its mode, its version, a full disk, another holder, a sudden death.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cordon_store::{EventQuery, IncidentQuery, Store, StoreError};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use support::{BOOT, at, database, detection, host};

#[tokio::test]
async fn only_its_owner_reads_it() {
    let db = database().await;
    host(&db.store, "ep1").await;
    let mut files = 0;
    for file in std::fs::read_dir(db.dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files += 1;
    }
    assert_eq!(files, 3, "database, log and index");
}

#[tokio::test]
async fn create_never_overwrites_and_open_never_creates() {
    let db = database().await;
    let again = Store::create(db.store.path()).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    let nothing = Store::open(&db.dir.path().join("nothing")).await;
    assert!(matches!(nothing, Err(StoreError::Missing { .. })));
    assert!(!db.dir.path().join("nothing").exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_its_number() {
    let db = database().await;
    let mut future = SqliteConnectOptions::new()
        .filename(db.store.path())
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'later', 1, x'00', 0)",
    )
    .execute(&mut future)
    .await
    .unwrap();
    match Store::open(db.store.path()).await {
        Err(StoreError::Newer {
            found: 99, known, ..
        }) if known < 99 => {}
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn another_kind_of_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "these are notes and not a database, ".repeat(40)).unwrap();
    match Store::open(&path).await {
        Err(StoreError::NotADatabase { .. }) => {}
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_lock_held_by_another_program_is_said_and_passes() {
    let db = database().await;
    let ep1 = host(&db.store, "ep1").await.id;
    let mut other = SqliteConnectOptions::new()
        .filename(db.store.path())
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let batch = [detection(1, 0, "a:1:1")];
    let refused = db
        .store
        .commit_batch(ep1, BOOT, &batch, at(0))
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
    assert!(refused.is_temporary());
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(
        db.store
            .commit_batch(ep1, BOOT, &batch, at(0))
            .await
            .unwrap()
            .fresh,
        1
    );
}

/// Set in a copy of this program that plays a part in one of the tests below.
const PART: &str = "CORDON_STORE_PART";

/// This very program, running the test `name` with the part `path`.
fn part(mut command: Command, name: &str, path: &Path) -> Command {
    command
        .args(["--exact", name, "--nocapture"])
        .env(PART, path);
    command
}

/// A disk of one megabyte, in a mount namespace of its own: nothing is left behind.
#[test]
fn a_full_disk_is_said_and_keeps_what_was_acknowledged() {
    if let Some(disk) = std::env::var_os(PART) {
        return runtime().block_on(fill(Path::new(&disk)));
    }
    let disk = tempfile::tempdir().unwrap();
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=2m cordon \"$CORDON_STORE_PART\" && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap());
    let name = "a_full_disk_is_said_and_keeps_what_was_acknowledged";
    let status = part(unshare, name, disk.path()).status().unwrap();
    assert!(status.success());
}

async fn fill(disk: &Path) {
    let (filler, path) = (disk.join("filler"), disk.join("cordon.db"));
    let store = Store::create(&path).await.unwrap();
    let ep1 = host(&store, "ep1").await.id;
    std::fs::write(&filler, vec![0; 300_000]).unwrap();
    let commit = async |sequence| {
        let batch = [detection(sequence, 0, "a:1:1")];
        store.commit_batch(ep1, BOOT, &batch, at(0)).await
    };
    let mut acknowledged = 0;
    let refused = loop {
        match commit(acknowledged + 1).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(acknowledged > 10);
    for _ in 0..3 {
        let refused = commit(acknowledged + 1).await.unwrap_err();
        assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    }
    assert_eq!(sequences(&store).await, (1..=acknowledged).collect());
    std::fs::remove_file(filler).unwrap();
    commit(acknowledged + 1).await.unwrap();
    assert_eq!(sequences(&store).await, (1..=acknowledged + 1).collect());
}

#[test]
fn sudden_death_in_the_middle_of_a_commit_loses_nothing_acknowledged() {
    let name = "sudden_death_in_the_middle_of_a_commit_loses_nothing_acknowledged";
    if let Some(path) = std::env::var_os(PART) {
        return runtime().block_on(write_for_ever(Path::new(&path)));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cordon.db");
    let mut acknowledged = BTreeSet::new();
    for round in 1..=6 {
        let this = Command::new(std::env::current_exe().unwrap());
        let writer = part(this, name, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        acknowledged.extend(kill_after(writer, 7 * round));
        runtime().block_on(check_after_death(&path, &acknowledged));
    }
    assert!(acknowledged.len() >= 100);
}

/// Reads acknowledged sequences, and kills the writer after `count` of them while it goes on.
fn kill_after(mut writer: Child, count: usize) -> Vec<u64> {
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        // The test harness prints lines of its own.
        let Some(sequence) = line
            .unwrap()
            .strip_prefix("acknowledged ")
            .map(str::to_owned)
        else {
            continue;
        };
        acknowledged.push(sequence.parse().unwrap());
        if acknowledged.len() == count {
            // To std, kill means SIGKILL.
            writer.kill().unwrap();
        }
    }
    assert!(!writer.wait().unwrap().success());
    acknowledged
}

async fn write_for_ever(path: &Path) {
    let store = match Store::create(path).await {
        Err(StoreError::Exists { .. }) => Store::open(path).await.unwrap(),
        made => made.unwrap(),
    };
    let ep1 = match store.hosts().await.unwrap().first() {
        Some(host) => host.id,
        None => host(&store, "ep1").await.id,
    };
    let first = sequences(&store).await.last().map_or(1, |last| last + 1);
    for sequence in first.. {
        let batch = [detection(sequence, 0, "a:1:1")];
        store.commit_batch(ep1, BOOT, &batch, at(0)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {sequence}").unwrap();
        out.flush().unwrap();
    }
}

async fn check_after_death(path: &Path, acknowledged: &BTreeSet<u64>) {
    let store = Store::open(path).await.unwrap();
    let kept = sequences(&store).await;
    assert!(kept.is_superset(acknowledged));
    let query = IncidentQuery {
        limit: 10,
        ..IncidentQuery::default()
    };
    let incidents = store.incidents(&query).await.unwrap();
    assert_eq!(incidents[0].detection_count, kept.len() as u64);
    store.close().await;
}

async fn sequences(store: &Store) -> BTreeSet<u64> {
    let mut query = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let mut found = BTreeSet::new();
    loop {
        let page = store.events(&query).await.unwrap();
        let Some(last) = page.last() else {
            return found;
        };
        query.before = Some(last.key);
        found.extend(page.iter().map(|event| event.sequence));
    }
}
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}
