//! Orders go down signed, and only the host's signed word moves them on; policies only grow.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use std::time::Duration;

use cordon_fleet::{ORDER_LIFETIME, OrderError, OrderRequest, PushError};
use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::{Order, OrderState, Verb};
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::policy::PolicyError;
use cordon_store::{OrderRow, StoreError};
use ed25519_dalek::SigningKey;
use serde_json::json;
use support::{Controller, LIMIT, Line, TestHost, order_key, policy, policy_key};

fn release(host: HostId) -> OrderRequest {
    OrderRequest {
        host,
        verb: Verb::Release,
        reason: "all clear".into(),
        requested_by: "admin".into(),
        lifetime: ORDER_LIFETIME,
        undoes: None,
    }
}

/// The next order on the line, checked as an agent checks it.
async fn receive(line: &mut Line) -> Order {
    loop {
        if let Reply::Order(bytes) = line.hear().await.unwrap() {
            let envelope = Envelope::from_json(&bytes).unwrap();
            return envelope.open(&[order_key().verifying_key()]).unwrap();
        }
    }
}

async fn ordered(controller: &Controller, host: &TestHost) -> OrderRow {
    let created = controller.fleet.create_order(release(host.id)).await;
    created.unwrap()
}

fn states(order: &OrderRow) -> Vec<(OrderState, bool)> {
    order
        .history
        .iter()
        .map(|step| (step.state, step.signed))
        .collect()
}

#[tokio::test]
async fn an_order_is_done_when_the_host_signs_so() {
    let controller = Controller::start().await;
    controller.push(1).await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    let created = ordered(&controller, &host).await;
    let order = receive(&mut line).await;
    assert_eq!((order.id, order.host), (created.id, host.id));
    let receipt = |state| host.receipt(order.id, state, &host.keys.signing);
    line.send(vec![
        (1, receipt(OrderState::Started)),
        (2, receipt(OrderState::Done)),
    ])
    .await;
    let done = controller.fleet.wait_final(order.id, LIMIT).await.unwrap();
    assert_eq!(
        states(&done),
        [
            (OrderState::Queued, false),
            (OrderState::Delivered, false),
            (OrderState::Started, true),
            (OrderState::Done, true),
        ]
    );
    let asked = controller.audited("order.create").await;
    assert!(asked[0].contains("all clear"), "{asked:?}");
}

#[tokio::test]
async fn a_forged_receipt_moves_nothing_and_is_audited() {
    let controller = Controller::start().await;
    controller.push(1).await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    let created = ordered(&controller, &host).await;
    receive(&mut line).await;
    let forger = SigningKey::from_bytes(&[9; 32]);
    line.send(vec![(
        1,
        host.receipt(created.id, OrderState::Done, &forger),
    )])
    .await;
    assert_eq!(line.acknowledged().await, [(1, 1)]);
    let order = controller.store().order(created.id).await.unwrap().unwrap();
    assert_eq!(order.state, OrderState::Delivered);
    let flagged = controller.audited("receipt.forged").await;
    assert!(flagged[0].contains("no valid signature"), "{flagged:?}");
}

#[tokio::test]
async fn an_order_waits_for_its_host_and_is_sent_again_to_a_new_line() {
    let controller = Controller::start().await;
    controller.push(1).await;
    let host = controller.host().await;
    let created = ordered(&controller, &host).await;
    let waited = controller
        .fleet
        .wait_final(created.id, Duration::from_millis(50))
        .await;
    assert_eq!(waited.unwrap().state, OrderState::Queued);
    for _ in 0..2 {
        let mut line = host.session(&controller).await;
        assert_eq!(receive(&mut line).await.id, created.id);
    }
    let order = controller.store().order(created.id).await.unwrap().unwrap();
    assert_eq!(
        states(&order),
        [(OrderState::Queued, false), (OrderState::Delivered, false)]
    );
}

#[tokio::test]
async fn an_order_that_the_agent_would_refuse_is_not_made() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let create = async |request| controller.fleet.create_order(request).await.unwrap_err();
    let refused = create(release(host.id)).await;
    assert!(
        matches!(refused, OrderError::NotAllowed { .. }),
        "{refused}"
    );
    controller.push(1).await;
    let refused = create(release(HostId::generate())).await;
    assert!(matches!(refused, OrderError::UnknownHost(_)));
    let mut wordy = release(host.id);
    wordy.reason = "x".repeat(1001);
    assert!(matches!(create(wordy).await, OrderError::LongReason(1001)));
    controller.fleet.evict(host.id, "admin").await.unwrap();
    assert!(matches!(
        create(release(host.id)).await,
        OrderError::Evicted(_)
    ));
}

