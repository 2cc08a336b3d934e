//! What is done to files is told, by whom, on tmpfs, ext4 and overlay, in containers too. Needs root.
// Long because every case is a process of its own in a place of its own, and shares that.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use cordon_behavior::event::{FileChange, FileOp, Sensitivity};
use cordon_sensor::{Event, EventBody, FilesConfig, Mode, ProcessKey, Scope, SensorConfig};
use support::{DEADLINE, Watch, cgroup_root, has_tracepoint, mark, watching};

/// A test's directory that its processes find here.
const PLACE: &str = "CORDON_TEST_PLACE";

/// An action of one process, and what must be told of it. `{}` is the test's directory.
struct Row {
    command: &'static [&'static str],
    op: FileOp,
    path: &'static str,
    to: Option<&'static str>,
    why: Sensitivity,
}

const fn row(
    command: &'static [&'static str],
    op: FileOp,
    path: &'static str,
    to: Option<&'static str>,
    why: Sensitivity,
) -> Row {
    Row {
        command,
        op,
        path,
        to,
        why,
    }
}

use FileOp::{Chmod, Create, Link, Read, Rename, Unlink, Write};
use Sensitivity::{Decoy, Secret, Watched};

/// Every operation, each with the class that it is a proof of.
#[rustfmt::skip] // A table.
const ROWS: &[(&str, Row)] = &[
    ("file", row(&["touch", "{}/w/made"], Create, "w/made", None, Watched)),
    ("file", row(&["sh", "-c", "echo x >> {}/w/old"], Write, "w/old", None, Watched)),
    ("file", row(&["sh", "-c", "echo x > {}/single"], Write, "single", None, Watched)),
    ("file", row(&["mkdir", "{}/w/folder"], Create, "w/folder", None, Watched)),
    ("file", row(&["ln", "-s", "/etc/passwd", "{}/w/soft"], Create, "w/soft", None, Watched)),
    ("file", row(&["mv", "{}/w/a", "{}/w/b"], Rename, "w/a", Some("w/b"), Watched)),
    ("file", row(&["mv", "{}/w/moved", "{}/v/moved"], Rename, "w/moved", Some("v/moved"), Watched)),
    ("file", row(&["ln", "{}/out/x", "{}/w/hard"], Link, "w/hard", None, Watched)),
    ("file", row(&["chmod", "u+s", "{}/w/program"], Chmod, "w/program", None, Watched)),
    ("file", row(&["chmod", "g+s", "{}/w/grouped"], Chmod, "w/grouped", None, Watched)),
    ("file", row(&["install", "-m", "4755", "/bin/true", "{}/w/put"], Chmod, "w/put", None, Watched)),
    ("file", row(&["sh", "-c", "chmod u-s {}/w/program; exec chmod u+s {}/w/program"], Chmod, "w/program", None, Watched)),
    ("file", row(&["rm", "{}/w/doomed"], Unlink, "w/doomed", None, Watched)),
    ("file", row(&["cat", "{}/secret"], Read, "secret", None, Secret)),
    ("file", row(&["cat", "{}/keys/one.key"], Read, "keys/one.key", None, Secret)),
    ("file", row(&["ln", "{}/secret", "{}/out/alias"], Link, "secret", None, Secret)),
    ("file", row(&["cat", "{}/out/alias"], Read, "secret", None, Secret)),
    ("file", row(&["cat", "{}/bait/list"], Read, "bait/list", None, Decoy)),
    ("file", row(&["ls", "{}/bait"], Read, "bait", None, Decoy)),
    ("file", row(&["touch", "-d", "2001-01-01", "{}/bait/list"], Chmod, "bait/list", None, Decoy)),
    ("file", row(&["mv", "{}/decoy", "{}/bait/decoy"], Rename, "decoy", Some("bait/decoy"), Decoy)),
    ("file", row(&["rm", "{}/bait/list"], Unlink, "bait/list", None, Decoy)),
];

/// Renames of which one place is not watched: the other is looked up by handle.
#[rustfmt::skip] // A table.
const HALVES: &[(&str, Row)] = &[
    ("file", row(&["mv", "{}/out/in", "{}/w/in"], Rename, "out/in", Some("w/in"), Watched)),
    ("file", row(&["mv", "{}/w/away", "{}/out/away"], Rename, "w/away", Some("out/away"), Watched)),
];

