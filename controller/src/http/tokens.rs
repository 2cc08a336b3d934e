//! Join tokens for new hosts.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_store::JoinToken;
use jiff::SignedDuration;

use super::AppState;
use super::body::Body;
use super::dto::{CreateToken, CreatedToken, TokenView};
use super::gate::Caller;
use super::problem::Problem;

const LONGEST: Duration = Duration::from_hours(24 * 90);
const MOST_USES: u32 = 100_000;
const MAX_GROUP_CHARS: usize = 64;

/// All tokens, without their secrets.
#[utoipa::path(operation_id = "list_tokens", get, path = "/api/v1/tokens", responses((status = 200, body = [TokenView])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<TokenView>>, Problem> {
    let tokens = app.store.join_tokens().await;
    let tokens = tokens.map_err(|error| Problem::internal("reading join tokens", &error))?;
    Ok(Json(tokens.into_iter().map(TokenView::from).collect()))
}

/// Makes a token, which only this answer holds.
#[utoipa::path(operation_id = "create_token", post, path = "/api/v1/tokens", request_body = CreateToken, responses(
    (status = 201, body = CreatedToken),
    (status = 422, description = "group, uses or time cannot be used"),
))]
pub async fn create(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    check(&wanted)?;
    let lifetime = SignedDuration::from_secs(wanted.expires_in_seconds.cast_signed());
    let made = app
        .fleet
        .create_join_token(&wanted.group, wanted.uses, lifetime, &caller.name)
        .await;
    let (token, listed) =
        made.map_err(|error| Problem::internal("adding the join token", &error))?;
    let created = CreatedToken {
        token,
        name: listed.name,
        group: listed.group,
        uses: listed.uses,
        expires_at: listed.expires_at,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

fn check(wanted: &CreateToken) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let group = &wanted.group;
    if !(1..=MAX_GROUP_CHARS).contains(&group.len()) || !group.chars().all(fits) {
        return Err(Problem::refused(format!(
            "a group has 1 to {MAX_GROUP_CHARS} letters, digits, full stops, hyphens and underscores"
        )));
    }
    if !(1..=MOST_USES).contains(&wanted.uses) {
        return Err(Problem::refused(format!("uses must be 1 to {MOST_USES}")));
    }
    if !(1..=LONGEST.as_secs()).contains(&wanted.expires_in_seconds) {
        return Err(Problem::refused("a join token lives 1 second to 90 days"));
    }
    Ok(())
}

impl From<JoinToken> for TokenView {
    fn from(token: JoinToken) -> Self {
        Self {
            name: token.name,
            group: token.group,
            uses: token.uses,
            uses_left: token.uses_left,
            expires_at: token.expires_at,
            created_by: token.created_by,
        }
    }
}
