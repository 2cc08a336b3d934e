//! Root takes a file, puts it back and destroys it, without a daemon.

mod support;

use std::fs;

use cordon_proto::record::QuarantineAct::{Deleted, Restored, Taken};
use cordon_proto::record::{Record, RecordBody};
use cordon_spool::{Options, Spool};
use serde_json::Value;
use support::{agent, complaint};

#[test]
fn a_file_is_taken_put_back_and_destroyed_and_each_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let (config, file) = (base.join("agent.toml"), base.join("dropper"));
    let settings = format!(
        "state_dir = '{0}/state'\nrun_dir = '{0}/run'\n",
        base.display()
    );
    fs::write(&config, settings).unwrap();
    fs::write(&file, "payload").unwrap();
    let (config, path) = (config.to_str().unwrap(), file.to_str().unwrap());
    let run = |arguments: &[&str]| {
        agent(
            &[&["quarantine"], arguments, &["--config", config]].concat(),
            b"",
        )
    };
    let said = |arguments: &[&str]| -> Value {
        let output = run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", complaint(&output)))
    };
    // A machine without package databases cannot tell whose it is.
    let add = ["add", path, "--reason", "a dropper", "--of-package"];
    let id = said(&add)["held"]["id"].as_str().unwrap().to_owned();
    assert!(!file.exists());
    assert_eq!(said(&["list"])["held"][0]["path"], path);
    let restore = ["restore", &id, "--reason", "a false alarm"];
    assert_eq!(said(&restore)["act"], "restored");
    assert_eq!(fs::read(&file).unwrap(), b"payload");
    let id = said(&add)["held"]["id"].as_str().unwrap().to_owned();
    assert_eq!(said(&["delete", &id, "--reason", "done"])["act"], "deleted");
    assert_eq!(said(&["list"])["held"], serde_json::json!([]));
    for (arguments, code) in [
        (&["add", path, "--reason", "x", "--of-package"][..], 1),
        (&["restore", &id, "--reason", "x"], 1),
        (&["delete", "../../etc/passwd", "--reason", "x"], 1),
        (&["add", path], 2),
        (&["delete", "--reason", "x"], 2),
        (&[], 2),
    ] {
        assert_eq!(run(arguments).status.code(), Some(code), "{arguments:?}");
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let spool = base.join("state/spool");
    let spool = Spool::open(&spool, boot.trim(), Options::default()).unwrap();
    let kept = spool.pending(None, 100, 1 << 20).unwrap();
    let acts = kept.iter().map(|pending| {
        let record: Record = serde_json::from_slice(&pending.json).unwrap();
        match record.body {
            RecordBody::Quarantine(report) => (report.act, report.path),
            other => panic!("another record: {other:?}"),
        }
    });
    let wanted = [Taken, Restored, Taken, Deleted].map(|act| (act, path.to_owned()));
    assert_eq!(acts.collect::<Vec<_>>(), wanted);
}