/// Fills the directory, watches it, and does what the rows say.
fn check(place: &Path, rows: &[&[(&str, Row)]]) {
    for folder in ["w", "v", "out", "keys", "bait"] {
        fs::create_dir(place.join(folder)).unwrap();
    }
    for file in [
        "single",
        "secret",
        "decoy",
        "w/old",
        "w/a",
        "w/moved",
        "w/program",
        "w/grouped",
        "w/doomed",
        "w/away",
        "out/in",
        "out/x",
        "keys/one.key",
        "bait/list",
    ] {
        fs::write(place.join(file), "x").unwrap();
        let mut mode = fs::metadata(place.join(file)).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        fs::set_permissions(place.join(file), mode).unwrap();
    }
    let mut watch = Watch::with(config(place));
    let row = watch.row("file");
    assert!(row.covered, "{row:?}");
    assert_eq!(row.why.is_none(), tells_set_ids(), "{row:?}");
    for (class, row) in rows.iter().copied().flatten() {
        assert_eq!(*class, "file");
        let mut child = start(place, row.command);
        assert!(child.wait().unwrap().success(), "{:?}", row.command);
        let full = |path: &str| place.join(path).to_str().unwrap().to_owned();
        let wanted = FileChange {
            op: row.op,
            path: full(row.path),
            to: row.to.map(full),
            sensitivity: row.why,
        };
        let what = format!("{wanted:?} by {:?}", row.command);
        let process = watch.wait(&what, |event| {
            let is_it = change_of(event) == Some(&wanted) && event.process.pid == child.id();
            is_it.then_some(event.process)
        });
        assert_ne!(process.start_ns, 0, "{what}");
    }
    each_once(&watch.seen);
}

/// Whether the kernel tells of set-id rights on a file that is gone by then: since Linux 6.13.
fn tells_set_ids() -> bool {
    has_tracepoint("inode_set_ctime_to_ts")
}

/// No operation is told twice, by whichever group.
fn each_once(seen: &[Event]) {
    let mut told: Vec<(ProcessKey, &FileChange)> = seen
        .iter()
        .filter_map(|event| Some((event.process, change_of(event)?)))
        .collect();
    let all = told.len();
    told.dedup();
    assert_eq!(told.len(), all, "{told:?}");
}

fn config(place: &Path) -> SensorConfig {
    let at = |names: &[&str]| names.iter().map(|name| place.join(name)).collect();
    SensorConfig {
        mode: Mode::Ebpf,
        files: FilesConfig {
            defaults: false,
            watched: at(&["w", "v", "single", "later/deep"]),
            secrets: at(&["secret", "keys/*.key"]),
            decoys: at(&["decoy", "bait"]),
        },
        ..SensorConfig::default()
    }
}

fn start(place: &Path, command: &[&str]) -> Child {
    let words = command.iter();
    let words: Vec<String> = words
        .map(|word| word.replace("{}", place.to_str().unwrap()))
        .collect();
    Command::new(&words[0]).args(&words[1..]).spawn().unwrap()
}

/// Runs a shell line to its end and answers the shell's pid.
fn shell(place: &Path, line: &str) -> u32 {
    let mut child = start(place, &["sh", "-c", line]);
    assert!(child.wait().unwrap().success(), "{line}");
    child.id()
}

fn change_of(event: &Event) -> Option<&FileChange> {
    match &event.body {
        EventBody::File(change) => Some(change),
        _ => None,
    }
}

/// Waits for an operation on a path below the test's directory by this pid.
#[track_caller]
fn wait_for(watch: &mut Watch, pid: u32, op: FileOp, path: &Path) -> Event {
    let path = path.to_str().unwrap();
    watch.wait(&format!("{op:?} of {path} by {pid}"), |event| {
        let change = change_of(event)?;
        let is_it = change.op == op && change.path == path && event.process.pid == pid;
        is_it.then(|| event.clone())
    })
}

fn on_tmpfs() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

/// Class `file`, on tmpfs.
#[test]
fn each_operation_is_told_on_tmpfs() {
    check(on_tmpfs().path(), &[ROWS, HALVES]);
}

