//! From reported records to what people are shown and told, with a real database and a real receiver.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use cordon_controller::config::NotifyChannel;
use cordon_controller::incidents::{row, whole, worded};
use cordon_controller::notify::Notifier;
use cordon_playbook::notify::{Channel, Client, Kind, Language};
use cordon_proto::id::HostId;
use cordon_store::{
    CertificateFacts, Incident, IncidentQuery, IncomingRecord, NewHost, NewJoinToken, Reading,
    SecretHash, Store,
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const BOOT: &str = "00000000-0000-4000-8000-000000000001";
const TREE: &str = "00000000:412:881203";
const LIMIT: Duration = Duration::from_secs(20);

struct Fleet {
    store: Store,
    host: HostId,
    _dir: tempfile::TempDir,
}

impl Fleet {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("cordon.db")).await.unwrap();
        let now = Timestamp::now();
        let token = NewJoinToken {
            hash: SecretHash::of("join"),
            group: "servers".to_owned(),
            uses: 1,
            expires_at: now + 1.hours(),
            created_by: "admin".to_owned(),
        };
        store.add_join_token(&token, now).await.unwrap();
        let host = HostId::generate();
        let new = NewHost {
            id: host,
            name: "ep1\u{202e}\u{1b}[2J".to_owned(),
            machine_id: "0123".to_owned(),
            public_key: [7; 32],
            certificate: CertificateFacts {
                serial: "01".to_owned(),
                not_after: now + 1.hours(),
            },
        };
        store.enroll(&token.hash, &new, now).await.unwrap();
        Self {
            store,
            host,
            _dir: dir,
        }
    }

    async fn report(&self, sequence: u64, kind: &str, body: Value) {
        let record = json!({ "at": Timestamp::now(), "kind": kind, "body": body });
        let record = IncomingRecord {
            sequence,
            json: serde_json::to_vec(&record).unwrap(),
            reading: Reading::Record(Box::new(serde_json::from_value(record).unwrap())),
        };
        let now = Timestamp::now();
        self.store
            .commit_batch(self.host, BOOT, &[record], now)
            .await
            .unwrap();
    }

    async fn incident(&self) -> Incident {
        let query = IncidentQuery {
            limit: 10,
            ..IncidentQuery::default()
        };
        self.store.incidents(&query).await.unwrap().remove(0)
    }
}

fn detection(score: f64, technique: &str) -> Value {
    json!({
        "tree": TREE, "pid": 4127,
        "story": {
            "id": "4127",
            "process": { "exe": "/usr/bin/perl", "argv": ["perl", "\u{1b}]0;owned\u{7}"], "stdin": "socket" },
            "ancestors": [{ "exe": "/usr/sbin/nginx", "argv": ["nginx"] }],
            "connections": [{ "direction": "out", "protocol": "tcp", "address": "203.0.113.9", "port": 4444 }],
        },
        "verdict": {
            "id": "4127", "score": score, "verdict": "malicious", "techniques": [technique],
            "reasons": [{ "text": "standard input is a network socket", "weight": 0.4 }],
            "stage": "model", "model": "behavior-1@3fa4c2d1", "micros": 4100,
        },
        "policy_version": 3, "decision": "isolate", "decision_reason": "malicious", "event_mono_ns": 1,
    })
}

fn isolation(state: &str) -> Value {
    json!({
        "id": "01890000-0000-7000-8000-0000000000a1", "state": state, "reason": "malicious",
        "tree": TREE, "lease_expires_at": Timestamp::now() + 1.hours(), "policy_version": 3,
        "event_to_drop_micros": 14_230,
        "probes": [{ "target": "tcp 10.99.0.10:7443 unmarked", "reached": false, "expected": false }],
    })
}

