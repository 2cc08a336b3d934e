//! A model counts when the site vouches for it, or when nobody has to.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::fs;
use std::path::Path;

use cordon_agent::config::Config;
use cordon_agent::identity::Identity;
use cordon_agent::model_trust::{Untrusted, load};
use cordon_proto::envelope::sign;
use cordon_proto::model::{ModelStatement, SIGNATURE};
use support::{Ca, key, model};
use tempfile::TempDir;

/// A copy of the committed model and a configuration that names it.
fn site(signed: bool) -> (TempDir, Config, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("model");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, copy.join(from.file_name().unwrap())).unwrap();
    }
    let path = dir.path().join("agent.toml");
    let settings = format!("[model]\ndir = '{}'\nsigned = {signed}\n", copy.display());
    fs::write(&path, settings).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    let identity = Ca::new().identity("controller:7443", key(1).verifying_key());
    (dir, config, identity)
}

fn put(dir: &Path, site: &str, seed: u8) {
    let manifest = fs::read(dir.join("manifest.json")).unwrap();
    let at = "2026-11-01T00:00:00Z".parse().unwrap();
    let statement = ModelStatement::new(site.into(), "any".into(), &manifest, at);
    fs::write(dir.join(SIGNATURE), sign(&statement, &key(seed)).to_json()).unwrap();
}

#[test]
fn a_model_without_a_signature_counts_unless_one_is_wanted() {
    let (_dir, config, identity) = site(false);
    assert!(!load(&config, &identity).unwrap().1);
    let (_dir, config, identity) = site(true);
    let refused = load(&config, &identity).unwrap_err();
    assert!(matches!(refused, Untrusted::Unsigned(_)));
}

#[test]
fn only_the_own_sites_signature_of_these_very_files_holds() {
    for wanted in [false, true] {
        let (_dir, config, identity) = site(wanted);
        let dir = config.model_dir.clone();
        put(&dir, "test", 1);
        assert!(load(&config, &identity).unwrap().1);
        put(&dir, "test", 2);
        assert!(matches!(
            load(&config, &identity),
            Err(Untrusted::Refused { .. })
        ));
        put(&dir, "elsewhere", 1);
        assert!(matches!(
            load(&config, &identity),
            Err(Untrusted::Refused { .. })
        ));
        put(&dir, "test", 1);
        let manifest = dir.join("manifest.json");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, format!("{text} ")).unwrap();
        assert!(matches!(
            load(&config, &identity),
            Err(Untrusted::Refused { .. })
        ));
        fs::write(dir.join(SIGNATURE), "{}").unwrap();
        assert!(matches!(
            load(&config, &identity),
            Err(Untrusted::Form { .. })
        ));
        fs::write(dir.join(SIGNATURE), vec![b' '; 3 << 20]).unwrap();
        assert!(matches!(
            load(&config, &identity),
            Err(Untrusted::Form { .. })
        ));
    }
}