/// Class `file`, on a disk's file system.
#[test]
fn each_operation_is_told_on_a_disk() {
    check(on_disk().path(), &[ROWS, HALVES]);
}

/// Class `file`, on an overlay in a mount namespace of its own, as containers have.
#[test]
fn each_operation_is_told_on_an_overlay() {
    let place = on_disk();
    again_in(&["--mount"], "on_an_overlay", place.path());
}

#[test]
#[ignore = "the inner half: run by the test above in a namespace of its own"]
fn on_an_overlay() {
    let place = PathBuf::from(std::env::var(PLACE).unwrap());
    let all = place.join("merged");
    mount_overlay(&place, &all);
    if watching(&all, libc::FAN_CREATE).is_some() {
        check(&all, &[ROWS]);
        files_that_vanish(&all, ["w/granted", "w/plain"]);
        return files_that_vanish(&all, ["single", "w/plain"]);
    }
    fs::create_dir(all.join("w")).unwrap();
    let watch = Watch::with(config(&all));
    let row = watch.row("file");
    let (why, remedy) = (row.why.as_ref().unwrap(), row.remedy.as_ref().unwrap());
    assert!(why.contains(all.join("w").to_str().unwrap()), "{row:?}");
    assert!(remedy.contains("overlays"), "{row:?}");
    // Such a kernel is also too old for the other.
    assert!(remedy.contains("6.13"), "{row:?}");
}

/// Class `file`: of the files that one process changed and removed at once only that one is told as set-id
/// that was.
#[test]
fn of_files_that_vanish_only_the_set_id_one_is_told() {
    for place in [on_tmpfs(), on_disk()] {
        fs::create_dir(place.path().join("w")).unwrap();
        files_that_vanish(place.path(), ["w/granted", "w/plain"]);
    }
}

fn files_that_vanish(place: &Path, names: [&str; 2]) {
    if !tells_set_ids() {
        return;
    }
    let [granted, plain] = names.map(|name| place.join(name));
    for path in [&granted, &plain] {
        fs::write(path, "x").unwrap();
    }
    let mut watch = Watch::with(config(place));
    let line = "chmod 04755, $ARGV[0]; chmod 0644, $ARGV[1]; unlink @ARGV";
    let mut command = Command::new("perl");
    command.args(["-e", line]).args([&granted, &plain]);
    let mut child = command.spawn().unwrap();
    assert!(child.wait().unwrap().success());
    for path in [&granted, &plain] {
        wait_for(&mut watch, child.id(), Unlink, path);
    }
    let changes = watch.seen.iter().filter_map(change_of);
    let chmods = changes.filter(|change| change.op == Chmod);
    let told: Vec<&str> = chmods.map(|change| change.path.as_str()).collect();
    assert_eq!(told, [granted.to_str().unwrap()]);
}

/// In this process's mount namespace, which ends with it. One file is there before.
fn mount_overlay(place: &Path, all: &Path) {
    let layers = ["lower", "upper", "work"].map(|name| place.join(name));
    for folder in layers.iter().map(PathBuf::as_path).chain([all]) {
        fs::create_dir(folder).unwrap();
    }
    fs::write(place.join("lower/single"), "x").unwrap();
    let [lower, upper, work] = layers.map(|path| path.to_str().unwrap().to_owned());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(all)
        .status()
        .unwrap();
    assert!(mounted.success());
}

/// Runs an ignored test of this program in namespaces of its own.
fn again_in(namespaces: &[&str], test: &str, place: &Path) {
    let status = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(PLACE, place)
        .status()
        .unwrap();
    assert!(status.success());
}

/// Class `file`: a path that was not there is watched from its first moment, also when what is in it is
/// made at once by whoever makes it.
#[test]
fn what_is_made_in_a_new_directory_at_once_is_told() {
    for place in [on_tmpfs(), on_disk()] {
        let place = place.path();
        let mut watch = Watch::with(config(place));
        let line = "mkdir -p {}/later/deep && echo x > {}/later/deep/first";
        let pid = shell(place, line);
        wait_for(&mut watch, pid, Create, &place.join("later/deep/first"));
        // Once more, with another directory under the same name.
        shell(place, "rm -r {}/later");
        let pid = shell(place, line);
        wait_for(&mut watch, pid, Create, &place.join("later/deep/first"));
        let pid = shell(
            place,
            "mv {}/later {}/old; echo x > {}/old/deep/second; mkdir -p {}/w; : > {}/w/third",
        );
        wait_for(&mut watch, pid, Create, &place.join("w/third"));
        let is_moved =
            |event: &Event| change_of(event).is_some_and(|it| it.path.ends_with("second"));
        assert!(!watch.seen.iter().any(is_moved));
    }
}

