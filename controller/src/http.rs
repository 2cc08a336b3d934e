//! The console and the REST interface.
//!
//! - [`access`]: who may call what, in one table.
//! - [`gate`]: holds every request against it.
//! - [`problem`]: what is answered when something is wrong.
//! - [`dto`]: the shapes of requests and answers.

pub mod access;
mod accounts;
mod api;
mod approvals;
mod audit;
mod auth;
mod body;
mod console;
mod detections;
pub mod dto;
mod events;
mod gate;
mod hosts;
mod incidents;
pub mod openapi;
mod orders;
mod policies;
pub mod problem;
mod steps;
mod throttle;
mod tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use cordon_fleet::Fleet;
use cordon_store::Store;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use problem::Problem;
use throttle::Throttle;

/// Where the REST interface is.
pub const BASE: &str = "/api/v1";

/// Larger requests are refused before they are read; policies have a limit of their own.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// A request that is sent slower than this is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Argon2 takes memory and a core: this many passwords are checked at once, the others wait.
const PASSWORDS_AT_ONCE: usize = 2;

/// What every handler may use.
pub struct App {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) hashing: Semaphore,
}

/// Shared by all requests.
pub type AppState = Arc<App>;

impl App {
    /// Of one site.
    pub fn new(fleet: Fleet) -> AppState {
        Arc::new(Self {
            store: fleet.store().clone(),
            fleet,
            throttle: Mutex::default(),
            hashing: Semaphore::new(PASSWORDS_AT_ONCE),
        })
    }

    /// Writes down what is about to be done. When that fails it is not done.
    pub(crate) async fn audit(&self, who: &str, what: &str, target: &str) -> Result<(), Problem> {
        let written = self
            .store
            .append_audit(who, what, target, Timestamp::now())
            .await;
        written
            .map(drop)
            .map_err(|error| Problem::internal("writing the audit trail", &error))
    }
}

/// Everything that is served over HTTPS.
pub fn router(app: &AppState) -> Router {
    Router::new()
        .nest(BASE, api::router(app))
        .fallback(console::file)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(secure))
}

const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Headers of every answer. What comes from the interface is kept nowhere.
async fn secure(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let answered = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| too_slow().into_response());
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn too_slow() -> Problem {
    let seconds = ANSWER_WITHIN.as_secs();
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        format!("the request was not complete and answered within {seconds} s"),
    )
}

async fn no_such_route() -> Problem {
    Problem::not_found("path under /api/v1; /api/v1/openapi.json lists them")
}
