//! Accounts of people.

use cordon_store::Role;
use serde_json::json;

use super::args::UserCommand;
use super::client::{Client, read};
use super::show::{Table, time};
use super::{Answer, CtlError};
use crate::http::access::role_name;
use crate::http::dto::{CreatedUser, UserView};

pub(super) async fn run(client: &Client<'_>, command: &UserCommand) -> Result<Answer, CtlError> {
    match command {
        UserCommand::List => list(client).await,
        UserCommand::Create { name, role } => create(client, name, *role).await,
    }
}

async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get("/users").await?;
    let users: Vec<UserView> = read("/users", &json)?;
    let mut table = Table::new(&["ACCOUNT", "ROLE", "PASSWORD", "MADE"], "no account");
    for user in &users {
        let password = if user.must_change_password {
            "one-time, to be changed"
        } else {
            "own"
        };
        table.row(&[
            &user.username,
            role_name(user.role),
            password,
            &time(user.created_at),
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

async fn create(client: &Client<'_>, name: &str, role: Role) -> Result<Answer, CtlError> {
    let body = json!({ "username": name, "role": role });
    let json = client.post("/users", &body).await?;
    let created: CreatedUser = read("/users", &json)?;
    let text = format!(
        "{}\n\nOne-time password of {} ({}), shown once.\n",
        created.password,
        created.username,
        role_name(created.role),
    );
    Ok(Answer { json, text })
}
