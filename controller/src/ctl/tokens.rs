//! Join tokens.

use std::time::Duration;

use serde_json::json;

use super::args::TokenCommand;
use super::client::{Client, read};
use super::show::{Table, time};
use super::{Answer, CtlError};
use crate::http::dto::{CreatedToken, TokenView};

pub(super) async fn run(client: &Client<'_>, command: &TokenCommand) -> Result<Answer, CtlError> {
    match command {
        TokenCommand::Create {
            group,
            uses,
            expires,
        } => create(client, group, *uses, *expires).await,
        TokenCommand::List => list(client).await,
    }
}

async fn create(
    client: &Client<'_>,
    group: &str,
    uses: u32,
    expires: Duration,
) -> Result<Answer, CtlError> {
    let body = json!({ "group": group, "uses": uses, "expires_in_seconds": expires.as_secs() });
    let json = client.post("/tokens", &body).await?;
    let created: CreatedToken = read("/tokens", &json)?;
    let text = format!(
        "{}\n\nShown once. {} host(s) may join group {} with it until {}.\n",
        created.token,
        created.uses,
        created.group,
        time(created.expires_at),
    );
    Ok(Answer { json, text })
}

async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get("/tokens").await?;
    let tokens: Vec<TokenView> = read("/tokens", &json)?;
    let mut table = Table::new(
        &["TOKEN", "GROUP", "USES LEFT", "EXPIRES", "BY"],
        "no join token",
    );
    for token in &tokens {
        table.row(&[
            &token.name,
            &token.group,
            &format!("{} of {}", token.uses_left, token.uses),
            &time(token.expires_at),
            &token.created_by,
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}
