//! How much a process changes files is told early, with how random its writing looks, and whatever
//! happens, memory stays bounded. Needs root.
// Long because what is told of a disk, of tmpfs and of overlays is told of the same programs.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use cordon_behavior::event::{Event, EventBody, FileOp, FileRates};
use cordon_sensor::{FilesConfig, Mode, Sensor, SensorConfig};
use support::{DEADLINE, Watch, mark, watching};

/// Where an inner half finds its directory.
const PLACE: &str = "CORDON_TEST_PLACE";
/// How many files the flooder makes.
const FLOOD: &str = "CORDON_TEST_FLOOD";
/// Files of an encryption run.
const FILES: usize = 200;

/// Ends its process when the test ends, however it ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

fn config(files: FilesConfig) -> SensorConfig {
    SensorConfig {
        mode: Mode::Ebpf,
        files,
        ..SensorConfig::default()
    }
}

fn nothing_watched() -> FilesConfig {
    FilesConfig {
        defaults: false,
        ..FilesConfig::default()
    }
}

fn rates_of(event: &Event) -> Option<&FileRates> {
    match &event.body {
        EventBody::FileRates(rates) => Some(rates),
        _ => None,
    }
}

/// Starts an ignored test of this program as a process of its own.
fn start(test: &str, place: &Path, more: &[(&str, String)]) -> Ended {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(PLACE, place)
        .envs(more.iter().cloned())
        .stdout(Stdio::null())
        .spawn();
    Ended(child.unwrap())
}

fn place() -> PathBuf {
    PathBuf::from(std::env::var(PLACE).unwrap())
}

fn locked(place: &Path) -> usize {
    let names = fs::read_dir(place).unwrap().map(|it| it.unwrap().path());
    names
        .filter(|it| it.extension().is_some_and(|it| it == "locked"))
        .count()
}

/// A sensor that notes, for each telling of rates, how many files were gone by then.
fn watch_encryption(place: &Path) -> (Sensor, Receiver<(Event, usize)>) {
    let (sink, told) = channel();
    let place = place.to_owned();
    let sensor = Sensor::start(config(nothing_watched()), move |event| {
        if rates_of(&event).is_some() {
            let gone = locked(&place);
            // The test may have seen enough and be gone.
            sink.send((event, gone)).unwrap_or_default();
        }
    });
    (sensor.unwrap(), told)
}

fn encryption_is_told(place: &Path) {
    for file in 0..FILES {
        let text = "Dear all, please find the figures of the last quarter attached.\n";
        fs::write(place.join(format!("{file}.txt")), text.repeat(16_384)).unwrap();
    }
    let (_sensor, told) = watch_encryption(place);
    let encryptor = start("encryptor", place, &[]);
    let (mut written, mut renamed) = (0, 0);
    let mut first = None;
    while renamed < FILES as u32 - 16 {
        let (event, gone) = told.recv_timeout(DEADLINE).unwrap();
        if event.process.pid != encryptor.0.id() {
            continue;
        }
        assert_ne!(event.process.start_ns, 0);
        let rates = rates_of(&event).unwrap().clone();
        written += rates.written;
        renamed += rates.renamed;
        assert!(
            rates.entropy.is_none_or(|entropy| entropy > 7.5),
            "{rates:?}"
        );
        first.get_or_insert((rates, gone));
    }
    let (rates, gone) = first.unwrap();
    eprintln!("first told after {gone} of {FILES} files: {rates:?}");
    assert!(gone < 50 && rates.samples > 8 && rates.entropy.unwrap() > 7.5);
    assert_eq!(
        (rates.created, rates.unlinked, rates.directories),
        (0, 0, 1)
    );
    // The harness of the child may write a file of its own.
    assert!((184..=202).contains(&written), "{written}");
}

/// What an encryptor does: overwrites each file with what looks like noise, and gives it another name.
#[test]
#[ignore = "the encryptor: run by the tests below"]
fn encryptor() {
    let place = place();
    let mut noise = File::open("/dev/urandom").unwrap();
    let mut content = vec![0; 1 << 20];
    for file in 0..FILES {
        let path = place.join(format!("{file}.txt"));
        noise.read_exact(&mut content).unwrap();
        let mut open = File::options().write(true).open(&path).unwrap();
        open.write_all(&content).unwrap();
        drop(open);
        fs::rename(&path, path.with_extension("locked")).unwrap();
    }
}

/// The class, and where an encryptor runs: on a disk, and on tmpfs.
const ROWS: &[(&str, &str)] = &[("file_rates", "/var/tmp"), ("file_rates", "/dev/shm")];

#[test]
fn an_encryption_run_is_told_before_its_50th_file() {
    for (_, place) in ROWS {
        let place = tempfile::tempdir_in(place).unwrap();
        encryption_is_told(place.path());
    }
}

