//! What follows from records, and how they are listed.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_proto::id::IsolationId;
use cordon_proto::record::{IsolationState, StopAct};
use cordon_store::{EventQuery, Gap, Incident, IncidentStatus, SequenceRange};
use support::{
    BOOT, all, at, database, detection, garbage, host, incidents, isolation, record, stop,
};

#[tokio::test]
async fn ranges_are_the_fewest_and_gaps_are_listed() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let batch = [5, 1, 2, 9, 2].map(|sequence| detection(sequence, 0, "a:1:1"));
    let committed = db
        .store
        .commit_batch(host, BOOT, &batch, at(0))
        .await
        .unwrap();
    let range = |first, last| SequenceRange { first, last };
    assert_eq!(committed.ranges, [range(1, 2), range(5, 5), range(9, 9)]);
    assert_eq!(committed.fresh, 4);
    let gap = |first, last| Gap {
        boot_id: BOOT.into(),
        first,
        last,
    };
    assert_eq!(db.store.gaps(host).await.unwrap(), [gap(3, 4), gap(6, 8)]);
}

#[tokio::test]
async fn an_unreadable_record_is_kept_marked_and_shown() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let garbage = garbage(1);
    db.store
        .commit_batch(host, BOOT, &[garbage], at(3))
        .await
        .unwrap();
    let events = db.store.events(&all()).await.unwrap();
    assert_eq!(events[0].kind, "unreadable");
    assert_eq!(events[0].note.as_deref(), Some("not JSON"));
    assert_eq!(events[0].body["raw"], "\u{fffd}{\0");
    assert_eq!(events[0].at, at(3));
}

#[tokio::test]
async fn an_isolation_without_a_tree_joins_its_like_or_the_newest_incident_or_none() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let (alone, first, by_hand) = (
        IsolationId::generate(),
        IsolationId::generate(),
        IsolationId::generate(),
    );
    let records = [
        isolation(1, 1, alone, "confirmed", None),
        detection(2, 2, "a:1:1"),
        isolation(3, 3, first, "confirmed", Some("a:1:1")),
        detection(4, 4, "b:2:2"),
        isolation(5, 5, first, "released", None),
        isolation(6, 6, by_hand, "confirmed", None),
    ];
    db.store
        .commit_batch(host, BOOT, &records, at(9))
        .await
        .unwrap();
    let found = incidents(&db.store).await;
    let [newest, oldest] = found.as_slice() else {
        panic!("{found:?}")
    };
    let ids = |incident: &Incident| -> Vec<IsolationId> {
        incident
            .isolations
            .iter()
            .map(|row| row.report.id)
            .collect()
    };
    assert_eq!(ids(oldest), [first, first]);
    assert_eq!(ids(newest), [by_hand]);
    assert_eq!(oldest.updated_at, at(5));
}

#[tokio::test]
async fn what_was_done_to_processes_joins_its_tree_and_what_was_thawed_the_last_one_frozen() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let records = [
        stop(1, 1, "thawed", None),
        detection(2, 2, "a:1:1"),
        stop(3, 3, "frozen", Some("a:1:1")),
        detection(4, 4, "b:2:2"),
        stop(5, 5, "thawed", None),
    ];
    let committed = db.store.commit_batch(host, BOOT, &records, at(9)).await;
    assert_eq!(committed.unwrap().fresh, 5);
    let found = incidents(&db.store).await;
    let [newest, oldest] = found.as_slice() else {
        panic!("{found:?}")
    };
    let acts = |incident: &Incident| -> Vec<StopAct> {
        let stops = incident.stops.iter();
        stops.map(|row| row.report.act).collect()
    };
    assert_eq!(acts(oldest), [StopAct::Frozen, StopAct::Thawed]);
    assert!(acts(newest).is_empty());
    assert_eq!(oldest.updated_at, at(5));
    let kinds = db.store.events(&all()).await.unwrap();
    assert_eq!(kinds.iter().filter(|row| row.kind == "stop").count(), 3);
}

