//! Sessions: who may have one, and what is believed of what comes up.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_fleet::ca::Authority;
use cordon_proto::id::HostId;
use cordon_proto::pb::agent_message::Body;
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::pb::fleet_client::FleetClient;
use cordon_proto::pb::{Heartbeat, RenewRequest};
use cordon_store::EventQuery;
use jiff::{SignedDuration, Timestamp};
use support::{
    BOOT, Controller, Keys, LIMIT, Line, SITE, chain, detection, hello, identity_by, wait_for,
};
use tonic::transport::Identity;
use tonic::{Code, Status};

const NOW: SignedDuration = SignedDuration::ZERO;

/// How a session with this certificate is refused, wherever that happens.
async fn refusal(controller: &Controller, identity: Identity) -> Status {
    match Line::open(controller, identity).await {
        Err(status) => status,
        Ok(mut line) => {
            line.say(Body::Hello(hello())).await;
            line.ended().await
        }
    }
}

#[tokio::test]
async fn a_session_wants_a_certificate() {
    let controller = Controller::start().await;
    let channel = controller.connect(None).await.unwrap();
    let refused = FleetClient::new(channel.clone())
        .session(tokio_stream::empty())
        .await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("enrol the host first"));
    let csr_pem = Keys::generate().request();
    let refused = FleetClient::new(channel)
        .renew(RenewRequest { csr_pem })
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_tls() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    // One that calls itself the same, and one that does not.
    for (site, alert) in [(SITE, "DecryptError"), ("branch", "UnknownCA")] {
        let other = Authority::generate(site, Timestamp::now()).unwrap();
        let identity = identity_by(&other, &host.keys, host.id, NOW);
        let status = refusal(&controller, identity).await;
        assert!(chain(&status).contains(alert), "{}", chain(&status));
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_that_name() {
    let (controller, authority) = controller_and_authority().await;
    let host = controller.host().await;
    let month = SignedDuration::from_hours(24 * 30);
    let status = refusal(
        &controller,
        identity_by(&authority, &host.keys, host.id, month),
    )
    .await;
    assert!(
        chain(&status).contains("CertificateExpired"),
        "{}",
        chain(&status)
    );
}

/// A controller, and its own authority in our hands.
async fn controller_and_authority() -> (Controller, Authority) {
    let controller = Controller::start().await;
    let authority = controller.authority();
    (controller, authority)
}

#[tokio::test]
async fn an_unknown_host_and_a_wrong_key_are_refused() {
    let (controller, authority) = controller_and_authority().await;
    let host = controller.host().await;
    let stranger = identity_by(&authority, &host.keys, HostId::generate(), NOW);
    let status = refusal(&controller, stranger).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("is not enrolled here"));
    let wrong_key = identity_by(&authority, &Keys::generate(), host.id, NOW);
    let status = refusal(&controller, wrong_key).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("key is not in use"));
}

#[tokio::test]
async fn an_unknown_protocol_and_a_missing_hello_are_refused() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let mut line = Line::open(&controller, host.identity()).await.unwrap();
    let mut future = hello();
    future.protocol = 99;
    line.say(Body::Hello(future)).await;
    let status = line.ended().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("protocol 99"));
    let mut line = Line::open(&controller, host.identity()).await.unwrap();
    line.say(Body::Heartbeat(Heartbeat::default())).await;
    assert_eq!(line.ended().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn records_are_acknowledged_each_time_and_kept_once() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    let records = vec![(1, detection("a:1:1")), (2, detection("a:1:1"))];
    for _ in 0..2 {
        line.send(records.clone()).await;
        assert_eq!(line.acknowledged().await, [(1, 2)]);
    }
    line.send(vec![(2, detection("a:1:1")), (4, b"garbage".to_vec())])
        .await;
    assert_eq!(line.acknowledged().await, [(2, 2), (4, 4)]);
    let query = EventQuery {
        limit: 100,
        ..EventQuery::default()
    };
    let events = controller.store().events(&query).await.unwrap();
    let kept: Vec<(u64, &str)> = events
        .iter()
        .map(|e| (e.sequence, e.kind.as_str()))
        .collect();
    assert_eq!(
        kept,
        [(4, "unreadable"), (2, "detection"), (1, "detection")]
    );
}

