//! Who is calling, and whether they may.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cordon_store::{Role, SecretHash};
use jiff::Timestamp;

use super::AppState;
use super::access::Need;
use super::problem::Problem;

/// A foreign page cannot send it, so that a cookie alone changes nothing.
pub const CSRF_HEADER: &str = "x-cordon-csrf";
/// The prefix makes browsers refuse it from other hosts, other paths and plain http.
pub const COOKIE: &str = "__Host-cordon";

/// Somebody who proved who they are.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account, or the API token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How it proved it.
    pub by: Proof,
    /// Its password was made by somebody else.
    pub must_change_password: bool,
}

/// How a caller proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A session's cookie, by its hash.
    Session(SecretHash),
    /// An API token.
    Token,
}

/// Lets a request through to its route, or answers it with a problem.
pub async fn pass(
    State((app, need)): State<(AppState, Option<Need>)>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&app, need, request.method(), request.headers()).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(
    app: &AppState,
    need: Option<Need>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    let Some(need) = need else {
        return Err(Problem::forbidden("nobody may call this route"));
    };
    let bearer = bearer(headers);
    if !method.is_safe() && bearer.is_none() {
        check_csrf(headers)?;
    }
    if need == Need::Nobody {
        return Ok(None);
    }
    let caller = match bearer {
        Some(token) => by_token(app, token).await?,
        None => by_session(app, headers).await?,
    };
    let caller = caller.ok_or_else(Problem::unauthenticated)?;
    if !need.admits(caller.role) {
        let role = super::access::role_name(caller.role);
        return Err(Problem::forbidden(format!("role {role} may not do this")));
    }
    Ok(Some(caller))
}

fn check_csrf(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CSRF_HEADER) {
        return Ok(());
    }
    let detail = format!("send the header {CSRF_HEADER} with every request that changes something");
    Err(Problem::forbidden(detail))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim)
}

/// The session's secret, as the browser sent it.
pub fn session_secret(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

async fn by_token(app: &AppState, token: &str) -> Result<Option<Caller>, Problem> {
    let found = app
        .store
        .api_token(&SecretHash::of(token), Timestamp::now())
        .await;
    let found = found.map_err(|error| Problem::internal("checking the API token", &error))?;
    Ok(found.map(|token| Caller {
        name: format!("token:{}", token.name),
        role: token.role,
        by: Proof::Token,
        must_change_password: false,
    }))
}

async fn by_session(app: &AppState, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let Some(secret) = session_secret(headers) else {
        return Ok(None);
    };
    let hash = SecretHash::of(secret);
    let found = app.store.session_user(&hash, Timestamp::now()).await;
    let found = found.map_err(|error| Problem::internal("checking the session", &error))?;
    Ok(found.map(|user| Caller {
        name: user.username,
        role: user.role,
        by: Proof::Session(hash),
        must_change_password: user.must_change,
    }))
}

/// Where a request came from.
pub fn peer(info: &ConnectInfo<SocketAddr>) -> std::net::IpAddr {
    info.0.ip().to_canonical()
}