#[tokio::test]
async fn the_isolation_of_a_later_boot_stands_whatever_the_clock_says() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let (id, later) = (
        IsolationId::generate(),
        "00000000-0000-4000-8000-000000000002",
    );
    let shut = isolation(9, 900, id, "confirmed", None);
    db.store
        .commit_batch(host, BOOT, &[shut], at(0))
        .await
        .unwrap();
    let open = isolation(1, 100, id, "released", None);
    db.store
        .commit_batch(host, later, &[open], at(0))
        .await
        .unwrap();
    // What was left of the first boot arrives last.
    let rest = isolation(8, 800, id, "applied", None);
    db.store
        .commit_batch(host, BOOT, &[rest], at(0))
        .await
        .unwrap();
    let known = db.store.host(host).await.unwrap().unwrap();
    assert_eq!(known.isolation.unwrap().state, IsolationState::Released);
    assert_eq!(known.isolation_at, Some(at(100)));
}

#[tokio::test]
async fn a_closed_incident_opens_again_with_a_new_detection() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let store = &db.store;
    store
        .commit_batch(host, BOOT, &[detection(1, 1, "a:1:1")], at(0))
        .await
        .unwrap();
    let id = incidents(store).await[0].id;
    store.close_incident(id).await.unwrap();
    assert_eq!(incidents(store).await[0].status, IncidentStatus::Closed);
    store
        .commit_batch(host, BOOT, &[detection(2, 2, "a:1:1")], at(0))
        .await
        .unwrap();
    let incident = store.incident(id).await.unwrap().unwrap();
    assert_eq!(incident.status, IncidentStatus::Open);
    assert_eq!(incident.detections.len(), 2);
}

#[tokio::test]
async fn events_come_in_pages_and_by_host() {
    let db = database().await;
    let (one, two) = (
        host(&db.store, "ep1").await.id,
        host(&db.store, "ep2").await.id,
    );
    for (host, sequences) in [(one, 1..=5), (two, 1..=3)] {
        let records: Vec<_> = sequences.map(|s| detection(s, 0, "a:1:1")).collect();
        db.store
            .commit_batch(host, BOOT, &records, at(0))
            .await
            .unwrap();
    }
    let mut query = EventQuery {
        host: Some(one),
        limit: 2,
        before: None,
    };
    let mut seen = Vec::new();
    loop {
        let page = db.store.events(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some(last.key);
        seen.extend(page.iter().map(|event| (event.host.id, event.sequence)));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(|sequence| (one, sequence)));
}

#[tokio::test]
async fn an_applied_policy_is_what_the_host_holds_and_a_refused_one_is_not() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let report = |sequence, version, applied| {
        let body = serde_json::json!({ "version": version, "applied": applied, "detail": "" });
        record(sequence, 0, "policy", &body)
    };
    let records = [report(1, 3, true), report(2, 4, false)];
    db.store
        .commit_batch(host, BOOT, &records, at(0))
        .await
        .unwrap();
    let known = db.store.host(host).await.unwrap().unwrap();
    assert_eq!(known.policy_version, Some(3));
}
#[tokio::test]
async fn incidents_queue_one_card_for_each_channel() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let store = &db.store;
    store
        .commit_batch(host, BOOT, &[detection(1, 1, "a:1:1")], at(10))
        .await
        .unwrap();
    for queued in [1, 0] {
        assert_eq!(
            store
                .queue_notifications("feishu", at(10), at(12))
                .await
                .unwrap(),
            queued
        );
    }
    assert_eq!(
        store
            .queue_notifications("late", at(11), at(12))
            .await
            .unwrap(),
        0
    );
    assert!(
        store
            .due_notifications(at(11), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let due = store.due_notifications(at(12), 10).await.unwrap();
    store
        .notification_failed(&due[0], "muted", Some(at(60)))
        .await
        .unwrap();
    assert_eq!(store.next_notification_at().await.unwrap(), Some(at(60)));
    store.notification_sent(&due[0], at(61)).await.unwrap();
    assert_eq!(store.next_notification_at().await.unwrap(), None);
    let cards = store.notifications(due[0].incident).await.unwrap();
    assert_eq!((cards[0].attempts, cards[0].sent_at), (2, Some(at(61))));
}