#[tokio::test]
async fn a_batch_out_of_bounds_ends_the_session_and_keeps_what_was_taken() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    line.send(vec![(1, detection("a:1:1"))]).await;
    line.send(vec![(u64::MAX, detection("a:1:1"))]).await;
    assert_eq!(line.acknowledged().await, [(1, 1)]);
    assert_eq!(line.ended().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_heartbeat_is_live_and_the_end_of_the_line_is_offline() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    assert!(controller.fleet.live(host.id).is_none());
    let mut line = host.session(&controller).await;
    let beat = Heartbeat {
        rss_bytes: 7,
        ..Heartbeat::default()
    };
    line.say(Body::Heartbeat(beat)).await;
    // The batch comes after it, so its acknowledgement shows that it arrived.
    line.send(vec![(1, detection("a:1:1"))]).await;
    line.acknowledged().await;
    let known_live = controller.fleet.live(host.id).unwrap();
    assert!(known_live.online && known_live.boot_id == BOOT);
    assert_eq!(known_live.heartbeat, Some(beat));
    let known = controller.store().host(host.id).await.unwrap().unwrap();
    assert_eq!(known.sensor_mode.as_deref(), Some("ebpf"));
    drop(line);
    let gone = async {
        while controller.fleet.live(host.id).unwrap().online {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert_eq!(
        controller.fleet.live(host.id).unwrap().heartbeat,
        Some(beat)
    );
}

#[tokio::test]
async fn the_newest_of_two_sessions_wins_and_both_are_flagged() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let mut first = host.session(&controller).await;
    first.send(vec![(1, detection("a:1:1"))]).await;
    first.acknowledged().await;
    let mut second = Line::open(&controller, host.identity()).await.unwrap();
    let mut copy = hello();
    copy.boot_id = "00000000-0000-4000-8000-000000000002".into();
    second.say(Body::Hello(copy)).await;
    assert_eq!(first.ended().await.code(), Code::Aborted);
    second.send(vec![(2, detection("a:1:1"))]).await;
    assert_eq!(second.acknowledged().await, [(2, 2)]);
    assert!(controller.fleet.live(host.id).unwrap().online);
    let flagged = controller.audited("session.double").await;
    assert!(
        flagged[0].contains(BOOT) && flagged[0].contains("000000000002"),
        "{flagged:?}"
    );
}

#[tokio::test]
async fn an_evicted_host_is_cut_and_stays_out() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    line.send(vec![(1, detection("a:1:1"))]).await;
    line.acknowledged().await;
    controller.fleet.evict(host.id, "admin").await.unwrap();
    assert_eq!(line.ended().await.code(), Code::PermissionDenied);
    let status = refusal(&controller, host.identity()).await;
    assert!(
        status.message().contains("was evicted"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn a_renewed_key_takes_over_when_it_is_used() {
    let controller = Controller::start().await;
    let mut host = controller.host().await;
    let channel = controller.connect(Some(host.identity())).await.unwrap();
    let keys = Keys::generate();
    let csr_pem = keys.request();
    let renewed = FleetClient::new(channel)
        .renew(RenewRequest { csr_pem })
        .await;
    let renewed = renewed.unwrap().into_inner();
    let old = host.identity();
    (host.keys, host.certificate_pem) = (keys, renewed.certificate_pem);
    let mut line = host.session(&controller).await;
    line.send(vec![(1, detection("a:1:1"))]).await;
    line.acknowledged().await;
    assert_eq!(
        refusal(&controller, old).await.code(),
        Code::PermissionDenied
    );
    assert_eq!(controller.audited("host.renew").await.len(), 1);
}

#[tokio::test]
async fn a_stopping_controller_says_so_and_acknowledges_what_it_took() {
    let mut controller = Controller::start().await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    line.send(vec![(1, detection("a:1:1"))]).await;
    line.acknowledged().await;
    controller.stop().await;
    assert_eq!(line.ended().await.code(), Code::Unavailable);
    let seen = controller.store().host(host.id).await.unwrap().unwrap();
    assert!(seen.last_seen_at.is_some());
}
#[tokio::test]
async fn a_policy_reaches_a_connected_host_and_one_that_holds_it_is_left_alone() {
    let controller = Controller::start().await;
    let host = controller.host().await;
    let mut line = host.session(&controller).await;
    let pushed = controller.push(1).await;
    assert_eq!(line.hear().await.unwrap(), Reply::Policy(pushed.to_json()));
    let mut again = Line::open(&controller, host.identity()).await.unwrap();
    let mut holder = hello();
    holder.policy_version = 1;
    holder.policy_sha256 = pushed.sha256();
    again.say(Body::Hello(holder)).await;
    let newer = controller.push(2).await;
    assert_eq!(again.hear().await.unwrap(), Reply::Policy(newer.to_json()));
    let known = wait_for(&controller, "the hello", async || {
        let host = controller.store().host(host.id).await.unwrap().unwrap();
        (host.policy_version == Some(1)).then_some(host)
    });
    assert_eq!(known.await.policy_sha256, Some(pushed.sha256()));
}
