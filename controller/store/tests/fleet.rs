//! Tokens, hosts, policies, people and the audit log.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_proto::envelope::sign;
use cordon_proto::policy::{
    BlockedPrograms, Caps, IsolationPolicy, Mode, Policy, Protection, Stop, WithoutProof,
};
use cordon_store::{
    CertificateFacts, HelloFacts, NewApiToken, NewSession, NewUser, Role, SecretHash, Store,
    StoreError, TokenRefusal,
};
use support::{after, at, database, host, key, new_host, token};

fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>) -> TokenRefusal {
    match result {
        Err(StoreError::Token(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_takers_of_one_use_one_enrols() {
    let db = database().await;
    for round in 0..8 {
        let token = token(&db.store, &format!("secret {round}"), 1).await;
        let take = |name: &'static str| {
            let store = db.store.clone();
            tokio::spawn(async move { store.enroll(&token, &new_host(name), at(1)).await })
        };
        let takers = [take("a"), take("b")];
        let mut enrolled = 0;
        for taker in takers {
            match taker.await.unwrap() {
                Ok(_) => enrolled += 1,
                Err(error) => assert_eq!(refusal(Err::<(), _>(error)), TokenRefusal::UsedUp),
            }
        }
        assert_eq!(enrolled, 1);
    }
    assert_eq!(db.store.hosts().await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_token_says_why_it_is_refused_and_adds_no_host() {
    let db = database().await;
    let store = &db.store;
    let good = token(store, "good", 1).await;
    let unknown = SecretHash::of("never made");
    let enroll = async |token, now| store.enroll(&token, &new_host("ep"), now).await;
    assert_eq!(refusal(enroll(unknown, at(0)).await), TokenRefusal::Unknown);
    assert_eq!(refusal(enroll(good, at(3600)).await), TokenRefusal::Expired);
    assert!(enroll(good, at(3599)).await.is_ok());
    assert_eq!(refusal(enroll(good, at(1)).await), TokenRefusal::UsedUp);
    assert_eq!(store.join_tokens().await.unwrap()[0].uses_left, 0);
    store.revoke_join_token(&good.name()).await.unwrap();
    assert_eq!(refusal(enroll(good, at(1)).await), TokenRefusal::Unknown);
    assert_eq!(store.hosts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_host_is_what_it_last_said() {
    let db = database().await;
    let id = host(&db.store, "ep1").await.id;
    let hello = HelloFacts {
        name: "ep1.example".into(),
        addresses: vec!["192.0.2.1".into()],
        agent_version: "0.1.0".into(),
        policy_version: 4,
        ..HelloFacts::default()
    };
    db.store.note_hello(id, &hello, at(5)).await.unwrap();
    db.store.note_seen(&[(id, at(9))]).await.unwrap();
    db.store.note_seen(&[(id, at(7))]).await.unwrap();
    let found = db.store.find_host("ep1.example").await.unwrap();
    assert_eq!(found[0].id, id);
    assert_eq!(found[0].addresses, ["192.0.2.1"]);
    assert_eq!(found[0].policy_version, Some(4));
    assert_eq!(found[0].last_seen_at, Some(at(9)));
    db.store.evict_host(id, at(10)).await.unwrap();
    assert!(db.store.find_host("ep1.example").await.unwrap().is_empty());
    assert_eq!(
        db.store.host(id).await.unwrap().unwrap().evicted_at,
        Some(at(10))
    );
}

#[tokio::test]
async fn a_renewed_key_retires_the_old_one_only_when_it_is_used() {
    let db = database().await;
    let id = host(&db.store, "ep1").await.id;
    let (old, new) = ([7; 32], [8; 32]);
    let facts = CertificateFacts {
        serial: "02".into(),
        not_after: at(900),
    };
    let add = db.store.add_certificate(id, &new, &facts, at(50));
    add.await.unwrap();
    let present = async |key, seconds| {
        let keys = db.store.present_key(id, key, at(seconds)).await.unwrap();
        keys.map(|keys| keys.len())
    };
    assert_eq!(
        present(&old, 60).await,
        Some(2),
        "the renewal may not have arrived"
    );
    assert_eq!(present(&new, 70).await, Some(2));
    assert_eq!(present(&old, 80).await, None);
    assert_eq!(present(&[9; 32], 80).await, None);
}

fn policy(version: u64, group: &str) -> Policy {
    Policy {
        version,
        site: "hq".into(),
        group: group.into(),
        issued_at: at(0),
        expires_at: at(1),
        mode: Mode::Observe,
        thresholds: None,
        isolation: IsolationPolicy {
            lease_seconds: 0,
            without_proof: WithoutProof::RollBack,
            allow: Vec::new(),
            local_release: true,
        },
        stop: Stop::None,
        block_remote: None,
        cut_off: false,
        block_isolated: None,
        blocked_programs: BlockedPrograms::default(),
        protected_addresses: Vec::new(),
        approve: None,
        protection: Protection::default(),
        caps: Caps {
            isolations_per_hour: 1,
            hosts_at_once: None,
            ordered_per_hour: None,
            quiet_hours: Vec::new(),
        },
        protected_processes: Vec::new(),
        order_keys: Vec::new(),
        release_keys: Vec::new(),
    }
}

#[tokio::test]
async fn policy_versions_only_grow_and_each_group_has_its_own() {
    let db = database().await;
    let push = async |version, group| {
        let policy = policy(version, group);
        let envelope = sign(&policy, &key());
        db.store
            .add_policy(&policy, &envelope, "admin", at(version.cast_signed()))
            .await
    };
    push(2, "servers").await.unwrap();
    for version in [1, 2] {
        let refused = push(version, "servers").await.unwrap_err();
        assert!(
            matches!(refused, StoreError::NotNewer { newest: 2, .. }),
            "{refused}"
        );
    }
    push(1, "desktops").await.unwrap();
    let row = push(7, "servers").await.unwrap();
    assert_eq!(row.sha256, row.envelope.sha256());
    assert_eq!(db.store.policy_for("servers").await.unwrap(), Some(row));
    assert_eq!(db.store.policy_for("none").await.unwrap(), None);
    assert_eq!(db.store.policies().await.unwrap().len(), 3);
}

async fn audited(store: &Store) {
    for n in 0..5 {
        store
            .append_audit("admin", "order.create", &format!("host {n}"), at(n))
            .await
            .unwrap();
    }
}

/// Another program at the database, as an intruder would be.
async fn tamper(store: &Store, sql: &'static str) {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(store.path());
    let mut intruder = options.connect().await.unwrap();
    sqlx::raw_sql("DROP TRIGGER audit_never_changes; DROP TRIGGER audit_never_shrinks;")
        .execute(&mut intruder)
        .await
        .unwrap();
    sqlx::raw_sql(sql).execute(&mut intruder).await.unwrap();
}

async fn broken_at(sql: &'static str) -> u64 {
    let db = database().await;
    audited(&db.store).await;
    assert_eq!(db.store.verify_audit().await.unwrap().sequence, 5);
    tamper(&db.store, sql).await;
    match db.store.verify_audit().await {
        Err(StoreError::AuditBroken { sequence, .. }) => sequence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_audit_chain_shows_any_tampering() {
    assert_eq!(
        broken_at("UPDATE audit SET who = 'nobody' WHERE sequence = 3").await,
        3
    );
    assert_eq!(
        broken_at("UPDATE audit SET at = at + 1 WHERE sequence = 1").await,
        1
    );
    assert_eq!(broken_at("DELETE FROM audit WHERE sequence = 2").await, 2);
    assert_eq!(
        broken_at("UPDATE audit SET previous = zeroblob(32) WHERE sequence = 4").await,
        4
    );
    let moved = "UPDATE audit SET who = 'adminorder', what = '.create' WHERE sequence = 5";
    assert_eq!(
        broken_at(moved).await,
        5,
        "text moved from one field to the next"
    );
}

#[tokio::test]
async fn the_audit_log_refuses_to_change_or_shrink() {
    use sqlx::ConnectOptions as _;
    let db = database().await;
    audited(&db.store).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(db.store.path());
    let mut shell = options.connect().await.unwrap();
    for sql in ["UPDATE audit SET who = ''", "DELETE FROM audit"] {
        assert!(sqlx::raw_sql(sql).execute(&mut shell).await.is_err());
    }
    let page = db.store.audit(2, Some(4)).await.unwrap();
    let sequences: Vec<u64> = page.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [3, 2]);
}

#[tokio::test]
async fn people_sign_in_with_what_is_good_now() {
    let db = database().await;
    let store = &db.store;
    let user = NewUser {
        username: "admin".into(),
        password_hash: "$argon2id$1".into(),
        must_change: true,
        role: Role::Admin,
    };
    store.add_user(&user, at(0)).await.unwrap();
    let taken = store.add_user(&user, at(0)).await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })));
    let session = NewSession {
        hash: SecretHash::of("cookie"),
        username: "admin".into(),
        expires_at: at(60),
    };
    store.add_session(&session, at(0)).await.unwrap();
    let who = async |now| store.session_user(&session.hash, now).await.unwrap();
    assert!(who(at(59)).await.is_some_and(|user| user.must_change));
    assert!(who(at(60)).await.is_none());
    store
        .set_password("admin", "$argon2id$2", false)
        .await
        .unwrap();
    assert!(
        who(at(1)).await.is_none(),
        "a new password ends all sessions"
    );
    assert!(!store.user("admin").await.unwrap().unwrap().must_change);
}
#[tokio::test]
async fn an_api_token_is_good_until_it_expires_or_is_revoked() {
    let db = database().await;
    let token = NewApiToken {
        hash: SecretHash::of("api"),
        name: "ctl".into(),
        role: Role::Responder,
        expires_at: Some(after(at(0), 60)),
        created_by: "init".into(),
    };
    db.store.add_api_token(&token, at(0)).await.unwrap();
    let good = async |now| {
        db.store
            .api_token(&token.hash, now)
            .await
            .unwrap()
            .is_some()
    };
    assert!(good(at(59)).await && !good(at(60)).await);
    db.store.revoke_api_token("ctl").await.unwrap();
    assert!(!good(at(1)).await);
}
