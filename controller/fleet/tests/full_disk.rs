//! A full disk slows agents down and loses nothing.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use std::path::Path;
use std::process::Command;

use cordon_proto::pb::controller_message::Body as Reply;
use support::{Controller, detection};

/// Set in a copy of this program that has a small disk of its own there.
const DISK: &str = "CORDON_FLEET_DISK";

#[test]
fn while_the_disk_is_full_agents_are_slowed_and_afterwards_all_is_there() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(disk) = std::env::var_os(DISK) {
        return runtime.block_on(on_a_small_disk(Path::new(&disk)));
    }
    let disk = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=4m cordon \"$CORDON_FLEET_DISK\" && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "while_the_disk_is_full_agents_are_slowed_and_afterwards_all_is_there",
        ])
        .arg("--nocapture")
        .env(DISK, disk.path())
        .status()
        .unwrap();
    assert!(status.success());
}

async fn on_a_small_disk(disk: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let controller = Controller::start_on(dir, &disk.join("cordon.db")).await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    line.send(vec![(1, detection("a:1:1"))]).await;
    assert_eq!(line.acknowledged().await, [(1, 1)]);
    fill(&disk.join("filler"));
    // More than any slack in the database's log.
    let large = vec![b'x'; 500_000];
    line.send(vec![(2, large)]).await;
    let Reply::Pace(pace) = line.hear().await.unwrap() else {
        panic!("no pace")
    };
    assert_eq!(pace.max_records_per_second, 1);
    std::fs::remove_file(disk.join("filler")).unwrap();
    assert_eq!(line.acknowledged().await, [(2, 2)]);
    let Reply::Pace(pace) = line.hear().await.unwrap() else {
        panic!("no pace")
    };
    assert!(pace.max_records_per_second > 1);
    let session = controller.fleet.live(host.id).unwrap();
    assert!(session.online, "the session outlived it");
}
/// Takes every byte that is left.
fn fill(path: &Path) {
    let taken = std::fs::write(path, vec![0; 8 << 20]);
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}
