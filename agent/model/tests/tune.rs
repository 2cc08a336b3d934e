//! A model tuned on a site's labels: what it learns, what it must not unlearn, and whom it does not believe.

use std::fs;
use std::path::{Path, PathBuf};

use cordon_behavior::story::Story;
use cordon_model::artifact::{self, Manifest};
use cordon_model::tune::{
    CAP, FEWEST, HOST_CAP, LabelError, LabelledStory, Report, TuneError, Tuner, Word,
};
use cordon_model::{Model, Part};
use serde_json::{Value, json};
use tempfile::TempDir;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifact")
}

/// Recorded stories of these families with this label that the network answers for, most suspicious first.
fn recorded(model: &Model, families: &[&str], label: &str) -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings");
    let mut found: Vec<(f32, Value)> = Vec::new();
    for family in families {
        let packed = fs::read(dir.join(format!("{family}.jsonl.zst"))).expect("it is committed");
        let text = zstd::decode_all(packed.as_slice()).expect("it is whole");
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line: Value = serde_json::from_slice(line).expect("it is JSON");
            let said = model.assess(&parsed(&line["story"]));
            if line["label"] == label && said.part == Part::Network {
                found.push((said.probability, line["story"].clone()));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.dedup_by(|a, b| a.0.to_bits() == b.0.to_bits());
    found.into_iter().map(|(_, story)| story).collect()
}

fn parsed(story: &Value) -> Story {
    Story::from_json(story.to_string().as_bytes()).expect("a story")
}

fn label(story: &Value, label: &str, host: &str) -> Vec<u8> {
    let line = json!({"story": story, "label": label, "host": host, "analyst": "kim@example.net"});
    line.to_string().into_bytes()
}

/// Tunes the committed model.
fn tuned(labels: &[Vec<u8>], out: &Path) -> Result<Report, TuneError> {
    let mut tuner = Tuner::open(&committed())?;
    for line in labels {
        tuner.label(line).expect("a good label");
    }
    tuner.finish(out)
}

fn hold(report: &Report) {
    assert!(!report.after.is_worse_than(&report.before), "{report:?}");
    assert!(report.furthest <= CAP + 1e-9, "{report:?}");
    for host in &report.hosts {
        assert!(
            host.moves <= HOST_CAP + 1e-9 && host.weight <= 1.0,
            "{report:?}"
        );
    }
}

#[test]
fn a_sites_own_mistakes_become_fewer_and_nothing_is_unlearned() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    let honest = recorded(&model, &["agent-work", "host-setup"], "benign");
    let labels: Vec<Vec<u8>> = honest
        .iter()
        .take(36)
        .enumerate()
        .map(|(index, story)| label(story, "benign", ["web-1", "web-2", "db-1"][index % 3]))
        .collect();
    let dir = TempDir::new().expect("a temporary directory can be made");
    let out = dir.path().join("tuned");
    let report = tuned(&labels, &out).expect("it learns");
    hold(&report);
    assert_eq!(report.counts.benign, 36);
    assert_eq!(report.hosts.len(), 3);
    assert!(report.labels_after.mistaken <= report.labels_before.mistaken);
    let tuned_model = Model::load(&out).expect("what is written is whole");
    assert_eq!(tuned_model.id(), report.to);
    assert_ne!(tuned_model.id(), model.id());
    assert_eq!(tuned_model.thresholds(), model.thresholds());
    let sum = |model: &Model| -> f32 {
        let stories = honest.iter().take(36);
        stories
            .map(|story| model.assess(&parsed(story)).probability)
            .sum()
    };
    assert!(
        sum(&tuned_model) < sum(&model) - 0.1,
        "{} {}",
        sum(&tuned_model),
        sum(&model)
    );
    // The other weights are as they were: techniques are named alike.
    let story = parsed(&honest[0]);
    let techniques = |model: &Model| model.logits(&model.read(&story))[1..].to_vec();
    assert_eq!(techniques(&tuned_model), techniques(&model));
    told_in_the_artifact(&out, &report);
    // Not twice: what is learned would add up.
    let again = Tuner::open(&out).err();
    assert!(matches!(again, Some(TuneError::Tuned { .. })), "{again:?}");
    // The order of the lines changes their hash, and nothing that is learned.
    let mut turned = labels.clone();
    turned.reverse();
    let other = tuned(&turned, &dir.path().join("turned")).expect("it learns");
    assert_eq!(other.hosts, report.hosts);
    assert_eq!(other.after, report.after);
    let weights =
        |name: &str| fs::read(dir.path().join(name).join(artifact::WEIGHTS)).expect("it is there");
    assert_eq!(weights("tuned"), weights("turned"));
}

