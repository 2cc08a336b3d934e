//! Accounts of people.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_store::{NewUser, StoreError, User};
use jiff::Timestamp;

use super::AppState;
use super::access::role_name;
use super::auth::{MAX_NAME_CHARS, hashing};
use super::body::Body;
use super::dto::{CreateUser, CreatedUser, UserView};
use super::gate::Caller;
use super::problem::Problem;
use crate::secret::{hash_password, one_time_password};

/// All accounts.
#[utoipa::path(operation_id = "list_accounts", get, path = "/api/v1/users", responses((status = 200, body = [UserView])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<UserView>>, Problem> {
    let users = app.store.users().await;
    let users = users.map_err(|error| Problem::internal("reading accounts", &error))?;
    Ok(Json(users.into_iter().map(UserView::from).collect()))
}

/// Makes an account with a one-time password, which only this answer holds.
#[utoipa::path(operation_id = "create_account", post, path = "/api/v1/users", request_body = CreateUser, responses(
    (status = 201, body = CreatedUser),
    (status = 409, description = "the name is taken"),
    (status = 422, description = "the name cannot be used"),
))]
pub async fn create(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<CreateUser>,
) -> Result<(StatusCode, Json<CreatedUser>), Problem> {
    check_name(&wanted.username)?;
    let password = one_time_password();
    let secret = password.clone();
    let hash = hashing(&app, move || hash_password(&secret)).await?;
    let user = NewUser {
        username: wanted.username,
        password_hash: hash.map_err(|error| Problem::internal("hashing the password", &error))?,
        must_change: true,
        role: wanted.role,
    };
    let target = format!("{} as {}", user.username, role_name(user.role));
    app.audit(&caller.name, "account.create", &target).await?;
    let added = app.store.add_user(&user, Timestamp::now()).await;
    added.map_err(|error| match error {
        StoreError::Taken { .. } => Problem::conflict(error.to_string()),
        error => Problem::internal("adding the account", &error),
    })?;
    let created = CreatedUser {
        username: user.username,
        role: user.role,
        password,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Letters that look alike, spaces and colons stay out of the audit trail.
fn check_name(name: &str) -> Result<(), Problem> {
    let fits =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if (1..=MAX_NAME_CHARS).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(Problem::refused(format!(
        "a user name has 1 to {MAX_NAME_CHARS} of a-z, 0-9, full stop, hyphen and underscore"
    )))
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            username: user.username,
            role: user.role,
            must_change_password: user.must_change,
            created_at: user.created_at,
        }
    }
}