/// Class `file_rates`: unpacking text is told with its own figures; nothing is judged here.
#[test]
fn unpacking_text_is_told_as_that() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = place.path();
    for folder in 0..10 {
        let folder = place.join(format!("in/{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..30 {
            fs::write(folder.join(file.to_string()), "fn main() {}\n".repeat(100)).unwrap();
        }
    }
    let tar = |arguments: &[&str]| {
        let mut child = Command::new("tar")
            .args(arguments)
            .current_dir(place)
            .spawn();
        assert!(child.as_mut().unwrap().wait().unwrap().success());
        child.unwrap().id()
    };
    tar(&["-cf", "all.tar", "in"]);
    fs::remove_dir_all(place.join("in")).unwrap();
    let mut watch = Watch::with(config(nothing_watched()));
    let pid = tar(&["-xf", "all.tar"]);
    let all = sum_of(&mut watch, pid, |sum| sum.created >= 300);
    assert_eq!((all.created, all.written, all.unlinked), (300, 300, 0));
    assert!(
        all.entropy.unwrap() < 5.0 && (8..=30).contains(&all.directories),
        "{all:?}"
    );
    // Only now, because what is gone cannot be looked at.
    let mut child = Command::new("rm")
        .arg("-r")
        .arg(place.join("in"))
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    let removed = sum_of(&mut watch, child.id(), |sum| sum.unlinked >= 300);
    assert_eq!(
        (removed.unlinked, removed.written, removed.entropy),
        (300, 0, None)
    );
}

/// Waits until the tellings of this pid come to enough, and answers them together.
#[track_caller]
fn sum_of(watch: &mut Watch, pid: u32, is_enough: impl Fn(&FileRates) -> bool) -> FileRates {
    let sum = std::cell::RefCell::new(FileRates::default());
    watch.wait("rates", |event| {
        let rates = rates_of(event).filter(|_| event.process.pid == pid)?;
        let mut sum = sum.borrow_mut();
        sum.created += rates.created;
        sum.written += rates.written;
        sum.renamed += rates.renamed;
        sum.unlinked += rates.unlinked;
        sum.directories += rates.directories;
        sum.entropy = rates.entropy.or(sum.entropy);
        is_enough(&sum).then_some(())
    });
    sum.into_inner()
}

/// Class `file_rates`: a file system that another mount namespace mounts later is found. The process
/// goes on until it is told of, because when that will be is the sensor's to choose.
#[test]
fn a_file_system_of_another_namespace_is_found() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut watch = Watch::with(config(nothing_watched()));
    let line = "mount -t tmpfs tmpfs \"$0\" && cd \"$0\" && \
                while :; do for i in 1 2 3 4 5 6 7 8; do echo x > $i; mv $i $i.x; done; done";
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", line])
        .arg(place.path())
        .spawn();
    let child = Ended(child.unwrap());
    let rates = sum_of(&mut watch, child.0.id(), |sum| sum.created > 16);
    assert!(rates.written > 0 && rates.directories > 0, "{rates:?}");
}

/// A process that waits in a mount namespace with an overlay, until it is told to go on with `line`; and
/// whether this kernel tells what is written there.
fn on_overlay(watch: &mut Watch, place: &Path, line: &str) -> (Ended, bool) {
    let name = mark("overlay");
    fs::create_dir(place.join("u")).unwrap();
    fs::write(place.join("u/probe"), "").unwrap();
    // Only what has the mark among its arguments is on the overlay.
    let outer = "cd \"$0\" && mkdir l w m && \
                 mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m && exec sh -c \"$LINE\" \"$0\" \"$NAME\"";
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", outer])
        .arg(place)
        .env("LINE", format!("cd \"$0\"/m && read x && {line}"))
        .env("NAME", &name)
        .env(PLACE, place.join("m"))
        .stdin(Stdio::piped())
        .spawn();
    let child = Ended(child.unwrap());
    watch.exec(&name);
    let through = inside(&child, &place.join("m/probe"));
    let is_told = tells_below(&place.join("u/probe"), &through);
    (child, is_told)
}

/// Whether the kernel tells what is written through an overlay of the file below it, by trying: since
/// Linux 6.5.
fn tells_below(file: &Path, through: &Path) -> bool {
    let mut group = watching(file, libc::FAN_CLOSE_WRITE).unwrap();
    fs::write(through, "x").unwrap();
    group.read(&mut [0; 256]).is_ok_and(|bytes| bytes > 0)
}

/// A path in a process's mount namespace.
fn inside(child: &Ended, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", child.0.id()));
    root.join(path.strip_prefix("/").unwrap())
}

/// Where nothing tells what is written on an overlay, the sensor says so.
fn is_said(watch: &Watch) {
    let row = watch.row("file_rates");
    let why = row.why.as_deref().unwrap_or_default();
    assert!(row.covered && row.remedy.is_some(), "{row:?}");
    assert!(why.contains("written to files on overlays"), "{row:?}");
}

