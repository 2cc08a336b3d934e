//! Each class of process events is caused by really doing it. Needs root and a kernel with BTF.
// Long because an exec has many fields, each with an action of its own.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cordon_behavior::event::Namespaces;
use cordon_sensor::{Event, EventBody, Exec, Mode, Scope};
use nix::sys::memfd::{MFdFlags, memfd_create};
use support::{Groups, Watch, mark, marked};

/// A class of events, and an action that must cause one with exactly what is expected of it.
type Row = (&'static str, fn(&mut Watch));

const ROWS: &[Row] = &[
    ("exec", an_image_is_known_by_its_file),
    ("exec", a_script_is_told_beside_its_interpreter),
    ("exec", an_image_executed_by_descriptor_is_told),
    ("exec", a_memfd_executed_by_descriptor_is_told),
    ("exec", groups_and_capabilities_are_told),
    ("exec", a_login_is_told),
    ("exec", other_namespaces_than_the_parents_are_told),
    ("exec", variables_on_the_short_list_are_named),
    ("exec", a_variable_behind_hundreds_is_named),
    ("exec", a_place_that_anybody_may_write_is_told),
    ("fork", a_fork_names_parent_and_child),
    ("exit", an_exit_has_its_code),
    ("exit", a_kill_has_its_signal),
    ("cgroup", a_cgroup_is_told_when_made_and_removed),
    ("snapshot", what_ran_before_is_found),
];

#[test]
fn every_row_is_told() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    for (class, cause) in ROWS {
        assert!(watch.row(class).covered, "{class} is not covered");
        cause(&mut watch);
    }
}

/// Runs it and answers what was told of it.
fn run(watch: &mut Watch, mark: &str, command: &mut Command) -> Exec {
    assert!(command.status().unwrap().success());
    watch.exec(mark).1
}

fn an_image_is_known_by_its_file(watch: &mut Watch) {
    let mark = mark("file");
    let exec = run(watch, &mark, &mut marked("/bin/sh", &mark));
    let file = fs::metadata("/bin/sh").unwrap();
    let identity = exec.identity.unwrap();
    assert_eq!((identity.device, identity.inode), (file.dev(), file.ino()));
    let mtime_ns = file.mtime() * 1_000_000_000 + file.mtime_nsec();
    assert_eq!(identity.mtime_ns, mtime_ns.cast_unsigned());
    assert_eq!(identity.size, file.size());
    assert_eq!(exec.script, "");
    assert!(!exec.by_descriptor);
}

fn a_script_is_told_beside_its_interpreter(watch: &mut Watch) {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().canonicalize().unwrap();
    let script = directory.join("run.sh");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    for given in ["./run.sh", script.to_str().unwrap()] {
        let mark = mark("script");
        let mut command = Command::new(given);
        let exec = run(watch, &mark, command.arg(&mark).current_dir(&directory));
        assert_eq!(exec.script, script.to_str().unwrap());
        let shell = fs::canonicalize("/bin/sh").unwrap();
        assert_eq!(exec.exe, shell.to_str().unwrap());
        assert_eq!(exec.argv, ["/bin/sh", given, &mark]);
    }
}

/// Executes an open file by its descriptor.
fn by_descriptor(watch: &mut Watch, file: OwnedFd) -> Exec {
    let mark = mark("descriptor");
    let words = ["sh", "-c", ":", &mark].map(|word| CString::new(word).unwrap());
    let mut command = Command::new("/bin/false");
    // SAFETY: the closure makes one system call with memory that was prepared before the fork.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::fexecve(file.as_fd(), &words, &[] as &[CString])?;
            Ok(())
        });
    }
    run(watch, &mark, &mut command)
}

fn an_image_executed_by_descriptor_is_told(watch: &mut Watch) {
    let exec = by_descriptor(watch, File::open("/bin/sh").unwrap().into());
    assert!(exec.by_descriptor && !exec.memfd);
    assert_eq!(
        exec.exe,
        fs::canonicalize("/bin/sh").unwrap().to_str().unwrap()
    );
    assert_eq!(exec.script, "");
}

fn a_memfd_executed_by_descriptor_is_told(watch: &mut Watch) {
    let mut file = File::from(memfd_create(c"payload", MFdFlags::empty()).unwrap());
    std::io::copy(&mut File::open("/bin/sh").unwrap(), &mut file).unwrap();
    // One that is open for writing is refused.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let readable = File::open(path).unwrap();
    drop(file);
    let exec = by_descriptor(watch, readable.into());
    assert!(exec.by_descriptor && exec.memfd);
    assert_eq!(exec.exe, "/memfd:payload");
    assert_eq!(exec.origin.world_writable, None);
}

