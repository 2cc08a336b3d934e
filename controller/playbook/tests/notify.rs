//! Cards go to a real HTTP receiver on loopback, which checks them as a platform would.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use cordon_analyst::Severity;
use cordon_playbook::notify::{Card, Channel, Client, Kind, Language, NotifyError, Retry, send};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

/// Status, headers and body.
type Answer = (u16, Vec<(&'static str, String)>, String);

/// What the receiver got, and what it will answer.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    receiver.got.lock().unwrap().push((headers, body));
    let mut answers = receiver.answers.lock().unwrap();
    let (status, headers, body) = if answers.is_empty() {
        (200, Vec::new(), r#"{"code":0,"msg":"success"}"#.to_owned())
    } else {
        answers.remove(0)
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        let app = Router::new()
            .route("/hook/token", post(receive))
            .with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, url)
    }

    fn will_answer(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        self.answers
            .lock()
            .unwrap()
            .push((status, headers, body.to_owned()));
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn last(&self) -> (HeaderMap, Bytes) {
        self.got.lock().unwrap().last().unwrap().clone()
    }

    fn last_json(&self) -> Value {
        serde_json::from_slice(&self.last().1).unwrap()
    }
}

fn now() -> Timestamp {
    "2026-11-24T16:20:46Z".parse().unwrap()
}

fn card() -> Card {
    Card {
        id: "n-1".into(),
        incident: "01890000-0000-7000-8000-0000000000ff".into(),
        host: "ep1".into(),
        at: "2026-11-24T16:20:45Z".parse().unwrap(),
        language: Language::Zh,
        severity: Severity::Critical,
        title: "ep1 上的 perl 出现恶意行为".into(),
        summary: "运行了 “sh <at id=all></at> **now** [x](https://evil.example/)”".into(),
        risk: "远端可能执行命令。".into(),
        measures: vec!["2026-11-24 16:20:45 UTC：主机已隔离".into()],
        advice: vec!["保持隔离".into()],
        link: Some("https://10.99.0.10:8443/incidents/1".into()),
    }
}

fn channel(kind: Kind, url: &str, secret: Option<&str>) -> Channel {
    Channel {
        kind,
        url: url.to_owned(),
        secret: secret.map(str::to_owned),
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[tokio::test]
async fn a_webhook_gets_the_documented_fields_and_a_signature_over_time_and_body() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    send(
        &client,
        &channel(Kind::Webhook, &url, Some("s3cret")),
        &card(),
        now(),
    )
    .await
    .unwrap();

    let (headers, body) = receiver.last();
    let timestamp = headers["x-cordon-timestamp"].to_str().unwrap();
    assert_eq!(timestamp, now().as_second().to_string());
    let signed = [timestamp.as_bytes(), b".", &body].concat();
    let wanted = format!("v1={}", hex::encode(mac(b"s3cret", &signed)));
    assert_eq!(headers["x-cordon-signature"].to_str().unwrap(), wanted);

    let mut wanted = serde_json::to_value(card()).unwrap();
    wanted["schema"] = "cordon.notification.v1".into();
    assert_eq!(receiver.last_json(), wanted);
    for field in [
        "id", "incident", "host", "at", "language", "severity", "title", "summary", "risk",
        "measures", "advice", "link",
    ] {
        assert!(!wanted[field].is_null(), "{field}");
    }
}

#[tokio::test]
async fn a_webhook_without_a_secret_is_not_signed() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    send(&client, &channel(Kind::Webhook, &url, None), &card(), now())
        .await
        .unwrap();
    assert!(!receiver.last().0.contains_key("x-cordon-signature"));
}

#[tokio::test]
async fn feishu_gets_a_signed_interactive_card_of_plain_text() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    send(
        &client,
        &channel(Kind::Feishu, &url, Some("s3cret")),
        &card(),
        now(),
    )
    .await
    .unwrap();

    let message = receiver.last_json();
    let timestamp = message["timestamp"].as_str().unwrap();
    assert_eq!(timestamp, now().as_second().to_string());
    let key = format!("{timestamp}\ns3cret");
    let wanted = base64::engine::general_purpose::STANDARD.encode(mac(key.as_bytes(), b""));
    assert_eq!(message["sign"], wanted);
    assert_eq!(message["msg_type"], "interactive");
    assert_eq!(message["card"]["header"]["title"]["content"], card().title);

    let written = message.to_string();
    assert!(written.contains("风险等级：严重") && written.contains("主机已隔离"));
    assert!(!written.contains("lark_md") && !written.contains("\"markdown\""));
    assert!(!written.contains("<at") && !written.contains("https://evil"));
    assert!(written.contains("https://10.99.0.10:8443/incidents/1"));
    every_text_is_plain(&message["card"]);
}

fn every_text_is_plain(value: &Value) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("content") {
                assert_eq!(fields["tag"], "plain_text");
            }
            fields.values().for_each(every_text_is_plain);
        }
        Value::Array(items) => items.iter().for_each(every_text_is_plain),
        _ => {}
    }
}

