//! What people say of incidents and detections, and the history with it.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_proto::id::{HostId, IncidentId};
use cordon_proto::record::Detection;
use cordon_store::{
    DetectionQuery, Incident, IncidentStatus, IncomingRecord, Label, NewAnalystVerdict, Store,
    StoreError, StoredDetection,
};
use serde_json::json;
use support::{BOOT, Db, at, database, detection, host, incidents, isolation, record};

const HOSTILE: &str = "'); DROP TABLE analyst_verdicts; --\u{202e}\u{1b}[2J\n正常";

async fn commit(store: &Store, host: HostId, records: &[IncomingRecord]) {
    store
        .commit_batch(host, BOOT, records, at(100))
        .await
        .unwrap();
}

/// A host with two detections in one incident.
async fn two() -> (Db, HostId, Incident) {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let records = [detection(1, 1, "a:1:1"), detection(2, 2, "a:1:1")];
    commit(&db.store, host, &records).await;
    let incident = incidents(&db.store).await.remove(0);
    (db, host, incident)
}

fn said(incident: IncidentId, label: Label, reason: &str) -> NewAnalystVerdict {
    NewAnalystVerdict {
        incident,
        detection: None,
        through: None,
        label,
        reason: reason.to_owned(),
        analyst: "kim".to_owned(),
    }
}

fn everything() -> DetectionQuery {
    DetectionQuery {
        limit: 100,
        ..DetectionQuery::default()
    }
}

async fn labelled(store: &Store) -> Vec<(i64, Label)> {
    let query = DetectionQuery {
        labelled: true,
        ..everything()
    };
    let rows = store.detections(&query).await.unwrap();
    let label = |row: &StoredDetection| (row.key, row.analyst_verdict.as_ref().unwrap().label);
    rows.iter().map(label).collect()
}

#[tokio::test]
async fn the_newest_word_that_covers_a_detection_counts_and_the_others_are_kept() {
    let (db, _, incident) = two().await;
    let store = &db.store;
    let [first, second] = [incident.detections[0].key, incident.detections[1].key];
    assert!(labelled(store).await.is_empty());
    let whole = said(incident.id, Label::Malicious, HOSTILE);
    store.add_analyst_verdict(&whole, at(10)).await.unwrap();
    let one = NewAnalystVerdict {
        detection: Some(first),
        ..said(incident.id, Label::Benign, "the backup")
    };
    store.add_analyst_verdict(&one, at(11)).await.unwrap();
    let wanted = [(second, Label::Malicious), (first, Label::Benign)];
    assert_eq!(labelled(store).await, wanted);

    let read = store.incident(incident.id).await.unwrap().unwrap();
    let kept: Vec<_> = read
        .analyst_verdicts
        .iter()
        .map(|said| (said.label, said.reason.as_str(), said.said_at))
        .collect();
    let wanted = [
        (Label::Benign, "the backup", at(11)),
        (Label::Malicious, HOSTILE, at(10)),
    ];
    assert_eq!(kept, wanted);
    // In memory the same counts as in the database.
    let counts = |key: i64| read.analyst_verdicts.iter().find(|said| said.covers(key));
    assert_eq!(counts(first).unwrap().label, Label::Benign);
    assert_eq!(counts(second).unwrap().label, Label::Malicious);

    let again = said(incident.id, Label::Benign, "all of it is the backup");
    store.add_analyst_verdict(&again, at(12)).await.unwrap();
    let wanted = [(second, Label::Benign), (first, Label::Benign)];
    assert_eq!(labelled(store).await, wanted);
}

#[tokio::test]
async fn nobody_speaks_of_what_came_later_or_was_not_shown() {
    let (db, host, incident) = two().await;
    let store = &db.store;
    let first = incident.detections[0].key;
    let seen = NewAnalystVerdict {
        through: Some(first),
        ..said(incident.id, Label::Benign, "seen when there was one")
    };
    store.add_analyst_verdict(&seen, at(10)).await.unwrap();
    assert_eq!(labelled(store).await, [(first, Label::Benign)]);
    let ahead = NewAnalystVerdict {
        through: Some(i64::MAX),
        ..said(incident.id, Label::Malicious, "all there is")
    };
    store.add_analyst_verdict(&ahead, at(11)).await.unwrap();
    assert_eq!(labelled(store).await.len(), 2);
    commit(store, host, &[detection(3, 3, "a:1:1")]).await;
    assert_eq!(labelled(store).await.len(), 2, "the third is nobody's word");
}