#[tokio::test]
async fn an_incident_is_worded_from_its_facts_as_the_console_reads_it() {
    let fleet = Fleet::new().await;
    fleet
        .report(1, "detection", detection(0.91, "T1059.004"))
        .await;
    fleet.report(2, "detection", detection(0.98, "T1095")).await;
    fleet.report(3, "isolation", isolation("applied")).await;
    let shown = serde_json::to_value(row(&fleet.incident().await)).unwrap();
    assert_eq!(shown["isolation"]["state"], "applied");
    fleet.report(4, "isolation", isolation("confirmed")).await;

    let shown = serde_json::to_value(whole(fleet.incident().await)).unwrap();
    assert_eq!(shown["status"], "open");
    assert_eq!(shown["severity"], "high");
    assert_eq!(shown["isolation"]["state"], "confirmed");
    assert_eq!(shown["techniques"], json!(["T1059.004", "T1095"]));
    assert!((shown["score"].as_f64().unwrap() - 0.98).abs() < 1e-6);
    assert_eq!(shown["tree"], TREE);
    assert_eq!(shown["host"]["id"], fleet.host.to_string());
    assert_eq!(shown["detections"].as_array().unwrap().len(), 2);
    assert_eq!(shown["detections"][0]["verdict"]["stage"], "model");
    assert_eq!(shown["measures"].as_array().unwrap().len(), 2);
    for language in ["en", "zh"] {
        let text = &shown["text"][language];
        for field in ["title", "summary", "risk"] {
            assert!(
                !text[field].as_str().unwrap().is_empty(),
                "{language} {field}"
            );
        }
        assert!(
            !text.to_string().contains("\\u001b"),
            "endpoint text is made harmless"
        );
    }
}

#[tokio::test]
async fn what_happens_on_a_host_that_is_cut_off_already_is_told_as_such() {
    let fleet = Fleet::new().await;
    fleet.report(1, "detection", detection(0.98, "T1095")).await;
    fleet.report(2, "isolation", isolation("confirmed")).await;
    let mut later = detection(0.97, "T1059.004");
    later["tree"] = "b00t:9:1".into();
    fleet.report(3, "detection", later).await;
    let words = worded(&fleet.incident().await);
    assert!(words.en.risk.contains("cut off"), "{}", words.en.risk);
    let mut released = isolation("released");
    released["probes"] = json!([]);
    fleet.report(4, "isolation", released).await;
    let words = worded(&fleet.incident().await);
    assert!(words.en.risk.contains("is open"), "{}", words.en.risk);
}

/// What came, and how many requests to refuse before taking any.
#[derive(Default)]
struct Inbox {
    cards: Vec<(Instant, Value)>,
    refuse: usize,
}

type Shared = Arc<Mutex<Inbox>>;

