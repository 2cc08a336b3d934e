//! Places among the hosts of a group that may be isolated at one time: as many as the policy says, whoever asks when.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cordon_proto::envelope::sign;
use cordon_proto::id::{HostId, IsolationId, OrderId};
use cordon_proto::order::{Order, OrderState, Verb};
use cordon_proto::policy::Policy;
use cordon_store::{OrderQuery, PLACE_LASTS, PlaceAnswer, PlaceWanted, Store};
use jiff::Timestamp;
use serde_json::json;
use support::{BOOT, Db, at, database, detection, host, isolation, key, receipt};

/// A group with a policy that lets so many hosts be isolated at one time, and its hosts.
async fn group(cap: Option<u32>, hosts: usize) -> (Db, Vec<HostId>) {
    let db = database().await;
    push(&db.store, 1, cap).await;
    let mut ids = Vec::new();
    for number in 1..=hosts {
        ids.push(host(&db.store, &format!("ep{number:02}")).await.id);
    }
    (db, ids)
}

async fn push(store: &Store, version: u64, cap: Option<u32>) {
    let mut policy = json!({
        "version": version, "site": "hq", "group": "servers",
        "issued_at": at(0), "expires_at": at(1_000_000), "mode": "autonomous",
        "isolation": {"lease_seconds": 60, "without_proof": "stay_shut"},
        "caps": {"isolations_per_hour": 9}, "order_keys": [],
    });
    if let Some(cap) = cap {
        policy["caps"]["hosts_at_once"] = cap.into();
    }
    let policy: Policy = serde_json::from_value(policy).unwrap();
    let envelope = sign(&policy, &key());
    let added = store.add_policy(&policy, &envelope, "admin", at(0)).await;
    added.unwrap();
}

fn wanted(host: HostId) -> PlaceWanted {
    PlaceWanted {
        host,
        isolation: IsolationId::generate(),
    }
}

async fn ask(store: &Store, wanted: PlaceWanted, now: Timestamp) -> PlaceAnswer {
    store.give_places(&[wanted], now).await.unwrap().remove(0)
}

/// Names of those who have the places.
async fn taken(store: &Store, now: Timestamp) -> Vec<String> {
    let places = store.places("servers", now).await.unwrap();
    places.taken.into_iter().map(|host| host.name).collect()
}

async fn report(
    store: &Store,
    host: HostId,
    sequence: u64,
    isolation_id: IsolationId,
    state: &str,
) {
    let record = isolation(sequence, 1, isolation_id, state, None);
    let committed = store.commit_batch(host, BOOT, &[record], at(1)).await;
    committed.unwrap();
}

#[tokio::test]
async fn of_twenty_hosts_that_ask_in_the_same_moment_three_are_given_a_place() {
    for in_one_batch in [false, true] {
        let (db, hosts) = group(Some(3), 20).await;
        let all: Vec<PlaceWanted> = hosts.iter().copied().map(wanted).collect();
        let answers = if in_one_batch {
            db.store.give_places(&all, at(1)).await.unwrap()
        } else {
            let asking = all.iter().map(|one| {
                let (store, one) = (db.store.clone(), *one);
                tokio::spawn(async move { ask(&store, one, at(1)).await })
            });
            let mut answers = Vec::new();
            for asked in asking.collect::<Vec<_>>() {
                answers.push(asked.await.unwrap());
            }
            answers
        };
        let granted = |answer: &&PlaceAnswer| **answer == PlaceAnswer::Granted;
        assert_eq!(answers.iter().filter(granted).count(), 3);
        let names = taken(&db.store, at(1)).await;
        assert_eq!(names.len(), 3);
        for refused in answers.iter().filter(|answer| !granted(answer)) {
            let PlaceAnswer::Refused(by) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(by.len(), 3);
            assert!(by.iter().all(|host| names.contains(&host.name)), "{by:?}");
        }
    }
}

#[tokio::test]
async fn a_place_is_kept_by_an_isolation_and_freed_by_its_end() {
    let (db, hosts) = group(Some(1), 2).await;
    let store = &db.store;
    let (first, second) = (wanted(hosts[0]), wanted(hosts[1]));
    assert_eq!(ask(store, first, at(1)).await, PlaceAnswer::Granted);
    // Again for the same isolation, or for another: one host has one place.
    assert_eq!(ask(store, first, at(1)).await, PlaceAnswer::Granted);
    assert_eq!(
        ask(store, wanted(hosts[0]), at(1)).await,
        PlaceAnswer::Granted
    );
    assert_eq!(ask(store, first, at(1)).await, PlaceAnswer::Granted);
    assert_eq!(taken(store, at(1)).await, ["ep01"]);
    report(store, hosts[0], 1, first.isolation, "applied").await;
    report(store, hosts[0], 2, first.isolation, "confirmed").await;
    // Long after the place was given: what counts now is the isolation.
    let refused = ask(store, second, at(5000)).await;
    assert!(
        matches!(&refused, PlaceAnswer::Refused(by) if by[0].name == "ep01"),
        "{refused:?}"
    );
    report(store, hosts[0], 3, first.isolation, "released").await;
    assert!(taken(store, at(1)).await.is_empty());
    assert_eq!(ask(store, second, at(1)).await, PlaceAnswer::Granted);
    // One that came to nothing frees its place at once as well; the end of another isolation does not.
    report(store, hosts[1], 1, IsolationId::generate(), "released").await;
    assert_eq!(taken(store, at(1)).await, ["ep02"]);
    report(store, hosts[1], 2, second.isolation, "failed").await;
    assert!(taken(store, at(1)).await.is_empty());
}