/// Class `file_rates`, on an overlay in another namespace: each file is counted, and once.
#[test]
fn files_on_an_overlay_are_counted_once() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut watch = Watch::with(config(nothing_watched()));
    let line = "t=$(printf %600s x) && i=0 && \
                while [ $i -lt 400 ]; do echo \"$t\" > $i; i=$((i+1)); done && exec cat";
    let (mut child, is_told) = on_overlay(&mut watch, place.path(), line);
    child.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let all = sum_of(&mut watch, child.0.id(), |sum| {
        sum.created >= 384 && (sum.written >= 384 || !is_told)
    });
    assert!((384..=401).contains(&all.created), "{all:?}");
    if is_told {
        assert!((384..=401).contains(&all.written), "{all:?}");
        assert!(all.entropy.unwrap() < 1.0, "{all:?}");
    } else {
        assert_eq!((all.written, all.entropy), (0, None));
        is_said(&watch);
    }
}

/// Class `file_rates`, on an overlay: what is written is looked at below it.
#[test]
fn an_encryption_run_on_an_overlay_is_told_with_its_entropy() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = place.path();
    let mut watch = Watch::with(config(nothing_watched()));
    let own = std::env::current_exe().unwrap();
    let line = format!("exec {} --exact encryptor --ignored", own.display());
    let (mut child, is_told) = on_overlay(&mut watch, place, &line);
    for file in 0..FILES {
        let path = inside(&child, &place.join(format!("m/{file}.txt")));
        fs::write(path, "Dear all, please find attached.\n".repeat(100)).unwrap();
    }
    child.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let all = sum_of(&mut watch, child.0.id(), |sum| {
        sum.renamed >= 100 && (sum.entropy.is_some() || !is_told)
    });
    if !is_told {
        return is_said(&watch);
    }
    assert!(all.entropy.unwrap() > 7.5 && all.written >= 100, "{all:?}");
}

/// Class `file_rates`: what the kernel had no room for is told as a loss.
#[test]
fn an_overflow_of_the_queue_is_told_as_loss() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let (open, is_open) = channel::<()>();
    let (sink, lost) = channel();
    let trigger = place.path().join("w/trigger");
    let mut waiting = Some(is_open);
    let files = FilesConfig {
        watched: vec![place.path().join("w")],
        ..nothing_watched()
    };
    fs::create_dir(place.path().join("w")).unwrap();
    let _sensor = Sensor::start(config(files), move |event| match &event.body {
        // Whoever takes the events is stuck while more happens than the queue holds.
        EventBody::File(change)
            if change.op == FileOp::Create && trigger == Path::new(&change.path) =>
        {
            if let Some(waiting) = waiting.take() {
                waiting.recv_timeout(DEADLINE).unwrap();
            }
        }
        EventBody::Loss { source, count } if source == "fanotify/overflow" => {
            sink.send(*count).unwrap_or_default();
        }
        _ => {}
    })
    .unwrap();
    let most = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    // Each file is at least one event, and some are read before the rest is stuck.
    let mut child = flood(place.path(), 2 * most);
    assert!(child.0.wait().unwrap().success());
    open.send(()).unwrap();
    assert!(lost.recv_timeout(DEADLINE).unwrap() > 0);
}

/// Starts to make and remove files.
fn flood(place: &Path, files: usize) -> Ended {
    start("flooder", place, &[(FLOOD, files.to_string())])
}

#[test]
#[ignore = "the flood: run by the tests here"]
fn flooder() {
    let place = place();
    let files: usize = std::env::var(FLOOD).unwrap().parse().unwrap();
    fs::write(place.join("w/trigger"), "x").unwrap_or_default();
    for file in 0..files {
        let path = place.join(file.to_string());
        File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }
}

/// Classes `file` and `file_rates`: an endless flood of new paths grows no table beyond its bound.
#[test]
fn a_flood_of_paths_stays_within_every_bound() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let sensor = Sensor::start(config(FilesConfig::default()), |_| {}).unwrap();
    let mut child = flood(place.path(), 100_000);
    assert!(child.0.wait().unwrap().success());
    let caches = sensor.caches();
    for name in [
        "file rates",
        "watched files",
        "secret reads told",
        "file events held",
    ] {
        let cache = caches.iter().find(|cache| cache.name == name).unwrap();
        assert!(cache.bytes <= cache.limit_bytes, "{cache:?}");
        assert!(cache.limit_bytes <= 16 << 20, "{cache:?}");
    }
    let rows = sensor.coverage();
    let row = rows.iter().find(|row| row.class == "file_rates").unwrap();
    assert!(row.covered, "{row:?}");
}
