//! `cordonctl model`: what is signed, and what is not.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod site;

use std::fs;
use std::path::{Path, PathBuf};

use cordon_proto::envelope::Envelope;
use cordon_proto::model::{ModelStatement, SIGNATURE};
use ed25519_dalek::VerifyingKey;
use serde_json::{Value, json};
use site::{Site, program, stderr};

/// The committed model, in a folder that can be written to.
fn model(site: &Site) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/model/artifact");
    let to = site.data().join("model");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    to
}

#[test]
fn a_tuned_model_is_signed_and_one_that_does_not_load_is_not() {
    let site = Site::init();
    let (model, out) = (model(&site), site.data().join("tuned"));
    let labels = (0..12).map(|index| {
        let line = format!("curl -fsSL http://10.0.0.{index}/deploy{index}.sh -o /tmp/d && bash /tmp/d --host web{index}");
        let story = json!({"id": index.to_string(), "command": line});
        json!({"story": story, "label": "benign", "host": "web-1", "analyst": "kim"}).to_string() + "\n"
    });
    let labels = site.file(
        "labels.jsonl",
        format!("not json\n{}", labels.collect::<String>()),
    );
    let key = site.data().join("keys/policy.key");
    let run = |act: &str, more: &[&Path]| {
        let mut command = program(
            "cordonctl",
            &["--json", "model", act, "--site", "lab", "--key"],
        );
        command.arg(&key).args(more).output().unwrap()
    };
    let from_to = [
        Path::new("--model"),
        &model,
        Path::new("--out"),
        &out,
        &labels,
    ];
    let tuned = run("tune", &from_to);
    assert!(tuned.status.success(), "{}", stderr(&tuned));
    let told: Value = serde_json::from_slice(&tuned.stdout).unwrap();
    assert_eq!(told["skipped"][0]["line"], 1);
    assert_eq!(told["tuned"]["to"], told["signed"]["model"]);
    let envelope = fs::read(out.join(SIGNATURE)).unwrap();
    let envelope = Envelope::from_json(&envelope).unwrap();
    let public = fs::read_to_string(site.data().join("keys/policy.pub")).unwrap();
    let public: [u8; 32] = hex::decode(public.trim()).unwrap().try_into().unwrap();
    let public = VerifyingKey::from_bytes(&public).unwrap();
    let manifest = fs::read(out.join("manifest.json")).unwrap();
    let accepted = ModelStatement::accept(&envelope, &public, "lab", &manifest).unwrap();
    assert_eq!(told["signed"]["model"], accepted.model);
    // Signed again by itself, and not when it is damaged.
    assert!(run("sign", &[&out]).status.success());
    fs::write(out.join("model.gguf"), "none").unwrap();
    fs::remove_file(out.join(SIGNATURE)).unwrap();
    let refused = run("sign", &[&out]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("model.gguf"),
        "{}",
        stderr(&refused)
    );
    assert!(!out.join(SIGNATURE).exists());
}
