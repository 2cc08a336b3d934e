//! Serving: what is wrong with a site is said before anybody is served, and an end is an orderly one.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod site;

use std::fs;
use std::net::TcpListener;

use site::{Site, stderr};

fn refused(site: &Site) -> String {
    let out = site.serve_output();
    assert_eq!(out.status.code(), Some(1));
    let all = stderr(&out);
    all.lines().last().unwrap().to_owned()
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let site = Site::init();
    for (port, setting) in [(7443, "grpc.listen"), (8443, "http.listen")] {
        let taken = TcpListener::bind((site.address(), port)).unwrap();
        let words = refused(&site);
        assert!(
            words.contains(&format!("{}:{port}", site.address())),
            "{words}"
        );
        assert!(words.contains(setting), "{words}");
        drop(taken);
    }
}

#[test]
fn an_unknown_setting_is_named() {
    let site = Site::init();
    site.edit_config(|text| text.replace("[http]", "[http]\nlissen = 1"));
    let words = refused(&site);
    assert!(
        words.contains("controller.toml") && words.contains("lissen"),
        "{words}"
    );
}

#[test]
fn a_key_that_is_missing_or_broken_is_named() {
    for (file, content, wanted) in [
        ("keys/order.key", None, "order.key"),
        ("keys/ca.key", Some("nonsense"), "ca.key"),
        ("keys/server.key", Some("nonsense"), "server.pem"),
        ("keys/policy.pub", Some("abc"), "policy.pub"),
        (
            "cordon.db",
            Some("this is no database, it is a letter of some length"),
            "database",
        ),
    ] {
        let site = Site::init();
        let path = site.data().join(file);
        match content {
            None => fs::remove_file(path).unwrap(),
            Some(content) => fs::write(path, content).unwrap(),
        }
        let words = refused(&site);
        assert!(words.contains(wanted), "{file}: {words}");
    }
}

#[test]
fn the_ca_of_another_site_is_noticed() {
    let (site, other) = (Site::init(), Site::init());
    fs::copy(
        other.data().join("keys/ca.pem"),
        site.data().join("keys/ca.pem"),
    )
    .unwrap();
    let words = refused(&site);
    assert!(words.contains("does not belong"), "{words}");
}

#[test]
fn no_site_at_all_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let out = site::program("cordon-controller", &["serve", "--data"])
        .arg(dir.path())
        .output()
        .unwrap();
    let words = stderr(&out);
    assert!(words.contains("cordon-controller init"), "{words}");
}

#[test]
fn a_site_without_its_policy_key_serves() {
    let mut site = Site::init();
    fs::remove_file(site.data().join("keys/policy.key")).unwrap();
    site.serve();
    assert_eq!(site.ctl(&["hosts"]), serde_json::json!([]));
}

#[test]
fn told_to_end_it_ends_in_order_and_serves_again() {
    let mut site = Site::serving();
    let created = site.ctl(&["token", "create", "--group", "servers", "--uses", "2"]);
    let status = site.terminate();
    assert_eq!(status.code(), Some(0), "{}", site.log());
    assert!(site.log().contains("stopped"), "{}", site.log());
    assert!(
        !site.data().join("cordon.db-wal").exists(),
        "the database was not closed"
    );

    site.serve();
    let tokens = site.ctl(&["token", "list"]);
    assert_eq!(tokens[0]["name"], created["name"]);
    assert!(
        !tokens
            .to_string()
            .contains(created["token"].as_str().unwrap())
    );
}
