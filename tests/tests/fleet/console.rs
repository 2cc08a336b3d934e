//! The console's own end-to-end test: a real browser on the real pages, after a real attack.

use std::path::Path;
use std::process::Command;

use super::*;

#[test]
fn a_person_sees_the_incident_and_releases_the_host_in_the_browser() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    wait_confirmed(&fleet);
    let console = fleet.open_console().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controller/console");
    let driven = Command::new("npm")
        .args(["run", "--silent", "e2e"])
        .current_dir(folder)
        .env("CORDON_CONSOLE_URL", format!("https://{console}"))
        .env("CORDON_USER", &fleet.site().admin_user)
        .env("CORDON_PASSWORD", &fleet.site().admin_password)
        .output()
        .unwrap();
    let said = [driven.stdout, driven.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(driven.status.success(), "{said}");
    doors.assert_all(true);
}
