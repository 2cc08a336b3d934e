//! A process in a container's cgroup, and a packaged image, seen by a whole sensor. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use cordon_sensor::{Mode, Scope};
use support::{DEADLINE, Watch, cgroup_root, mark};

/// A cgroup that is named as docker names one, and a shell that is executed in it and executes another for each line
/// it reads, which lives for long enough to be found in /proc. Both end with it.
struct Contained {
    id: String,
    group: PathBuf,
    shell: Child,
}

impl Contained {
    fn start() -> Self {
        let now = mark("").bytes().fold(0u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        let id = format!("{now:064x}");
        let group = cgroup_root().join(format!("docker-{id}.scope"));
        std::fs::create_dir(&group).unwrap();
        let script = format!(
            "echo $$ > {}/cgroup.procs; \
             exec /bin/sh -c 'while read line; do /bin/sh -c \"sleep 0.3; :\" $line; done'",
            group.display()
        );
        let shell = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn();
        Self {
            id,
            group,
            shell: shell.unwrap(),
        }
    }

    fn execute(&mut self, mark: &str) {
        writeln!(self.shell.stdin.as_ref().unwrap(), "{mark}").unwrap();
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        if let Err(error) = self.shell.wait() {
            eprintln!("cannot wait for the shell: {error}");
        }
        if let Err(error) = std::fs::remove_dir(&self.group) {
            eprintln!("cannot remove {}: {error}", self.group.display());
        }
    }
}

fn a_container_is_told(mode: Mode) {
    let mut watch = Watch::start(Scope::Host, mode);
    let mut contained = Contained::start();
    let deadline = Instant::now() + DEADLINE;
    // Where no event names the cgroup the first one of it makes the sensor look.
    loop {
        let mark = mark("container");
        contained.execute(&mark);
        let (event, exec) = watch.exec(&mark);
        if let Some(container) = event.container {
            assert_eq!(
                (container.id.as_str(), container.runtime.as_str()),
                (contained.id.as_str(), "docker")
            );
            assert_eq!(exec.origin.package, None, "its files may be others");
            return;
        }
        assert!(Instant::now() < deadline, "no event tells the container");
    }
}

#[test]
fn a_process_in_a_containers_cgroup_has_its_container() {
    a_container_is_told(Mode::Ebpf);
}

#[test]
fn the_fallback_finds_the_container_too() {
    a_container_is_told(Mode::Proc);
}

#[test]
fn an_images_package_is_told() {
    for mode in [Mode::Ebpf, Mode::Proc] {
        let mut watch = Watch::start(Scope::Host, mode);
        let mark = mark("package");
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "read line", &mark])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (_, exec) = watch.exec(&mark);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        assert_eq!(exec.exe, shell.to_str().unwrap());
        assert_eq!(exec.origin.package.as_deref(), Some("dash"), "{mode}");
    }
}

#[test]
fn every_cache_of_facts_shows_its_bound() {
    let watch = Watch::start(Scope::Host, Mode::Proc);
    let caches = watch.sensor.caches();
    for name in [
        "packages",
        "first_seen",
        "containers",
        "container_processes",
        "elsewhere",
        "proved_images",
        "facts_asked",
    ] {
        let cache = caches.iter().find(|cache| cache.name == name).unwrap();
        assert!(
            cache.bytes <= cache.limit_bytes && cache.limit_bytes > 0,
            "{cache:?}"
        );
    }
    let packages = caches
        .iter()
        .find(|cache| cache.name == "packages")
        .unwrap();
    assert!(packages.entries > 1000, "{packages:?}");
}