fn groups_and_capabilities_are_told(watch: &mut Watch) {
    let own = mark("root");
    let exec = run(watch, &own, &mut marked("/bin/sh", &own));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"));
    let effective = u64::from_str_radix(effective.unwrap(), 16).unwrap();
    assert_eq!(exec.capabilities, effective);
    let nobody = mark("nobody");
    let mut command = marked("/bin/sh", &nobody);
    let exec = run(watch, &nobody, command.uid(65534).gid(65533));
    assert_eq!((exec.uid, exec.euid), (65534, 65534));
    assert_eq!((exec.gid, exec.egid), (65533, 65533));
    assert_eq!(exec.capabilities, 0);
}

fn a_login_is_told(watch: &mut Watch) {
    let without = mark("daemon");
    let exec = run(watch, &without, &mut marked("/bin/sh", &without));
    let own = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap();
    let known = |text: String| text.trim().parse().ok().filter(|id| *id != u32::MAX);
    assert_eq!(exec.login_uid, known(own("loginuid")));
    assert_eq!(exec.session, known(own("sessionid")));
    let with = mark("login");
    let line = format!("echo 4242 >/proc/self/loginuid; exec /bin/sh -c : {with}");
    let exec = run(watch, &with, Command::new("/bin/sh").args(["-c", &line]));
    assert_eq!(exec.login_uid, Some(4242));
    assert!(exec.session.is_some());
}

fn other_namespaces_than_the_parents_are_told(watch: &mut Watch) {
    let none = Namespaces::default();
    let cases = [
        ("--mount", Namespaces { mnt: true, ..none }),
        ("--uts", Namespaces { uts: true, ..none }),
        ("--ipc", Namespaces { ipc: true, ..none }),
        ("--net", Namespaces { net: true, ..none }),
        (
            "--cgroup",
            Namespaces {
                cgroup: true,
                ..none
            },
        ),
        ("--user", Namespaces { user: true, ..none }),
        // These two are for children only.
        ("--fork --pid", Namespaces { pid: true, ..none }),
        ("--fork --time", Namespaces { time: true, ..none }),
    ];
    for (options, expected) in cases {
        let mark = mark("namespace");
        let mut command = Command::new("unshare");
        command.args(options.split(' '));
        command.args(["/bin/sh", "-c", ":", &mark]);
        assert!(command.status().unwrap().success());
        // `unshare` itself has the mark too.
        let (_, exec) = watch.exec_where("exec in the namespace", |_, exec| {
            exec.argv.len() == 4 && exec.argv[3] == mark
        });
        assert_eq!(exec.namespaces, expected, "{options}");
    }
    let same = mark("same");
    let exec = run(watch, &same, &mut marked("/bin/sh", &same));
    assert!(exec.namespaces.is_empty());
}

fn variables_on_the_short_list_are_named(watch: &mut Watch) {
    let mark = mark("variables");
    let mut command = marked("/bin/sh", &mark);
    command.env_clear();
    let secret = "s3cret-value";
    for name in [
        "HISTFILE",
        "LD_LIBRARY_PATH",
        "ENV",
        "SUDO_COMMAND",
        "all_proxy",
    ] {
        command.env(name, secret);
    }
    for name in [
        "HISTFILESIZE",
        "ENVIRONMENT",
        "XLD_PRELOAD",
        "PATH",
        "LD_",
        "E",
    ] {
        command.env(name, "LD_PRELOAD=");
    }
    assert!(command.status().unwrap().success());
    let (event, mut exec) = watch.exec(&mark);
    exec.env.sort();
    let expected = [
        "ENV",
        "HISTFILE",
        "LD_LIBRARY_PATH",
        "SUDO_COMMAND",
        "all_proxy",
    ];
    assert_eq!(exec.env, expected);
    assert!(!format!("{event:?}").contains(secret));
    let none = support::mark("none");
    let exec = run(watch, &none, marked("/bin/sh", &none).env_clear());
    assert!(exec.env.is_empty(), "{:?}", exec.env);
}

/// Behind more variables, and more bytes of them, than the program reads at once.
fn a_variable_behind_hundreds_is_named(watch: &mut Watch) {
    let mark = mark("hundreds");
    let mut command = marked("/bin/sh", &mark);
    command.env_clear();
    for number in 0..300 {
        command.env(format!("A{number:03}"), "x".repeat(50));
    }
    command.env("PYTHONSTARTUP", "/x");
    let exec = run(watch, &mark, &mut command);
    assert_eq!(exec.env, ["PYTHONSTARTUP"]);
}

fn a_place_that_anybody_may_write_is_told(watch: &mut Watch) {
    // Not below the checkout: somebody may have it in `/tmp`, where every folder above counts.
    let directory = tempfile::tempdir_in("/var/lib").unwrap();
    let program = directory.path().join("sh");
    fs::copy("/bin/sh", &program).unwrap();
    let open_above = |path: &Path| {
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        path.ancestors().any(|above| mode(above) & 0o002 != 0)
    };
    assert!(
        !open_above(&program),
        "{} is no place for this test",
        program.display()
    );
    let mut told = |file: u32, folder: u32| {
        fs::set_permissions(&program, Permissions::from_mode(file)).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(folder)).unwrap();
        let mark = mark("writable");
        let exec = run(watch, &mark, &mut marked(program.to_str().unwrap(), &mark));
        exec.origin.world_writable
    };
    assert_eq!(told(0o755, 0o755), Some(false));
    assert_eq!(told(0o757, 0o755), Some(true));
    assert_eq!(told(0o755, 0o777), Some(true));
    assert_eq!(told(0o755, 0o1777), Some(true));
}