#[tokio::test]
async fn a_place_of_a_host_that_says_nothing_is_over_in_time_and_of_one_that_is_evicted_at_once() {
    let (db, hosts) = group(Some(1), 3).await;
    let store = &db.store;
    assert_eq!(
        ask(store, wanted(hosts[0]), at(1)).await,
        PlaceAnswer::Granted
    );
    let over = at(1) + PLACE_LASTS;
    let just_before = Timestamp::from_microsecond(over.as_microsecond() - 1).unwrap();
    let refused = ask(store, wanted(hosts[1]), just_before).await;
    assert!(matches!(refused, PlaceAnswer::Refused(_)), "{refused:?}");
    assert_eq!(
        ask(store, wanted(hosts[1]), over).await,
        PlaceAnswer::Granted
    );
    store.evict_host(hosts[1], over).await.unwrap();
    assert_eq!(
        ask(store, wanted(hosts[2]), over).await,
        PlaceAnswer::Granted
    );
}

#[tokio::test]
async fn places_are_counted_by_the_newest_policy_of_the_group_and_for_no_other_group() {
    let (db, hosts) = group(None, 2).await;
    let store = &db.store;
    for host in &hosts {
        assert_eq!(ask(store, wanted(*host), at(1)).await, PlaceAnswer::Granted);
    }
    assert_eq!(store.places("servers", at(1)).await.unwrap().cap, None);
    let other = store.places("desktops", at(1)).await.unwrap();
    assert!(other.taken.is_empty());
    push(store, 2, Some(1)).await;
    assert_eq!(store.places("servers", at(1)).await.unwrap().cap, Some(1));
    // Who has a place beyond the new cap has it.
    assert_eq!(
        ask(store, wanted(hosts[0]), at(1)).await,
        PlaceAnswer::Granted
    );
}

async fn order_isolation(store: &Store, host: HostId) -> Result<OrderId, Vec<String>> {
    let order = Order {
        id: OrderId::generate(),
        host,
        verb: Verb::Isolate { lease_seconds: 60 },
        reason: "drill".into(),
        requested_by: "ada".into(),
        issued_at: at(1),
        expires_at: at(600),
        undoes: None,
    };
    let envelope = sign(&order, &key());
    let kept = store.add_order_within_cap(&order, &envelope).await.unwrap();
    match kept {
        None => Ok(order.id),
        Some(by) => Err(by.into_iter().map(|host| host.name).collect()),
    }
}

#[tokio::test]
async fn an_order_to_isolate_has_a_place_while_it_is_under_way() {
    let (db, hosts) = group(Some(1), 2).await;
    let store = &db.store;
    let order = order_isolation(store, hosts[0]).await.unwrap();
    assert_eq!(
        order_isolation(store, hosts[1]).await,
        Err(vec!["ep01".into()])
    );
    let refused = ask(store, wanted(hosts[1]), at(2)).await;
    assert!(matches!(refused, PlaceAnswer::Refused(_)), "{refused:?}");
    // Its own host may be told again.
    let again = order_isolation(store, hosts[0]).await.unwrap();
    // Nobody took it in time.
    assert_eq!(taken(store, at(600)).await, Vec::<String>::new());
    for (sequence, order, left) in [(1, order, 1), (2, again, 0)] {
        let refused = receipt(sequence, 3, hosts[0], order, OrderState::Refused);
        let committed = store.commit_batch(hosts[0], BOOT, &[refused], at(3)).await;
        committed.unwrap();
        assert_eq!(taken(store, at(4)).await.len(), left);
    }
    let query = OrderQuery {
        limit: 10,
        ..OrderQuery::default()
    };
    let orders = store.orders(&query).await.unwrap();
    assert_eq!(orders.len(), 2, "what was refused is not kept");
}

/// When many hosts ask at once they all have much to tell, and none waits for longer than a few tenths of a second.
#[tokio::test]
async fn a_place_is_given_before_the_records_that_wait() {
    let (db, hosts) = group(Some(1), 1).await;
    let done = Arc::new(AtomicUsize::new(0));
    let batches = (0..200_u64).map(|batch| {
        let (store, done, host) = (db.store.clone(), Arc::clone(&done), hosts[0]);
        tokio::spawn(async move {
            let record = detection(batch, 1, "a:1:1");
            let committed = store.commit_batch(host, BOOT, &[record], at(1)).await;
            committed.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        })
    });
    let batches: Vec<_> = batches.collect();
    // All of them run until they wait.
    tokio::task::yield_now().await;
    let answer = ask(&db.store, wanted(hosts[0]), at(1)).await;
    let before = done.load(Ordering::Relaxed);
    assert_eq!(answer, PlaceAnswer::Granted);
    assert!(before < 20, "{before} batches were committed before");
    for batch in batches {
        batch.await.unwrap();
    }
}
