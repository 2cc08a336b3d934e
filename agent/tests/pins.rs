//! The controller's addresses when its name changes, asked of the system's own resolver.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use cordon_agent::pins::Pins;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const NAME: &str = "controller.cordon.test:7443";

fn addresses(of: &[&str]) -> Vec<SocketAddr> {
    of.iter().map(|one| one.parse().unwrap()).collect()
}

/// Runs `job` where the file is the machine's `/etc/hosts`, and no network answers names.
fn with_hosts(hosts: &Path, job: impl FnOnce() + Send + 'static) {
    let hosts = hosts.to_owned();
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).unwrap();
        mount(Some(&hosts), "/etc/hosts", none, MsFlags::MS_BIND, none).unwrap();
        job();
    };
    std::thread::spawn(inside).join().unwrap();
}

#[test]
fn the_addresses_are_those_of_the_name_now_and_of_before_when_nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (hosts, state) = (folder.path().join("hosts"), folder.path().to_owned());
    fs::write(&hosts, "").unwrap();
    let file = hosts.clone();
    with_hosts(&hosts, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let pins = Pins::load(&state, NAME);
        let resolve = || runtime.block_on(pins.resolve());
        let say = |lines: &str| fs::write(&file, lines).unwrap();
        assert!(
            resolve()
                .unwrap_err()
                .to_string()
                .contains("check name and DNS")
        );
        // On IPv6 alone; then several controllers; then one that moved.
        for (lines, expected) in [
            (
                "fd99::10 controller.cordon.test\n",
                &["[fd99::10]:7443"][..],
            ),
            (
                "10.99.0.10 controller.cordon.test\n10.99.0.11 controller.cordon.test\nfd99::10 controller.cordon.test\n",
                &["10.99.0.10:7443", "10.99.0.11:7443", "[fd99::10]:7443"],
            ),
            ("10.99.0.77 controller.cordon.test\n", &["10.99.0.77:7443"]),
        ] {
            say(lines);
            resolve().unwrap();
            assert_eq!(pins.known(), addresses(expected));
            // They are there for the next start too, which may find nobody to ask.
            assert_eq!(Pins::load(&state, NAME).known(), addresses(expected));
        }
        say("");
        assert_eq!(resolve().unwrap(), addresses(&["10.99.0.77:7443"]));
        assert_eq!(Pins::load(&state, "other.test:7443").known(), []);
    });
}