fn a_fork_names_parent_and_child(watch: &mut Watch) {
    let mark = mark("fork");
    let line = format!("(/bin/sh -c : {mark})");
    let mut outer = Command::new("/bin/sh").args(["-c", &line]).spawn().unwrap();
    outer.wait().unwrap();
    let (child, exec) = watch.exec(&mark);
    let parent = watch.wait("fork", |event| match event.body {
        EventBody::Fork { child: it } if it == child.process => Some(event.process),
        _ => None,
    });
    assert_eq!(exec.parent, Some(parent));
}

/// How the process of that mark ended.
fn end_of(watch: &mut Watch, mark: &str) -> (i32, i32) {
    let (exec, _) = watch.exec(mark);
    watch.wait("exit", |event| match event.body {
        EventBody::Exit { code, signal } if event.process == exec.process => Some((code, signal)),
        _ => None,
    })
}

fn an_exit_has_its_code(watch: &mut Watch) {
    let mark = mark("exit");
    let line = ["-c", "exit 42", &mark];
    Command::new("/bin/sh").args(line).status().unwrap();
    assert_eq!(end_of(watch, &mark), (42, 0));
}

fn a_kill_has_its_signal(watch: &mut Watch) {
    let mark = mark("kill");
    let line = ["-c", "kill -TERM $$", &mark];
    Command::new("/bin/sh").args(line).status().unwrap();
    assert_eq!(end_of(watch, &mark), (0, 15));
}

fn what_ran_before_is_found(_: &mut Watch) {
    let mut child = Command::new("/bin/cat")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut late = Watch::start(Scope::Host, Mode::Ebpf);
    let (_, exec) = late.exec_where("snapshot", |event, _| event.process.pid == child.id());
    assert!(exec.snapshot);
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Where a cgroup of this name is told, and whether it was made.
fn cgroup(event: &Event, ending: &str) -> Option<(u64, String, bool)> {
    match &event.body {
        EventBody::Cgroup { id, path, created } if path.ends_with(ending) => {
            Some((*id, path.clone(), *created))
        }
        _ => None,
    }
}

fn a_cgroup_is_told_when_made_and_removed(watch: &mut Watch) {
    let name = mark("made");
    let groups = Groups::make(&name, &["below"]);
    let folder = groups.path("below");
    let id = folder.metadata().unwrap().ino();
    let inside = mark("inside");
    groups.run("below", &format!("exec /bin/sh -c : {inside}"));
    let (event, _) = watch.exec(&inside);
    assert_eq!(event.cgroup_id, id);
    let ending = format!("{name}/below");
    let made = watch.wait("cgroup", |event| cgroup(event, &ending));
    assert_eq!(made, (id, format!("/{ending}"), true));
    let place = |of: &dyn Fn(&Event) -> bool| watch.seen.iter().position(of).unwrap();
    let named = place(&|event| cgroup(event, &ending).is_some());
    let used = place(&|event| event.cgroup_id == id && cgroup(event, &ending).is_none());
    assert!(named < used);
    drop(groups);
    watch.wait("cgroup removed", |event| {
        cgroup(event, &ending).filter(|(.., created)| !created)
    });
}

/// Class `snapshot`: a process, and class `cgroup`: the cgroup that it is in, were there before.
#[test]
fn what_was_there_before_is_told_in_full() {
    let name = mark("before");
    let groups = Groups::make(&name, &["below"]);
    let mark = mark("snapshot");
    let join = format!("echo $$ >{}/cgroup.procs; ", groups.path("below").display());
    let line = format!("{join} exec /bin/sh -c 'echo; read line' {mark}");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.env("HISTFILE", "/dev/null").spawn().unwrap();
    // It runs the image that is to be found once it has said something.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let (event, exec) = watch.exec_where("snapshot", |_, exec| exec.argv.last() == Some(&mark));
    assert!(exec.snapshot);
    assert_eq!(event.process.pid, child.id());
    let file = fs::metadata("/bin/sh").unwrap();
    assert_eq!(
        exec.identity.map(|it| (it.device, it.inode)),
        Some((file.dev(), file.ino()))
    );
    assert_eq!(exec.origin.world_writable, Some(false));
    let id = groups.path("below").metadata().unwrap().ino();
    assert_eq!(event.cgroup_id, id);
    let ending = format!("{name}/below");
    let before = watch.seen.iter().find_map(|event| cgroup(event, &ending));
    assert_eq!(before, Some((id, format!("/{ending}"), true)));
    drop(child.stdin.take());
    child.wait().unwrap();
}