async fn receive(State(inbox): State<Shared>, body: String) -> StatusCode {
    let mut inbox = inbox.lock().unwrap();
    if inbox.refuse > 0 {
        inbox.refuse -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let card = serde_json::from_str(&body).unwrap();
    inbox.cards.push((Instant::now(), card));
    StatusCode::OK
}

/// A receiver, and a notifier that tells it.
async fn notified(fleet: &Fleet, refuse: usize) -> Shared {
    let inbox = Shared::default();
    inbox.lock().unwrap().refuse = refuse;
    let app = Router::new()
        .route("/hook", post(receive))
        .with_state(Arc::clone(&inbox));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let channel = NotifyChannel {
        channel: Channel {
            kind: Kind::Webhook,
            url,
            secret: None,
        },
        language: Language::Zh,
    };
    let console = "https://cordon.example:8443".to_owned();
    let client = Client::new(None).unwrap();
    let notifier = Notifier::new(
        fleet.store.clone(),
        client,
        vec![channel],
        console,
        Timestamp::now(),
    );
    tokio::spawn(notifier.run());
    inbox
}

async fn card(inbox: &Shared) -> (Instant, Value) {
    let started = Instant::now();
    loop {
        if let Some(card) = inbox.lock().unwrap().cards.first() {
            return card.clone();
        }
        assert!(started.elapsed() < LIMIT, "no card came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_card_comes_as_soon_as_the_measure_is_proved_and_only_once() {
    let fleet = Fleet::new().await;
    let inbox = notified(&fleet, 0).await;
    fleet
        .report(1, "detection", detection(0.98, "T1059.004"))
        .await;
    fleet.report(2, "isolation", isolation("applied")).await;
    let proved = Instant::now();
    fleet.report(3, "isolation", isolation("confirmed")).await;

    let (at, card) = card(&inbox).await;
    assert!(
        at - proved < Duration::from_secs(4),
        "it waited in spite of the proof"
    );
    let incident = fleet.incident().await;
    assert_eq!(card["schema"], "cordon.notification.v1");
    assert_eq!(card["incident"], incident.id.to_string());
    assert_eq!(card["language"], "zh");
    assert_eq!(card["measures"].as_array().unwrap().len(), 2);
    assert_eq!(
        card["link"],
        format!("https://cordon.example:8443/#/incidents/{}", incident.id)
    );
    // A later change of the incident sends no second card.
    fleet.report(4, "isolation", isolation("released")).await;
    let cards = fleet.store.notifications(incident.id).await.unwrap();
    assert_eq!(cards.len(), 1);
    assert_eq!(inbox.lock().unwrap().cards.len(), 1);
}

fn proposed(id: &str) -> Value {
    let mut detection = detection(0.98, "T1059.004");
    detection["decision"] = "await_approval".into();
    detection["proposal"] = json!({
        "id": id, "steps": { "isolate": true, "stop": "kill", "cut_off": false },
        "made_at": Timestamp::now(), "expires_at": "2099-01-01T03:15:00Z",
        "unanswered": "nothing", "offline": "act",
    });
    detection
}

#[tokio::test]
async fn a_card_says_at_once_that_somebody_is_asked_and_until_when_and_another_when_it_was_sent_before()
 {
    const ID: &str = "01890000-0000-7000-8000-000000000004";
    let fleet = Fleet::new().await;
    let inbox = notified(&fleet, 0).await;
    let asked = Instant::now();
    fleet.report(1, "detection", proposed(ID)).await;
    let (at, first) = card(&inbox).await;
    assert!(
        at - asked < Duration::from_secs(4),
        "it waited for a measure"
    );
    let title = first["title"].as_str().unwrap();
    assert!(
        title.contains("等待批准，截止 2099-01-01 03:15:00 UTC"),
        "{title}"
    );
    let advice = first["advice"][0].as_str().unwrap();
    assert!(
        advice.contains(&format!("cordonctl approve {ID}")),
        "{advice}"
    );
    let refused = json!({
        "proposal": ID, "tree": TREE, "outcome": "refused", "by": "ada", "reason": "planned",
        "steps": { "isolate": false, "stop": "none", "cut_off": false }, "policy_version": 3,
    });
    fleet.report(2, "approval", refused).await;
    let incident = fleet.incident().await;
    let words = worded(&incident);
    assert!(!words.en.title.contains("waits"), "{}", words.en.title);
    assert!(
        words.measures[0].en.contains("refused by ada"),
        "{:?}",
        words.measures
    );

    fleet
        .report(
            3,
            "detection",
            proposed("01890000-0000-7000-8000-000000000005"),
        )
        .await;
    let started = Instant::now();
    let second = loop {
        if let Some(card) = inbox.lock().unwrap().cards.get(1) {
            break card.1.clone();
        }
        assert!(started.elapsed() < LIMIT, "no second card came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_ne!(second["id"], first["id"], "a receiver would drop it");
    assert!(
        second["title"].as_str().unwrap().contains("等待批准"),
        "{second}"
    );
}

#[tokio::test]
async fn without_any_measure_a_card_comes_all_the_same() {
    let fleet = Fleet::new().await;
    let inbox = notified(&fleet, 0).await;
    let seen = Instant::now();
    fleet
        .report(1, "detection", detection(0.98, "T1059.004"))
        .await;
    let (at, card) = card(&inbox).await;
    assert!(
        at - seen > Duration::from_secs(4),
        "it did not wait for a measure"
    );
    assert_eq!(card["measures"], json!([]));
}

#[tokio::test]
async fn a_receiver_in_trouble_gets_the_same_card_later() {
    let fleet = Fleet::new().await;
    let inbox = notified(&fleet, 1).await;
    fleet
        .report(1, "detection", detection(0.98, "T1059.004"))
        .await;
    fleet.report(2, "isolation", isolation("failed")).await;
    let (_, card) = card(&inbox).await;
    assert_eq!(card["severity"], "critical");
    let incident = fleet.incident().await;
    let started = Instant::now();
    loop {
        let cards = fleet.store.notifications(incident.id).await.unwrap();
        if cards[0].sent_at.is_some() {
            assert_eq!((cards[0].attempts, cards[0].next_try_at), (2, None));
            break;
        }
        assert!(started.elapsed() < LIMIT, "never noted as sent: {cards:?}");
    }
}

#[tokio::test]
async fn cards_that_were_due_when_the_controller_stopped_are_sent_by_the_next_one() {
    let fleet = Fleet::new().await;
    fleet
        .report(1, "detection", detection(0.98, "T1059.004"))
        .await;
    fleet.report(2, "isolation", isolation("confirmed")).await;
    let inbox = notified(&fleet, 0).await;
    let (_, card) = card(&inbox).await;
    assert_eq!(card["host"].as_str().unwrap().chars().next(), Some('e'));
    assert!(!card["host"].as_str().unwrap().contains('\u{202e}'));
}