fn told_in_the_artifact(out: &Path, report: &Report) {
    let manifest = fs::read(out.join(artifact::MANIFEST)).expect("it is there");
    let manifest: Manifest = serde_json::from_slice(&manifest).expect("it is one");
    assert_eq!(manifest.data["site labels"], report.labels_sha256);
    assert_eq!(manifest.training["tuned from"], report.from);
    let card = fs::read_to_string(out.join(artifact::CARD)).expect("it is there");
    for text in ["## Tuned on site", "| web-1 | 12 |", &report.labels_sha256] {
        assert!(card.contains(text), "{text}");
    }
    assert!(!out.with_extension("part").exists());
}

#[test]
fn a_host_that_calls_attacks_benign_is_hardly_believed() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    let attacks = recorded(&model, &["remote-shell", "web-shell"], "attack");
    let labels: Vec<Vec<u8>> = attacks
        .iter()
        .take(90)
        .map(|story| label(story, "benign", "stolen-1"))
        .collect();
    let dir = TempDir::new().expect("a temporary directory can be made");
    let out = dir.path().join("tuned");
    match tuned(&labels, &out) {
        Err(TuneError::Worse { .. }) => assert!(!out.exists()),
        Err(other) => panic!("{other}"),
        Ok(report) => {
            hold(&report);
            let poisoned = Model::load(&out).expect("what is written is whole");
            // The stories of other hosts are what they were, and so nearly are its own.
            let found = |model: &Model| {
                let threshold = model.thresholds().suspicious;
                let said = attacks
                    .iter()
                    .map(|story| model.assess(&parsed(story)).probability);
                said.filter(|said| *said >= threshold).count()
            };
            let (before, after) = (found(&model), found(&poisoned));
            assert!(
                after * 10 >= before * 9,
                "{after} of {before} attacks are still found"
            );
        }
    }
}

#[test]
fn too_little_is_no_reason_to_learn() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    let honest = recorded(&model, &["agent-work"], "benign");
    let dir = TempDir::new().expect("a temporary directory can be made");
    let out = dir.path().join("tuned");
    let few: Vec<Vec<u8>> = honest
        .iter()
        .take(FEWEST - 1)
        .map(|story| label(story, "benign", "web-1"))
        .collect();
    // Said a hundred times it is no more.
    let repeated: Vec<Vec<u8>> = few.iter().cycle().take(100).cloned().collect();
    // Who contradicts himself or another says nothing.
    let disputed: Vec<Vec<u8>> = honest
        .iter()
        .take(FEWEST)
        .flat_map(|story| {
            [
                label(story, "benign", "web-1"),
                label(story, "malicious", "web-2"),
            ]
        })
        .collect();
    for (labels, wanted) in [
        (Vec::new(), (0, 0)),
        (few, (FEWEST - 1, 0)),
        (repeated, (FEWEST - 1, 0)),
        (disputed, (0, 2 * FEWEST)),
    ] {
        let refused = tuned(&labels, &out).unwrap_err();
        let TuneError::TooFew {
            found,
            contradicted,
            ..
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((found, contradicted), wanted);
        assert!(!out.exists());
    }
}

