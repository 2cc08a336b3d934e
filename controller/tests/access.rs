//! Every route, every role: the table says who may, and the server does as it says.

mod site;

use cordon_controller::http::access::{Method, ROLES, TABLE, role_name};
use reqwest::StatusCode;
use serde_json::json;
use site::{Browser, Site, problem};

/// Who may call a route: `all`, anybody signed in (`signed in`), or a role and those above it.
/// A route that is not here fails the test: decide who may before it is reachable.
const CASES: &[(&str, &str, &str)] = &[
    ("GET", "/openapi.json", "all"),
    ("POST", "/login", "all"),
    ("POST", "/logout", "viewer"),
    ("GET", "/me", "viewer"),
    ("POST", "/me/password", "viewer"),
    ("GET", "/hosts", "viewer"),
    ("GET", "/hosts/{id}", "viewer"),
    ("POST", "/hosts/{id}/isolate", "responder"),
    ("POST", "/hosts/{id}/release", "responder"),
    ("POST", "/hosts/{id}/approve", "responder"),
    ("POST", "/hosts/{id}/refuse", "responder"),
    ("POST", "/hosts/{id}/orders", "responder"),
    ("POST", "/hosts/{id}/release-challenge", "responder"),
    ("GET", "/approvals", "viewer"),
    ("GET", "/incidents", "viewer"),
    ("GET", "/incidents/{id}", "viewer"),
    ("POST", "/incidents/{id}/verdict", "responder"),
    ("GET", "/detections", "viewer"),
    ("GET", "/orders", "viewer"),
    ("GET", "/orders/{id}", "viewer"),
    ("POST", "/orders/{id}/undo", "responder"),
    ("GET", "/events", "viewer"),
    ("GET", "/policies", "viewer"),
    ("POST", "/policies", "engineer"),
    ("GET", "/tokens", "admin"),
    ("POST", "/tokens", "admin"),
    ("GET", "/users", "admin"),
    ("POST", "/users", "admin"),
    ("GET", "/audit", "admin"),
];

fn case(method: Method, path: &str) -> &'static str {
    let found = CASES
        .iter()
        .find(|case| case.0 == method.name() && case.1 == path);
    found
        .unwrap_or_else(|| panic!("{} {path} has no case", method.name()))
        .2
}

#[test]
fn every_route_has_a_case_and_every_case_a_route() {
    for (method, path, _) in TABLE {
        case(*method, path);
    }
    assert_eq!(TABLE.len(), CASES.len());
}

async fn call(browser: &Browser, method: Method, path: &str) -> StatusCode {
    let path = path.replace("{id}", "00000000-0000-7000-8000-000000000000");
    match method {
        Method::Get => browser.get(&path).await.status(),
        // No route takes an empty object: who may is answered before what is wrong with it.
        Method::Post => browser.post(&path, &json!({})).await.status(),
    }
}

#[tokio::test]
async fn nobody_gets_past_the_gate_without_signing_in() {
    let site = Site::serving();
    let mut stranger = site.browser();
    for cookie in [None, Some("__Host-cordon=0123".to_owned())] {
        stranger.cookie = cookie;
        for (method, path, _) in TABLE {
            let status = call(&stranger, *method, path).await;
            let stopped = status == StatusCode::UNAUTHORIZED;
            assert_eq!(stopped, case(*method, path) != "all", "{path}: {status}");
        }
    }
}

#[tokio::test]
async fn each_role_may_what_the_table_says_and_no_more() {
    let site = Site::serving();
    for role in ROLES {
        let browser = site.browser_as(role_name(role)).await;
        for (method, path, _) in TABLE.iter().filter(|row| row.1 != "/logout") {
            let least = ROLES
                .iter()
                .find(|one| role_name(**one) == case(*method, path));
            let may = least.is_none_or(|least| role >= *least);
            let status = call(&browser, *method, path).await;
            let name = role_name(role);
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                !may,
                "{name} {path}: {status}"
            );
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{name} {path}");
        }
    }
}

#[tokio::test]
async fn a_viewer_is_told_that_the_role_is_the_reason() {
    let site = Site::serving();
    let viewer = site.browser_as("viewer").await;
    let body = json!({ "username": "mallory", "role": "admin" });
    let (status, detail) = problem(viewer.post("/users", &body).await).await;
    assert_eq!(status, 403);
    assert!(detail.contains("viewer"), "{detail}");
    assert_eq!(site.ctl(&["user", "list"]).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let site = Site::serving();
    let admin = site.browser_as("admin").await;
    for (_, path, _) in TABLE.iter().filter(|row| row.0 == Method::Post) {
        let path = path.replace("{id}", "x");
        let answer = admin.request(reqwest::Method::POST, &path).json(&json!({}));
        let (status, detail) = problem(answer.send().await.unwrap()).await;
        assert_eq!(status, 403, "{path}");
        assert!(detail.contains("x-cordon-csrf"), "{detail}");
    }
}
