//! Hosts, and what they reported, put into a site's database while nothing is served.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::id::HostId;
use cordon_store::{
    CertificateFacts, IncomingRecord, NewHost, NewJoinToken, Reading, SecretHash, Store,
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::site::Site;

const BOOT: &str = "00000000-0000-4000-8000-000000000001";

/// A database that is written to as enrolment and sessions would.
pub struct Reported {
    store: Store,
    sequence: u64,
}

impl Reported {
    pub async fn open(site: &Site) -> Self {
        let store = Store::open(&site.data().join("cordon.db")).await.unwrap();
        Self { store, sequence: 0 }
    }

    pub async fn host(&self, name: &str) -> HostId {
        let (id, now) = (HostId::generate(), Timestamp::now());
        let token = NewJoinToken {
            hash: SecretHash::of(&id.to_string()),
            group: "servers".to_owned(),
            uses: 1,
            expires_at: now + 1.hours(),
            created_by: "admin".to_owned(),
        };
        self.store.add_join_token(&token, now).await.unwrap();
        let host = NewHost {
            id,
            name: name.to_owned(),
            machine_id: "0123".to_owned(),
            public_key: [7; 32],
            certificate: CertificateFacts {
                serial: id.to_string(),
                not_after: now + 1.hours(),
            },
        };
        self.store.enroll(&token.hash, &host, now).await.unwrap();
        id
    }

    /// A detection of a tree, as the agent reports it; what `more` has takes the place of what is usual.
    pub async fn detection(&mut self, host: HostId, tree: &str, story: &Value, more: &Value) {
        self.sequence += 1;
        let mut body = json!({
            "tree": tree, "pid": 42, "story": story,
            "verdict": {
                "id": "a1", "score": 0.81, "verdict": "suspicious", "techniques": [], "reasons": [],
                "stage": "model", "model": "behavior-1@0", "micros": 10,
            },
            "policy_version": 1, "decision": "alert", "decision_reason": "", "event_mono_ns": 1,
        });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let now = Timestamp::now();
        let record = json!({ "at": now, "kind": "detection", "body": body });
        let record = IncomingRecord {
            sequence: self.sequence,
            json: serde_json::to_vec(&record).unwrap(),
            reading: Reading::Record(Box::new(serde_json::from_value(record).unwrap())),
        };
        let committed = self.store.commit_batch(host, BOOT, &[record], now).await;
        assert_eq!(committed.unwrap().fresh, 1);
    }

    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Of all that is stored, newest first: number and incident.
pub fn detections(site: &Site) -> Vec<(i64, String)> {
    let listed = site.ctl(&["incidents"]);
    let ids = listed.as_array().unwrap().iter();
    let mut found: Vec<(i64, String)> = ids
        .flat_map(|row| {
            let id = row["id"].as_str().unwrap().to_owned();
            let whole = site.ctl(&["incidents", &id]);
            let seen = whole["detections"].as_array().unwrap().clone();
            seen.into_iter()
                .map(move |one| (one["key"].as_i64().unwrap(), id.clone()))
        })
        .collect();
    found.sort_unstable_by_key(|(key, _)| -key);
    found
}