#[test]
fn bad_labels_are_named_and_a_folder_that_is_there_is_kept() {
    let mut tuner = Tuner::open(&committed()).expect("the committed artifact loads");
    let story = json!({"id": "1", "command": "ls -l"});
    for (line, is_expected) in [
        (
            "{",
            (|error| matches!(error, LabelError::Json(_))) as fn(&LabelError) -> bool,
        ),
        (
            r#"{"story":{"id":"1","command":"ls"},"label":"good","host":"a","analyst":"b"}"#,
            |error| matches!(error, LabelError::Json(_)),
        ),
        (
            r#"{"story":{"id":"1"},"label":"benign","host":"a","analyst":"b"}"#,
            |error| matches!(error, LabelError::Empty),
        ),
        (
            "{\"story\":{\"id\":\"1\",\"command\":\"ls\"},\"label\":\"benign\",\"host\":\"a|b\",\"analyst\":\"b\"}",
            |error| matches!(error, LabelError::Name { field: "host" }),
        ),
        (
            r#"{"story":{"id":"1","command":"ls"},"label":"benign","host":"a","analyst":""}"#,
            |error| matches!(error, LabelError::Name { field: "analyst" }),
        ),
    ] {
        let refused = tuner.label(line.as_bytes()).unwrap_err();
        assert!(is_expected(&refused), "{line}: {refused}");
    }
    // Nobody floods out the others: neither with hosts nor with labels.
    for index in 0..cordon_model::tune::MOST_HOSTS {
        let host = format!("host-{index}");
        tuner
            .label(&label(&story, "benign", &host))
            .expect("there is room");
    }
    let refused = tuner
        .label(&label(&story, "benign", "one-more"))
        .unwrap_err();
    assert!(matches!(refused, LabelError::Hosts), "{refused}");
    for index in 1..cordon_model::tune::MOST_OF_HOST {
        let other = json!({"id": "1", "command": format!("make target-{index}x step{index}")});
        tuner
            .label(&label(&other, "benign", "host-0"))
            .expect("there is room");
    }
    let other = json!({"id": "1", "command": "tar xzf sources.tgz"});
    let refused = tuner.label(&label(&other, "benign", "host-0")).unwrap_err();
    assert!(matches!(refused, LabelError::Host), "{refused}");
    tuner
        .label(&label(&story, "benign", "host-0"))
        .expect("it said so before");
    let dir = TempDir::new().expect("a temporary directory can be made");
    let refused = tuner.finish(dir.path()).unwrap_err();
    assert!(matches!(refused, TuneError::Exists(_)), "{refused}");
}

#[test]
fn what_is_written_is_what_is_read_and_what_would_not_be_read_is_not_written() {
    let line = |command: String, analyst: &str| LabelledStory {
        story: Story {
            id: "1".to_owned(),
            command: Some(command),
            ..Story::default()
        },
        label: Word::Malicious,
        host: "01890000-0000-7000-8000-000000000001".to_owned(),
        analyst: analyst.to_owned(),
    };
    let hostile = line("echo \u{202e}\u{0}\n\"}".to_owned(), "token:local");
    let text = hostile.to_json().expect("it is a label");
    assert!(!text.contains(&b'\n'));
    assert_eq!(LabelledStory::from_json(&text).expect("one line"), hostile);
    let long = line("x".repeat(5 << 20), "kim").to_json().unwrap_err();
    assert!(matches!(long, LabelError::Long), "{long}");
    let nameless = line("id".to_owned(), "kim | x").to_json().unwrap_err();
    assert!(
        matches!(nameless, LabelError::Name { field: "analyst" }),
        "{nameless}"
    );
    let mut empty = line("id".to_owned(), "kim");
    empty.story.command = None;
    assert!(matches!(empty.to_json(), Err(LabelError::Empty)));
}

#[test]
fn a_folder_without_a_model_is_named() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    let refused = Tuner::open(dir.path()).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.contains("manifest.json")));
}