/// Class `file`: a secret that is replaced, as passwd(1) does it, is still one.
#[test]
fn a_secret_that_was_replaced_is_watched_on() {
    for place in [on_tmpfs(), on_disk()] {
        let place = place.path();
        fs::write(place.join("secret"), "x").unwrap();
        let mut watch = Watch::with(config(place));
        let line = "echo y > {}/secret.new; exec mv {}/secret.new {}/secret";
        let pid = shell(place, line);
        let renamed = place.join("secret.new");
        wait_for(&mut watch, pid, Rename, &renamed);
        // The mark follows the telling; each try is a process of its own.
        let end = std::time::Instant::now() + DEADLINE;
        let secret = place.join("secret");
        loop {
            let pid = shell(place, "exec cat {}/secret");
            let probe = shell(place, ": > {}/single");
            wait_for(&mut watch, probe, Write, &place.join("single"));
            let is_read = |event: &Event| {
                event.process.pid == pid
                    && change_of(event)
                        .is_some_and(|it| it.op == Read && it.path == secret.to_str().unwrap())
            };
            if watch.seen.iter().any(is_read) {
                break;
            }
            assert!(
                std::time::Instant::now() < end,
                "the new secret is not watched"
            );
        }
    }
}

/// Class `file`: one process that reads a secret over and over is told once.
#[test]
fn a_secret_that_is_read_over_and_over_is_told_once() {
    let place = on_tmpfs();
    let place = place.path();
    fs::write(place.join("secret"), "x").unwrap();
    let mut watch = Watch::with(config(place));
    let line = "for i in 1 2 3 4 5; do read -r x < {}/secret; done; : > {}/single";
    let pid = shell(place, line);
    wait_for(&mut watch, pid, Write, &place.join("single"));
    let reads = watch
        .seen
        .iter()
        .filter_map(change_of)
        .filter(|it| it.op == Read);
    assert_eq!(reads.count(), 1);
}

/// Class `file`: what happens in a container is its process's doing, under the host's pid.
#[test]
fn a_container_is_told_by_its_processes_keys() {
    let place = on_disk();
    let place = place.path();
    fs::create_dir(place.join("w")).unwrap();
    let cgroup = Cgroup::new("files");
    let mut watch = Watch::with(config(place));
    let name = mark("box");
    let line = format!(
        "echo $$ > {}/cgroup.procs; exec unshare --pid --mount --fork sh -c 'echo $$ > {{}}/w/box' {name}",
        cgroup.0.display()
    );
    shell(place, &line);
    let (shell, _) = watch.exec_where("the container's shell", |_, exec| {
        exec.argv.len() == 4 && exec.argv[0] == "sh" && exec.argv[3] == name
    });
    let told = wait_for(&mut watch, shell.process.pid, Create, &place.join("w/box"));
    assert_eq!(told.process, shell.process);
    assert_eq!(told.cgroup_id, cgroup.id());
    assert_eq!(fs::read_to_string(place.join("w/box")).unwrap(), "1\n");
}

/// A cgroup that is removed when the test ends, however it ends.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let path = cgroup_root().join(mark(name));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn id(&self) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&self.0).unwrap())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Not while something runs in it: then the test has failed already.
        fs::remove_dir(&self.0).unwrap_or_default();
    }
}

