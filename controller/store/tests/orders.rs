//! An order's life: only along its diagram, whatever arrives and however often.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::OrderState::{
    self, Delivered, Done, Expired, Failed, Queued, Refused, Started,
};
use cordon_store::{OrderQuery, Store};
use support::{BOOT, at, database, host, order, receipt, undoing};

async fn life(store: &Store, id: OrderId) -> (OrderState, Vec<(OrderState, bool, bool)>) {
    let order = store.order(id).await.unwrap().unwrap();
    let step = |s: &cordon_store::OrderStep| (s.state, s.signed, s.moved);
    (order.state, order.history.iter().map(step).collect())
}

async fn report(store: &Store, host: HostId, sequence: u64, order: OrderId, state: OrderState) {
    let record = receipt(sequence, 10, host, order, state);
    store
        .commit_batch(host, BOOT, &[record], at(11))
        .await
        .unwrap();
}

#[tokio::test]
async fn receipts_move_an_order_and_repeated_ones_do_not() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = order(&db.store, host).await;
    assert!(db.store.mark_delivered(id, at(1)).await.unwrap());
    assert!(!db.store.mark_delivered(id, at(2)).await.unwrap());
    report(&db.store, host, 1, id, Started).await;
    report(&db.store, host, 2, id, Started).await;
    report(&db.store, host, 3, id, Done).await;
    report(&db.store, host, 3, id, Failed).await;
    let (state, history) = life(&db.store, id).await;
    assert_eq!(state, Done);
    let own = |state| (state, false, true);
    let signed = |state| (state, true, true);
    assert_eq!(
        history,
        [own(Queued), own(Delivered), signed(Started), signed(Done)]
    );
    let order = db.store.order(id).await.unwrap().unwrap();
    assert!(order.history[3].receipt.is_some());
    assert_eq!(order.history[3].detail.as_deref(), Some("Done"));
}

#[tokio::test]
async fn done_implies_started_when_that_receipt_was_lost() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = order(&db.store, host).await;
    report(&db.store, host, 1, id, Done).await;
    assert_eq!(life(&db.store, id).await.0, Done);
    assert!(!db.store.mark_delivered(id, at(12)).await.unwrap());
}

#[tokio::test]
async fn a_late_receipt_is_kept_and_moves_nothing() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = order(&db.store, host).await;
    assert!(db.store.expire_orders(at(599)).await.unwrap().is_empty());
    assert_eq!(db.store.expire_orders(at(600)).await.unwrap(), [id]);
    assert!(db.store.expire_orders(at(601)).await.unwrap().is_empty());
    report(&db.store, host, 1, id, Started).await;
    let (state, history) = life(&db.store, id).await;
    assert_eq!(state, Expired);
    assert_eq!(history.last(), Some(&(Started, true, false)));
}

#[tokio::test]
async fn a_delivered_order_waits_a_little_for_its_receipt() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = order(&db.store, host).await;
    db.store.mark_delivered(id, at(1)).await.unwrap();
    assert!(db.store.expire_orders(at(700)).await.unwrap().is_empty());
    assert_eq!(db.store.expire_orders(at(720)).await.unwrap(), [id]);
}

#[tokio::test]
async fn a_started_order_never_expires() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = order(&db.store, host).await;
    report(&db.store, host, 1, id, Started).await;
    assert!(
        db.store
            .expire_orders(at(100_000))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(life(&db.store, id).await.0, Started);
}

#[tokio::test]
async fn another_hosts_receipt_moves_nothing() {
    let db = database().await;
    let (mine, other) = (
        host(&db.store, "ep1").await.id,
        host(&db.store, "ep2").await.id,
    );
    let id = order(&db.store, mine).await;
    report(&db.store, other, 1, id, Refused).await;
    assert_eq!(
        life(&db.store, id).await,
        (Queued, vec![(Queued, false, true)])
    );
}

#[tokio::test]
async fn what_is_delivered_and_silent_is_delivered_again() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let (first, second) = (order(&db.store, host).await, order(&db.store, host).await);
    db.store.mark_delivered(first, at(1)).await.unwrap();
    report(&db.store, host, 1, second, Done).await;
    let ids = |orders: Vec<cordon_store::OrderRow>| -> Vec<OrderId> {
        orders.iter().map(|order| order.id).collect()
    };
    assert_eq!(
        ids(db.store.deliverable_orders(host, at(2)).await.unwrap()),
        [first]
    );
    assert!(
        db.store
            .deliverable_orders(host, at(600))
            .await
            .unwrap()
            .is_empty()
    );
    let query = OrderQuery {
        host: Some(host),
        limit: 10,
        before: None,
    };
    assert_eq!(ids(db.store.orders(&query).await.unwrap()), [second, first]);
}

#[tokio::test]
async fn what_is_started_is_delivered_until_its_end_is_known() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let id = order(&db.store, host).await;
    db.store.mark_delivered(id, at(1)).await.unwrap();
    report(&db.store, host, 1, id, Started).await;
    for now in [at(2), at(600)] {
        let orders = db.store.deliverable_orders(host, now).await.unwrap();
        assert_eq!(orders.len(), 1);
        assert!(!db.store.mark_delivered(id, now).await.unwrap());
    }
    report(&db.store, host, 2, id, Done).await;
    assert!(
        db.store
            .deliverable_orders(host, at(2))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_order_knows_what_it_undoes_and_the_newest_that_undoes_it() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let first = order(&db.store, host).await;
    let read = async |id| db.store.order(id).await.unwrap().unwrap();
    assert_eq!(
        (read(first).await.undoes, read(first).await.undo),
        (None, None)
    );
    let refused = undoing(&db.store, host, first).await;
    report(&db.store, host, 1, refused, Refused).await;
    let undo = read(first).await.undo.unwrap();
    assert_eq!((undo.id, undo.state), (refused, Refused));
    let second = undoing(&db.store, host, first).await;
    let undo = read(first).await.undo.unwrap();
    assert_eq!((undo.id, undo.state), (second, Queued));
    assert_eq!(read(second).await.undoes, Some(first));
    assert_eq!(read(first).await.state, Queued, "its own state is its own");
    let listed = db.store.deliverable_orders(host, at(2)).await.unwrap();
    let listed: Vec<OrderId> = listed.iter().map(|order| order.id).collect();
    assert_eq!(listed, [first, second]);
}
