//! Signing in and out.

use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::AppendHeaders;
use axum::{Extension, Json};
use cordon_store::{NewSession, SecretHash, User};
use jiff::Timestamp;

use super::AppState;
use super::body::Body;
use super::dto::{ChangePassword, Login, Me};
use super::gate::{COOKIE, Caller, Proof, peer};
use super::problem::Problem;
use crate::secret::{PasswordError, hash_password, random_token, verify_password};

/// A session ends after a working day, however much it is used.
const SESSION: Duration = Duration::from_hours(12);
/// No account has a longer name.
pub(super) const MAX_NAME_CHARS: usize = 64;

type Cookie = AppendHeaders<[(HeaderName, String); 1]>;

/// Opens a session and sets its cookie.
#[utoipa::path(operation_id = "login", post, path = "/api/v1/login", request_body = Login, responses(
    (status = 200, body = Me, description = "signed in; the session is in the cookie"),
    (status = 401, description = "no such account or another password"),
    (status = 429, description = "too many failed tries"),
))]
pub async fn login(
    State(app): State<AppState>,
    info: ConnectInfo<SocketAddr>,
    Body(login): Body<Login>,
) -> Result<(Cookie, Json<Me>), Problem> {
    let user = check(&app, peer(&info), &login).await?;
    app.audit(&user.username, "session.open", &peer(&info).to_string())
        .await?;
    let cookie = open_session(&app, &user.username).await?;
    let me = Me {
        username: user.username,
        role: user.role,
        must_change_password: user.must_change,
    };
    Ok((cookie, Json(me)))
}

/// The account, if name and password are right and it was not tried too often.
async fn check(app: &AppState, address: IpAddr, login: &Login) -> Result<User, Problem> {
    // A name that nobody can have is counted like any other, but not kept as it is.
    let name: String = login.username.chars().take(MAX_NAME_CHARS).collect();
    let admitted = throttle(app).admit(address, &name, Timestamp::now());
    admitted.map_err(Problem::too_many)?;
    let user = app.store.user(&login.username).await;
    let user = user.map_err(|error| Problem::internal("reading the account", &error))?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = verified(app, login.password.clone(), hash).await?;
    if let Some(user) = user.filter(|_| right) {
        throttle(app).succeeded(address, &name);
        return Ok(user);
    }
    tracing::warn!(%address, account = ?name, "sign-in refused");
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "the user name or the password is wrong",
    ))
}

fn throttle(app: &AppState) -> std::sync::MutexGuard<'_, super::throttle::Throttle> {
    app.throttle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks a password away from the threads that serve requests.
async fn verified(app: &AppState, password: String, hash: Option<String>) -> Result<bool, Problem> {
    hashing(app, move || verify_password(&password, hash.as_deref())).await
}

/// Runs argon2 where it may take its time, a few at once.
pub(super) async fn hashing<T: Send + 'static>(
    app: &AppState,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let permit = app.hashing.acquire().await;
    let permit = permit.map_err(|error| Problem::internal("checking the password", &error))?;
    let done = tokio::task::spawn_blocking(work).await;
    drop(permit);
    done.map_err(|error| Problem::internal("checking the password", &error))
}

async fn open_session(app: &AppState, username: &str) -> Result<Cookie, Problem> {
    let secret = random_token();
    let now = Timestamp::now();
    let session = NewSession {
        hash: SecretHash::of(&secret),
        username: username.to_owned(),
        expires_at: now + SESSION,
    };
    let opened = app.store.add_session(&session, now).await;
    opened.map_err(|error| Problem::internal("opening the session", &error))?;
    Ok(cookie(&secret, SESSION))
}

fn cookie(secret: &str, life: Duration) -> Cookie {
    let seconds = life.as_secs();
    let text =
        format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    AppendHeaders([(header::SET_COOKIE, text)])
}

/// Ends the session.
#[utoipa::path(operation_id = "logout", post, path = "/api/v1/logout", responses((status = 204, description = "signed out")))]
pub async fn logout(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
) -> Result<(Cookie, StatusCode), Problem> {
    if let Proof::Session(hash) = &caller.by {
        let ended = app.store.end_session(hash).await;
        ended.map_err(|error| Problem::internal("ending the session", &error))?;
    }
    Ok((cookie("", Duration::ZERO), StatusCode::NO_CONTENT))
}

/// Who is signed in.
#[utoipa::path(operation_id = "me", get, path = "/api/v1/me", responses((status = 200, body = Me)))]
pub async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    Json(Me {
        username: caller.name,
        role: caller.role,
        must_change_password: caller.must_change_password,
    })
}

/// Sets the caller's own password. All its sessions end; the answer's cookie opens a new one.
#[utoipa::path(operation_id = "change_password", post, path = "/api/v1/me/password", request_body = ChangePassword, responses(
    (status = 204, description = "changed; all sessions but the one in the cookie have ended"),
    (status = 401, description = "the current password is wrong"),
    (status = 422, description = "the new password is too short or too long"),
))]
pub async fn change_password(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    info: ConnectInfo<SocketAddr>,
    Body(change): Body<ChangePassword>,
) -> Result<(Cookie, StatusCode), Problem> {
    if caller.by == Proof::Token {
        return Err(Problem::forbidden("an API token has no password"));
    }
    let login = Login {
        username: caller.name,
        password: change.current,
    };
    let user = check(&app, peer(&info), &login).await?;
    let hash = hashing(&app, move || hash_password(&change.new)).await?;
    let hash = hash.map_err(|error| refused(&error))?;
    app.audit(&user.username, "account.password", &user.username)
        .await?;
    let set = app.store.set_password(&user.username, &hash, false).await;
    set.map_err(|error| Problem::internal("setting the password", &error))?;
    Ok((
        open_session(&app, &user.username).await?,
        StatusCode::NO_CONTENT,
    ))
}

fn refused(error: &PasswordError) -> Problem {
    match error {
        PasswordError::Hash(_) => Problem::internal("hashing the password", error),
        PasswordError::TooShort | PasswordError::TooLong => Problem::refused(error.to_string()),
    }
}