fn about(host: HostId, verb: serde_json::Value) -> OrderRequest {
    OrderRequest {
        verb: serde_json::from_value(verb).unwrap(),
        ..release(host)
    }
}

#[tokio::test]
async fn what_was_done_is_undone_by_an_order_that_names_it_and_only_once() {
    let controller = Controller::start().await;
    controller.push(1).await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    let fleet = &controller.fleet;
    let process = "0f3c9a1e:412:3210000000";
    let freeze = about(host.id, json!({"verb": "freeze_tree", "process": process}));
    let freeze = fleet.create_order(freeze).await.unwrap().id;
    let undo = async |id| {
        fleet
            .undo_order(id, "a false alarm".into(), "ada".into())
            .await
    };
    let early = undo(freeze).await.unwrap_err();
    assert!(early.to_string().contains("has not said"), "{early}");
    receive(&mut line).await;
    line.send(vec![(
        1,
        host.receipt(freeze, OrderState::Done, &host.keys.signing),
    )])
    .await;
    fleet.wait_final(freeze, LIMIT).await.unwrap();

    let thaw = undo(freeze).await.unwrap();
    let received = receive(&mut line).await;
    assert_eq!((received.id, received.undoes), (thaw.id, Some(freeze)));
    let wanted = json!({"verb": "thaw_tree", "process": process});
    assert_eq!(serde_json::to_value(&received.verb).unwrap(), wanted);
    let twice = undo(freeze).await.unwrap_err();
    assert!(twice.to_string().contains("does so already"), "{twice}");
    let of_undo = undo(thaw.id).await.unwrap_err();
    assert!(of_undo.to_string().contains("nothing undoes"), "{of_undo}");
    let trail = controller.audited("order.create").await;
    assert!(
        trail
            .iter()
            .any(|line| line.contains(&format!("undoes order {freeze}")) && line.contains(process)),
        "{trail:?}"
    );
    // In vain is not done.
    line.send(vec![(
        2,
        host.receipt(thaw.id, OrderState::Failed, &host.keys.signing),
    )])
    .await;
    fleet.wait_final(thaw.id, LIMIT).await.unwrap();
    undo(freeze).await.unwrap();
    let unknown = undo(OrderId::generate()).await.unwrap_err();
    assert!(matches!(unknown, OrderError::UnknownOrder(_)));
}

#[tokio::test]
async fn a_step_that_no_agent_would_take_is_not_signed() {
    let controller = Controller::start().await;
    controller.push(1).await;
    let host = controller.host().await;
    let create = async |verb| {
        let created = controller.fleet.create_order(about(host.id, verb)).await;
        created.unwrap_err()
    };
    let senseless =
        create(json!({"verb": "block_remote", "address": "203.0.113.9", "seconds": 0})).await;
    assert!(matches!(senseless, OrderError::Form(_)), "{senseless}");
    let file = create(json!({"verb": "quarantine_file", "path": "/tmp/x"})).await;
    assert!(matches!(file, OrderError::NotAllowed { .. }), "{file}");
}

#[tokio::test]
async fn only_a_newer_policy_with_the_sites_signature_is_taken() {
    let controller = Controller::start().await;
    controller.push(2).await;
    let push = async |envelope: Envelope| {
        let pushed = controller
            .fleet
            .push_policy(&envelope.to_json(), "admin")
            .await;
        pushed.unwrap_err()
    };
    let forged = push(sign(&policy(3), &SigningKey::from_bytes(&[9; 32]))).await;
    assert!(matches!(forged, PushError::Envelope(_)), "{forged}");
    let mut abroad = policy(3);
    abroad.site = "branch".into();
    let abroad = push(sign(&abroad, &policy_key())).await;
    assert!(
        matches!(abroad, PushError::Policy(PolicyError::Audience { .. })),
        "{abroad}"
    );
    let old = push(sign(&policy(2), &policy_key())).await;
    assert!(
        matches!(
            old,
            PushError::Store(StoreError::NotNewer { newest: 2, .. })
        ),
        "{old}"
    );
    let nonsense = controller.fleet.push_policy(b"nonsense", "admin").await;
    assert!(matches!(nonsense, Err(PushError::Envelope(_))));
    let kept = controller
        .store()
        .policy_for(support::GROUP)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.policy.version, 2);
}