/// Class `file`, scope of a cgroup: inside it is told, outside it is not.
#[test]
fn of_a_cgroup_only_what_is_in_it_is_told() {
    let place = on_tmpfs();
    let place = place.path();
    fs::create_dir(place.join("w")).unwrap();
    let cgroup = Cgroup::new("files-scope");
    let mut watch = Watch::with(SensorConfig {
        scope: Scope::Cgroup(cgroup.0.clone()),
        ..config(place)
    });
    shell(place, "echo x > {}/w/outside");
    let line = format!(
        "echo $$ > {}/cgroup.procs; exec sh -c ': > {{}}/w/inside'",
        cgroup.0.display()
    );
    let pid = shell(place, &line);
    wait_for(&mut watch, pid, Create, &place.join("w/inside"));
    shell(place, "echo x > {}/w/outside");
    let pid = shell(place, &line.replace("inside", "last"));
    wait_for(&mut watch, pid, Create, &place.join("w/last"));
    let is_outside =
        |event: &Event| change_of(event).is_some_and(|it| it.path.ends_with("outside"));
    assert!(!watch.seen.iter().any(is_outside));
}

/// Classes `file` and `file_rates`, scope of a PID namespace: nothing from outside it.
#[test]
fn outside_a_pid_namespace_nothing_is_told() {
    let place = on_tmpfs();
    fs::create_dir(place.path().join("w")).unwrap();
    let line = "while :; do echo x > {}/w/outside; done";
    let mut noise = Ended(start(place.path(), &["sh", "-c", line]));
    let namespaces = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    again_in(&namespaces, "inside_a_pid_namespace", place.path());
    assert!(noise.0.try_wait().unwrap().is_none());
}

#[test]
#[ignore = "the inner half: run by the test above in a namespace of its own"]
fn inside_a_pid_namespace() {
    let place = PathBuf::from(std::env::var(PLACE).unwrap());
    let mut watch = Watch::with(SensorConfig {
        scope: Scope::PidNamespace,
        ..config(&place)
    });
    let pid = shell(&place, ": > {}/w/inside");
    wait_for(&mut watch, pid, Create, &place.join("w/inside"));
    let line = "i=0; while [ $i -lt 100 ]; do : > {}/out$i; i=$((i+1)); done";
    let pid = shell(&place, line);
    watch.wait("rates", |event| {
        let is_it = matches!(event.body, EventBody::FileRates(_));
        is_it.then(|| assert_eq!(event.process.pid, pid))
    });
    let is_outside =
        |event: &Event| change_of(event).is_some_and(|it| it.path.ends_with("outside"));
    assert!(!watch.seen.iter().any(is_outside));
}

/// Ends its process when the test ends, however it ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

/// Class `file`: the agent's own doings are not told, and without rights nothing is claimed.
#[test]
fn without_rights_the_rows_say_what_would_mend_it() {
    let place = on_tmpfs();
    let status = Command::new("setpriv")
        .args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--reuid=65534",
            "--clear-groups",
            "--",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "without_rights", "--ignored", "--nocapture"])
        .env(PLACE, place.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "run by the test above without rights"]
fn without_rights() {
    let watch = Watch::start(Scope::Host, Mode::Auto);
    for class in ["file", "file_rates"] {
        let row = watch.row(class);
        assert!(!row.covered);
        assert!(
            row.why.as_ref().unwrap().contains("CAP_SYS_ADMIN"),
            "{row:?}"
        );
        assert!(
            row.remedy.as_ref().unwrap().contains("CAP_SYS_ADMIN"),
            "{row:?}"
        );
    }
}

/// Class `file`: by default, what an intruder on a server would touch is watched.
#[test]
fn the_defaults_watch_this_machines_own_accounts() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let pid = shell(Path::new("/"), "exec cat /etc/shadow > /dev/null");
    let told = wait_for(&mut watch, pid, Read, Path::new("/etc/shadow"));
    assert_eq!(change_of(&told).unwrap().sensitivity, Secret);
    let own = PathBuf::from(format!("/tmp/{}", mark("set-id")));
    fs::write(&own, "x").unwrap();
    let mut child = Command::new("chmod").arg("4755").arg(&own).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    if !tells_set_ids() {
        wait_for(&mut watch, child.id(), Chmod, &own);
    }
    fs::remove_file(&own).unwrap();
    wait_for(&mut watch, child.id(), Chmod, &own);
    // Of the agent itself, which made and removed it, nothing.
    let is_own =
        |event: &Event| change_of(event).is_some() && event.process.pid == std::process::id();
    assert!(!watch.seen.iter().any(is_own));
}
