//! Making a site: all of it or nothing, and never over one that is there.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use site::{Site, program, stderr};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn init_fails(data: &Path, arguments: &[&str]) -> String {
    let out = program("cordon-controller", &["init", "--data"])
        .arg(data)
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1), "{arguments:?}");
    stderr(&out)
}

const GOOD: [&str; 4] = ["--site", "lab", "--address", "192.0.2.1:7443"];

#[test]
fn a_new_site_is_for_its_owner_only_and_says_what_its_owner_must_know() {
    let site = Site::init();
    assert_eq!(site.said["ca_fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(site.said["admin_user"], "admin");
    assert!(site.said["admin_password"].as_str().unwrap().len() >= 20);

    let data = site.data();
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("keys")), 0o700);
    let mut names = Vec::new();
    for folder in [&data, &data.join("keys")] {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
                names.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    names.sort();
    let wanted = [
        "ca.key",
        "ca.pem",
        "controller.toml",
        "cordon.db",
        "cordonctl.token",
        "order.key",
        "order.pub",
        "policy.key",
        "policy.pub",
        "release.key",
        "release.pub",
        "server.key",
        "server.pem",
    ];
    assert_eq!(names, wanted);
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let site = Site::init();
    let read = |name: &str| fs::read(site.data().join(name)).unwrap();
    let before = (
        read("keys/ca.key"),
        read("controller.toml"),
        read("cordon.db"),
    );
    let words = init_fails(&site.data(), &GOOD);
    assert!(words.contains("holds a site already"), "{words}");
    let after = (
        read("keys/ca.key"),
        read("controller.toml"),
        read("cordon.db"),
    );
    assert!(before == after);
}

#[test]
fn what_cannot_be_made_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("deep/site");
    for (arguments, wanted) in [
        (
            &["--site", "No Spaces", "--address", "192.0.2.1:7443"][..],
            "site name",
        ),
        (
            &["--site", "lab", "--address", "192.0.2.1:0"],
            "needs the port",
        ),
        (
            &[
                "--site",
                "lab",
                "--address",
                "192.0.2.1:7443",
                "--address",
                "192.0.2.1:7444",
            ],
            "another port",
        ),
    ] {
        let words = init_fails(&data, arguments);
        assert!(words.contains(wanted), "{words}");
        assert!(!data.exists(), "{wanted}");
        if let Ok(left) = fs::read_dir(dir.path().join("deep")) {
            assert_eq!(left.count(), 0, "{wanted}");
        }
    }
}

#[test]
fn a_folder_with_other_things_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let words = init_fails(dir.path(), &GOOD);
    assert!(words.contains("is not empty"), "{words}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_folder_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("empty");
    fs::create_dir(&data).unwrap();
    let out = program("cordon-controller", &["init", "--data"])
        .arg(&data)
        .args(GOOD)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(mode(&data), 0o700);
    let words = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        words.contains("CA fingerprint") && words.contains("policy.key"),
        "{words}"
    );
}
