//! Agents ask in their sessions for a place among the isolated hosts of their group; people are held to the same cap.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_fleet::{ORDER_LIFETIME, OrderError, OrderRequest};
use cordon_proto::envelope::sign;
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::order::Verb;
use cordon_proto::pb::agent_message::Body;
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::pb::{Place, PlaceWanted};
use cordon_proto::record::{Record, RecordBody};
use jiff::Timestamp;
use serde_json::json;
use support::{Controller, Line, TestHost, policy, policy_key};
use tonic::Code;

/// A controller whose policy lets so many hosts be isolated at one time.
async fn capped(cap: Option<u32>) -> Controller {
    let controller = Controller::start().await;
    let mut policy = policy(1);
    policy.caps.hosts_at_once = cap;
    let envelope = sign(&policy, &policy_key());
    let pushed = controller
        .fleet
        .push_policy(&envelope.to_json(), "admin")
        .await;
    pushed.unwrap();
    controller
}

async fn want(line: &mut Line, isolation: IsolationId) {
    let isolation_id = isolation.to_string();
    line.say(Body::PlaceWanted(PlaceWanted { isolation_id }))
        .await;
}

/// The next answer; whatever comes before it is passed over.
async fn answer(line: &mut Line) -> Place {
    loop {
        if let Reply::Place(place) = line.hear().await.unwrap() {
            return place;
        }
    }
}

fn report(isolation: IsolationId, state: &str) -> Vec<u8> {
    let body = json!({
        "id": isolation, "state": state, "reason": "", "tree": null, "probes": [], "policy_version": 1,
    });
    let body = RecordBody::Isolation(serde_json::from_value(body).unwrap());
    let at = Timestamp::now();
    serde_json::to_vec(&Record { at, body }).unwrap()
}

#[tokio::test]
async fn hosts_that_ask_in_the_same_moment_share_the_places() {
    let controller = capped(Some(2)).await;
    let mut lines = Vec::new();
    for _ in 0..5 {
        let host = controller.host().await;
        let line = host.session(&controller).await;
        lines.push((host, line));
    }
    for (_, line) in &mut lines {
        want(line, IsolationId::generate()).await;
    }
    let mut granted = 0;
    for (_, line) in &mut lines {
        let place = answer(line).await;
        granted += usize::from(place.granted);
        if !place.granted {
            assert_eq!(place.taken, 2);
            assert_eq!(place.taken_by, ["ep1", "ep1"]);
        }
    }
    assert_eq!(granted, 2);
}

#[tokio::test]
async fn a_place_is_free_again_when_the_host_says_that_it_is_open() {
    let controller = capped(Some(1)).await;
    let (first, second) = (controller.host().await, controller.host().await);
    let mut one = first.session(&controller).await;
    let mut other = second.session(&controller).await;
    let (isolation, wanted) = (IsolationId::generate(), IsolationId::generate());
    want(&mut one, isolation).await;
    let place = answer(&mut one).await;
    assert_eq!(place.isolation_id, isolation.to_string());
    assert!(place.granted);
    one.send(vec![(1, report(isolation, "confirmed"))]).await;
    one.acknowledged().await;
    want(&mut other, wanted).await;
    assert!(!answer(&mut other).await.granted);
    one.send(vec![(2, report(isolation, "released"))]).await;
    one.acknowledged().await;
    want(&mut other, wanted).await;
    assert!(answer(&mut other).await.granted);
}

#[tokio::test]
async fn without_a_cap_every_place_is_given_and_a_question_about_nothing_ends_the_session() {
    let controller = capped(None).await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    for _ in 0..3 {
        want(&mut line, IsolationId::generate()).await;
        assert!(answer(&mut line).await.granted);
    }
    let isolation_id = "the first one".to_owned();
    line.say(Body::PlaceWanted(PlaceWanted { isolation_id }))
        .await;
    assert_eq!(line.ended().await.code(), Code::InvalidArgument);
}

fn isolate(host: HostId) -> OrderRequest {
    OrderRequest {
        host,
        verb: Verb::Isolate { lease_seconds: 60 },
        reason: "drill".into(),
        requested_by: "ada".into(),
        lifetime: ORDER_LIFETIME,
        undoes: None,
    }
}

#[tokio::test]
async fn a_person_who_goes_beyond_the_cap_says_so_and_that_is_audited() {
    let controller = capped(Some(1)).await;
    let hosts: Vec<TestHost> = vec![controller.host().await, controller.host().await];
    let fleet = &controller.fleet;
    fleet.create_order(isolate(hosts[0].id)).await.unwrap();
    let refused = fleet.create_order(isolate(hosts[1].id)).await.unwrap_err();
    assert!(
        matches!(&refused, OrderError::NoPlace { taken, .. } if taken[0].id == hosts[0].id),
        "{refused}"
    );
    let said = refused.to_string();
    assert!(
        said.contains("--beyond-cap") && said.contains("\"ep1\""),
        "{said}"
    );
    let release = OrderRequest {
        verb: Verb::Release,
        ..isolate(hosts[1].id)
    };
    fleet.create_order(release).await.unwrap();
    let beyond = fleet.create_order_beyond_cap(isolate(hosts[1].id));
    beyond.await.unwrap();
    let trail = controller.audited("order.create").await;
    let beyond = trail
        .iter()
        .filter(|entry| entry.contains("beyond the cap"));
    let told: Vec<&String> = beyond.collect();
    assert_eq!(told.len(), 1, "{trail:?}");
    assert!(told[0].contains(&hosts[1].id.to_string()), "{told:?}");
}