#[tokio::test]
async fn it_closes_and_lowers_nothing() {
    let (db, host, before) = two().await;
    let benign = said(before.id, Label::Benign, "it is nothing");
    db.store.add_analyst_verdict(&benign, at(10)).await.unwrap();
    let after = db.store.incident(before.id).await.unwrap().unwrap();
    let unsaid = Incident {
        analyst_verdicts: Vec::new(),
        ..after.clone()
    };
    assert_eq!(unsaid, before);
    assert_eq!(after.status, IncidentStatus::Open);
    commit(&db.store, host, &[detection(3, 3, "a:1:1")]).await;
    let later = db.store.incident(before.id).await.unwrap().unwrap();
    assert_eq!(later.detections.len(), 3);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_judged() {
    let (db, host, incident) = two().await;
    let store = &db.store;
    let nowhere = said(IncidentId::generate(), Label::Benign, "x");
    let refused = store.add_analyst_verdict(&nowhere, at(1)).await;
    assert!(matches!(
        refused,
        Err(StoreError::Unknown {
            what: "incident",
            ..
        })
    ));
    commit(store, host, &[detection(3, 3, "b:2:2")]).await;
    let other = incidents(store).await.remove(0).detections[0].key;
    for detection in [other, 0, i64::MAX] {
        let elsewhere = NewAnalystVerdict {
            detection: Some(detection),
            ..said(incident.id, Label::Benign, "x")
        };
        let refused = store.add_analyst_verdict(&elsewhere, at(1)).await;
        assert!(matches!(refused, Err(StoreError::Unknown { .. })));
    }
    assert!(labelled(store).await.is_empty());
}

#[tokio::test]
async fn an_incident_without_a_detection_can_be_judged_and_labels_nothing() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = cordon_proto::id::IsolationId::generate();
    let shut = isolation(1, 1, id, "confirmed", Some("a:1:1"));
    commit(&db.store, host, &[shut]).await;
    let incident = incidents(&db.store).await.remove(0);
    let benign = said(incident.id, Label::Benign, "by hand");
    db.store.add_analyst_verdict(&benign, at(10)).await.unwrap();
    commit(&db.store, host, &[detection(2, 2, "a:1:1")]).await;
    assert!(labelled(&db.store).await.is_empty());
}

#[tokio::test]
async fn history_comes_in_pages_by_host_and_by_incident_with_the_story_as_it_was_judged() {
    let (db, one, incident) = two().await;
    let store = &db.store;
    let two = host(store, "ep2").await.id;
    let judged = json!({
        "id": "7", "process": {
            "exe": "/usr/bin/rclone", "argv": ["rclone", "\u{202e}\u{0}\u{7f}"], "cwd": "/", "uid": 998,
            "stdin": "null", "stdout": "pipe", "stderr": "pipe", "deleted_exe": false, "memfd": false,
            "argv_truncated": true,
        },
        "ancestors": [{"exe": "/usr/sbin/cron", "argv": ["cron"]}],
        "dns": ["files.example.net"],
        "facts": {"file_rates": {"written": 7, "created": 0, "renamed": 0, "unlinked": 0,
            "per_second": 0.1, "directories": 1, "entropy": 7.9876}},
    });
    let body = json!({
        "tree": "c:3:3", "pid": 7, "story": judged,
        "verdict": {"id": "7", "score": 0.7, "verdict": "suspicious", "techniques": [], "reasons": [],
            "stage": "model", "model": "behavior-1@0", "micros": 10},
        "policy_version": 1, "decision": "alert", "decision_reason": "", "event_mono_ns": 1,
        "exe_sha256": "ab".repeat(32),
    });
    commit(store, two, &[record(1, 9, "detection", &body)]).await;

    let all = store.detections(&everything()).await.unwrap();
    assert_eq!(all.len(), 3);
    let newest = &all[0];
    assert_eq!((newest.host.id, newest.group.as_str()), (two, "servers"));
    assert_eq!((newest.at, newest.received_at), (at(9), at(100)));
    let reported: Detection = serde_json::from_value(body).unwrap();
    assert_eq!(
        newest.detection, reported,
        "with the story that was judged, whole"
    );
    assert_eq!(newest.analyst_verdict, None);

    let mut keys = Vec::new();
    let mut query = DetectionQuery {
        limit: 1,
        ..DetectionQuery::default()
    };
    while let Some(row) = store.detections(&query).await.unwrap().pop() {
        query.before = Some(row.key);
        keys.push(row.key);
    }
    assert_eq!(keys, all.iter().map(|row| row.key).collect::<Vec<_>>());

    let of_host = DetectionQuery {
        host: Some(one),
        ..everything()
    };
    let of_incident = DetectionQuery {
        incident: Some(incident.id),
        ..everything()
    };
    for query in [of_host, of_incident] {
        let rows = store.detections(&query).await.unwrap();
        let keys: Vec<i64> = rows.iter().map(|row| row.key).collect();
        let wanted = [incident.detections[1].key, incident.detections[0].key];
        assert_eq!(keys, wanted);
    }
}

#[tokio::test]
async fn a_page_of_huge_stories_is_short_and_the_next_one_goes_on() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let huge = |sequence| {
        let body = json!({
            "tree": "a:1:1", "pid": 7, "story": {"id": "7", "command": "x".repeat(3 << 20)},
            "verdict": {"id": "7", "score": 0.7, "verdict": "suspicious", "techniques": [], "reasons": [],
                "stage": "model", "model": "m@0", "micros": 1},
            "policy_version": 1, "decision": "alert", "decision_reason": "", "event_mono_ns": 1,
        });
        record(sequence, 1, "detection", &body)
    };
    commit(&db.store, host, &[huge(1), huge(2), huge(3)]).await;
    let first = db.store.detections(&everything()).await.unwrap();
    assert_eq!(first.len(), 2);
    let query = DetectionQuery {
        before: Some(first[1].key),
        ..everything()
    };
    let second = db.store.detections(&query).await.unwrap();
    assert_eq!(second.len(), 1);
}