#[tokio::test]
async fn a_card_beyond_the_platforms_size_is_cut_and_still_sent() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    let mut long = card();
    long.summary = "隔".repeat(50_000);
    long.measures = vec!["\u{1}\"<at>".repeat(2_000); 30];
    send(&client, &channel(Kind::Feishu, &url, None), &long, now())
        .await
        .unwrap();
    let body = receiver.last().1;
    assert!(body.len() <= 20_000, "{}", body.len());
    assert!(receiver.last_json().to_string().contains('…'));
}

#[tokio::test]
async fn a_muted_channel_is_left_alone_for_as_long_as_it_asked() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    let channel = channel(Kind::Webhook, &url, None);
    receiver.will_answer(429, &[("retry-after", "30")], "");

    let muted = send(&client, &channel, &card(), now()).await.unwrap_err();
    assert_eq!(muted.retry(1, 0.0), Retry::After(Duration::from_secs(30)));

    let early = now() + Duration::from_secs(10);
    let paced = send(&client, &channel, &card(), early).await.unwrap_err();
    assert!(matches!(paced, NotifyError::Paced { wait } if wait == Duration::from_secs(20)));
    assert_eq!(receiver.count(), 1, "a muted channel was spoken to");

    send(&client, &channel, &card(), now() + Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn no_more_than_five_a_second_reach_a_channel() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    let channel = channel(Kind::Feishu, &url, None);
    for _ in 0..5 {
        send(&client, &channel, &card(), now()).await.unwrap();
    }
    let refused = send(&client, &channel, &card(), now()).await.unwrap_err();
    assert!(matches!(refused, NotifyError::Paced { .. }));
    assert_eq!(receiver.count(), 5);
}

#[tokio::test]
async fn feishu_says_no_with_status_200_and_that_is_a_failure() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    let channel = channel(Kind::Feishu, &url, Some("wrong"));
    receiver.will_answer(200, &[], r#"{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}"#);
    let refused = send(&client, &channel, &card(), now()).await.unwrap_err();
    assert_eq!(refused.retry(1, 0.0), Retry::Never);
    let words = refused.to_string();
    assert!(
        words.contains("19021") && words.contains("secret"),
        "{words}"
    );
    assert!(!words.contains("token"), "the address is a secret: {words}");
}

#[tokio::test]
async fn redirects_are_refused_and_not_followed() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    receiver.will_answer(307, &[("location", &url)], "");
    let refused = send(&client, &channel(Kind::Webhook, &url, None), &card(), now())
        .await
        .unwrap_err();
    assert_eq!(refused.retry(1, 0.0), Retry::Never);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn trouble_of_the_receiver_is_tried_again() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    receiver.will_answer(500, &[], "\u{1b}[31mboom");
    let failed = send(&client, &channel(Kind::Webhook, &url, None), &card(), now())
        .await
        .unwrap_err();
    assert_eq!(failed.retry(1, 0.0), Retry::After(Duration::from_secs(2)));
    assert!(!failed.to_string().contains('\u{1b}'));
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_names_the_host_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook/token", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(None).unwrap();
    let failed = send(&client, &channel(Kind::Webhook, &url, None), &card(), now())
        .await
        .unwrap_err();
    assert!(matches!(failed.retry(3, 0.0), Retry::After(_)));
    let chain = format!("{failed} {:?}", std::error::Error::source(&failed));
    assert!(
        chain.contains("127.0.0.1") && !chain.contains("token"),
        "{chain}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (receiver, url) = Receiver::start().await;
    let client = Client::new(None).unwrap();
    receiver.will_answer(400, &[], &"x".repeat(4 << 20));
    let failed = send(&client, &channel(Kind::Webhook, &url, None), &card(), now())
        .await
        .unwrap_err();
    assert!(failed.to_string().len() < 600);
}

#[test]
fn only_web_addresses_are_channels_and_debug_output_keeps_their_secrets() {
    for bad in [
        "ftp://chat.example/x",
        "file:///etc/shadow",
        "chat.example",
        "",
    ] {
        let refused = channel(Kind::Webhook, bad, None).check().unwrap_err();
        assert_eq!(refused.retry(1, 0.0), Retry::Never, "{bad}");
    }
    let shown = format!(
        "{:?}",
        channel(
            Kind::Feishu,
            "https://chat.example/hook/token",
            Some("s3cret")
        )
    );
    assert!(
        shown.contains("chat.example") && !shown.contains("token") && !shown.contains("s3cret")
    );
}
