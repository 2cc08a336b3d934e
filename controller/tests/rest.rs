//! The REST interface under honest and dishonest use, over TLS as a browser speaks it.

mod site;

use reqwest::StatusCode;
use serde_json::{Value, json};
use site::{Site, problem};

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

#[tokio::test]
async fn signing_in_gives_a_cookie_that_only_this_site_gets_and_signing_out_ends_it() {
    let site = Site::serving();
    let mut browser = site.browser();
    let password = site.said["admin_password"].as_str().unwrap();
    let answer = browser.sign_in("admin", password).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in [
        "__Host-cordon=",
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Max-Age=",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let me: Value = answer.json().await.unwrap();
    let wanted = json!({ "username": "admin", "role": "admin", "must_change_password": true });
    assert_eq!(me, wanted);
    let me: Value = browser.get("/me").await.json().await.unwrap();
    assert_eq!(me, wanted);

    let kept = browser.cookie.clone();
    assert_eq!(
        browser.post("/logout", &json!({})).await.status(),
        StatusCode::NO_CONTENT
    );
    browser.cookie = kept;
    assert_eq!(problem(browser.get("/me").await).await.0, 401);
}

#[tokio::test]
async fn wrong_passwords_and_unknown_accounts_get_one_answer_and_then_have_to_wait() {
    let site = Site::serving();
    let mut browser = site.browser();
    let wrong = problem(browser.sign_in("admin", "not the password").await).await;
    assert_eq!(wrong.0, 401);
    assert_eq!(
        problem(browser.sign_in("nobody", "not the password").await).await,
        wrong
    );
    let mut last = StatusCode::UNAUTHORIZED;
    for _ in 0..5 {
        let answer = browser.sign_in("admin", "not the password").await;
        last = answer.status();
        if last == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers().contains_key("retry-after"));
            break;
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert!(browser.cookie.is_none());
}

#[tokio::test]
async fn an_own_password_replaces_the_one_time_password_and_ends_other_sessions() {
    let site = Site::serving();
    let first = site.said["admin_password"].as_str().unwrap();
    let (mut browser, mut elsewhere) = (site.browser(), site.browser());
    browser.sign_in("admin", first).await;
    elsewhere.sign_in("admin", first).await;

    let short = json!({ "current": first, "new": "short" });
    assert_eq!(
        problem(browser.post("/me/password", &short).await).await.0,
        422
    );
    let wrong = json!({ "current": "not the password", "new": "a new long password" });
    assert_eq!(
        problem(browser.post("/me/password", &wrong).await).await.0,
        401
    );

    let right = json!({ "current": first, "new": "a new long password" });
    let answer = browser.post("/me/password", &right).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    browser.cookie = cookie.split(';').next().map(str::to_owned);
    let me: Value = browser.get("/me").await.json().await.unwrap();
    assert_eq!(me["must_change_password"], false);
    assert_eq!(
        elsewhere.get("/me").await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        elsewhere.sign_in("admin", first).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_of_status_404() {
    let site = Site::serving();
    let browser = site.browser_as("admin").await;
    for thing in ["hosts", "incidents", "orders"] {
        for id in [NOBODY, "no-id-at-all", "%00", "..%2F..%2Fetc"] {
            let answer = browser.get(&format!("/{thing}/{id}")).await;
            assert_eq!(problem(answer).await.0, 404, "{thing} {id}");
        }
    }
    let reason = json!({ "reason": "a test" });
    let answer = browser
        .post(&format!("/hosts/{NOBODY}/release"), &reason)
        .await;
    assert_eq!(problem(answer).await.0, 404);
    assert_eq!(problem(browser.get("/nothing").await).await.0, 404);
    let answer = browser
        .request(reqwest::Method::DELETE, "/hosts")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(answer).await.0, 405);
}

#[tokio::test]
async fn senseless_requests_are_refused_with_what_is_wrong() {
    let site = Site::serving();
    let browser = site.browser_as("admin").await;
    let isolate = format!("/hosts/{NOBODY}/isolate");
    for (path, body, status, wanted) in [
        (
            "/users",
            json!({ "username": "a b", "role": "viewer" }),
            422,
            "user name",
        ),
        (
            "/users",
            json!({ "username": "token:local", "role": "viewer" }),
            422,
            "user name",
        ),
        (
            "/users",
            json!({ "username": "admin", "role": "viewer" }),
            409,
            "admin",
        ),
        (
            "/users",
            json!({ "username": "x", "role": "root" }),
            422,
            "role",
        ),
        (
            "/users",
            json!({ "username": "x", "role": "viewer", "also": 1 }),
            422,
            "also",
        ),
        (
            "/tokens",
            json!({ "group": "", "uses": 1, "expires_in_seconds": 60 }),
            422,
            "group",
        ),
        (
            "/tokens",
            json!({ "group": "a", "uses": 0, "expires_in_seconds": 60 }),
            422,
            "uses",
        ),
        (
            "/tokens",
            json!({ "group": "a", "uses": 1, "expires_in_seconds": 0 }),
            422,
            "lives",
        ),
        (
            &isolate,
            json!({ "reason": " ", "lease_seconds": 60 }),
            422,
            "why",
        ),
        (
            &isolate,
            json!({ "reason": "x", "lease_seconds": 1_u64 << 40 }),
            422,
            "lease",
        ),
        ("/policies", json!({ "payload": 1 }), 422, "DSSE"),
    ] {
        let (answered, detail) = problem(browser.post(path, &body).await).await;
        assert_eq!(answered, status, "{path} {body}: {detail}");
        assert!(detail.contains(wanted), "{path} {body}: {detail}");
    }
    let answer = browser.get("/events?limit=many").await;
    assert_eq!(problem(answer).await.0, 400);
}

#[tokio::test]
async fn huge_bodies_are_refused_before_they_are_read() {
    let site = Site::serving();
    let browser = site.browser_as("admin").await;
    for (path, bytes) in [
        ("/login", 65 * 1024),
        ("/users", 8 << 20),
        ("/policies", 2 << 20),
    ] {
        let body = json!({ "username": "x".repeat(bytes) });
        let request = browser
            .request(reqwest::Method::POST, path)
            .header("x-cordon-csrf", "1");
        match request.json(&body).send().await {
            Ok(answer) => assert_eq!(problem(answer).await.0, 413, "{path}"),
            // It hung up while the body was still being sent.
            Err(error) => assert!(error.is_request(), "{path}: {error}"),
        }
        assert!(site.ctl(&["hosts"]).is_array(), "it serves on");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_browser_in_line() {
    let site = Site::serving();
    let browser = site.browser();
    for path in ["", "/api/v1/hosts", "/nothing"] {
        let answer = browser
            .http
            .get(format!("{}{path}", browser.base))
            .send()
            .await
            .unwrap();
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers.contains_key("strict-transport-security"));
        if path.starts_with("/api") {
            assert_eq!(headers["cache-control"], "no-store");
        }
    }
}

/// A browser knows nothing of Cordon: it trusts the CA file and checks the address that it dialled.
#[tokio::test]
async fn a_browser_that_trusts_the_ca_accepts_the_address_and_gets_the_console() {
    let site = Site::serving();
    let pem = std::fs::read(site.data().join("keys/ca.pem")).unwrap();
    // Another test of this program may have done so before.
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().ok();
    let ca = reqwest::Certificate::from_pem(&pem).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .build()
        .unwrap();
    let answer = http
        .get(format!("https://{}:8443/", site.address()))
        .send()
        .await
        .unwrap();
    let page = answer.text().await.unwrap();
    assert!(page.contains("Cordon"), "{page}");
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let site = Site::serving();
    let document: Value = site
        .browser()
        .get("/openapi.json")
        .await
        .json()
        .await
        .unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/api/v1/hosts/{id}/isolate"]["post"].is_object());
}
