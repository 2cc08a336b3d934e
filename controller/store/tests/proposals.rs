//! What hosts proposed waits until its end is told, whichever comes first.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_store::{IncomingRecord, ProposalRow, Store};
use serde_json::json;
use support::{BOOT, at, database, host, incidents, record};

const ONE: &str = "01890000-0000-7000-8000-000000000004";
const TWO: &str = "01890000-0000-7000-8000-000000000005";

fn proposed(sequence: u64, tree: &str, id: &str, until: i64) -> IncomingRecord {
    let verdict = json!({
        "id": "a1", "score": 0.97, "verdict": "malicious", "techniques": [],
        "reasons": [], "stage": "model", "model": "behavior-1@0", "micros": 10,
    });
    let body = json!({
        "tree": tree, "pid": 42, "story": { "id": "a1", "command": "id" }, "verdict": verdict,
        "policy_version": 1, "decision": "await_approval", "decision_reason": "", "event_mono_ns": 1,
        "proposal": {
            "id": id, "steps": {"isolate": true, "stop": "kill", "cut_off": false},
            "made_at": at(0), "expires_at": at(until), "unanswered": "nothing", "offline": "act",
        },
    });
    record(sequence, 0, "detection", &body)
}

fn ended(sequence: u64, tree: &str, id: &str) -> IncomingRecord {
    let body = json!({
        "proposal": id, "tree": tree, "outcome": "refused", "by": "ada", "reason": "planned",
        "steps": {"isolate": false, "stop": "none", "cut_off": false}, "policy_version": 1,
    });
    record(sequence, 9, "approval", &body)
}

async fn waiting(store: &Store) -> Vec<String> {
    let rows: Vec<ProposalRow> = store.waiting_proposals(at(0)).await.unwrap();
    rows.iter().map(|row| row.proposal.id.to_string()).collect()
}

#[tokio::test]
async fn what_waits_is_listed_by_urgency_until_its_end_is_told() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let commit = async |records: &[IncomingRecord]| {
        db.store
            .commit_batch(host, BOOT, records, at(1))
            .await
            .unwrap();
    };
    let two_of_one = [
        proposed(1, "a:1:1", ONE, 600),
        proposed(2, "a:1:1", ONE, 600),
        proposed(3, "b:2:2", TWO, 60),
    ];
    commit(&two_of_one).await;
    assert_eq!(waiting(&db.store).await, [TWO, ONE]);
    let rows = db.store.waiting_proposals(at(0)).await.unwrap();
    assert_eq!(
        (rows[1].host.name.as_str(), rows[1].detection.pid),
        ("ep1", 42)
    );
    // What should have ended long ago, on a host that does not say so, is left out.
    assert_eq!(db.store.waiting_proposals(at(61)).await.unwrap().len(), 1);
    commit(&[ended(4, "b:2:2", TWO)]).await;
    assert_eq!(waiting(&db.store).await, [ONE]);
    let known = incidents(&db.store).await;
    let of_tree = known
        .iter()
        .find(|incident| incident.tree == "b:2:2")
        .unwrap();
    assert_eq!(of_tree.approvals.len(), 1);
    assert_eq!(of_tree.approvals[0].report.by.as_deref(), Some("ada"));
    assert_eq!(rows[0].incident, of_tree.id);
    db.store.evict_host(host, at(2)).await.unwrap();
    assert!(waiting(&db.store).await.is_empty());
}

#[tokio::test]
async fn an_end_that_is_told_first_counts_and_asks_nobody() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let late = [ended(2, "a:1:1", ONE), proposed(1, "a:1:1", ONE, 600)];
    db.store
        .commit_batch(host, BOOT, &late, at(1))
        .await
        .unwrap();
    assert!(waiting(&db.store).await.is_empty());
    let known = incidents(&db.store).await;
    assert_eq!((known.len(), known[0].approvals.len()), (1, 1));
}

/// Whose card was sent before anything was proposed would never hear that somebody is asked.
#[tokio::test]
async fn a_card_that_was_sent_is_sent_again_when_something_is_proposed_and_for_nothing_else() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let store = &db.store;
    let first = support::detection(1, 0, "a:1:1");
    store
        .commit_batch(host, BOOT, &[first], at(1))
        .await
        .unwrap();
    store
        .queue_notifications("feishu", at(0), at(5))
        .await
        .unwrap();
    let due = store.due_notifications(at(5), 10).await.unwrap();
    store.notification_sent(&due[0], at(5)).await.unwrap();
    let more = support::detection(2, 6, "a:1:1");
    store
        .commit_batch(host, BOOT, &[more], at(6))
        .await
        .unwrap();
    assert_eq!(store.next_notification_at().await.unwrap(), None);
    for sequence in [3, 4] {
        let asked = proposed(sequence, "a:1:1", ONE, 600);
        store
            .commit_batch(host, BOOT, &[asked], at(7))
            .await
            .unwrap();
    }
    let due = store.due_notifications(at(7), 10).await.unwrap();
    assert_eq!((due.len(), due[0].again, due[0].attempts), (1, 1, 0));
    // While it is on its way something else is proposed: what was sent did not tell of that.
    let asked = proposed(7, "a:1:1", "01890000-0000-7000-8000-000000000006", 600);
    store
        .commit_batch(host, BOOT, &[asked], at(8))
        .await
        .unwrap();
    store.notification_sent(&due[0], at(8)).await.unwrap();
    let due = store.due_notifications(at(8), 10).await.unwrap();
    assert_eq!((due.len(), due[0].again), (1, 2));
    store.notification_sent(&due[0], at(8)).await.unwrap();
    let ended = [ended(6, "a:1:1", TWO), proposed(5, "a:1:1", TWO, 600)];
    store.commit_batch(host, BOOT, &ended, at(9)).await.unwrap();
    assert_eq!(store.next_notification_at().await.unwrap(), None);
}
