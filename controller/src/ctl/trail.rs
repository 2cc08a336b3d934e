//! The audit trail.

use std::path::Path;

use cordon_store::{Store, StoreError};
use serde_json::json;

use super::args::AuditCommand;
use super::client::{Client, read};
use super::show::{Table, time};
use super::{Answer, CtlError};
use crate::http::dto::AuditView;
use crate::layout::Layout;

pub(super) async fn run(
    client: &Client<'_>,
    command: &AuditCommand,
    data: &Path,
) -> Result<Answer, CtlError> {
    match command {
        AuditCommand::Show { limit } => show(client, *limit).await,
        AuditCommand::Verify { database } => {
            let own = Layout::of(data).database();
            verify(database.as_ref().unwrap_or(&own)).await
        }
    }
}

async fn show(client: &Client<'_>, limit: u32) -> Result<Answer, CtlError> {
    let json = client.get(&format!("/audit?limit={limit}")).await?;
    let entries: Vec<AuditView> = read("/audit", &json)?;
    let mut table = Table::new(
        &["NUMBER", "AT", "WHO", "WHAT", "ON"],
        "nothing was done yet",
    );
    for entry in &entries {
        let number = entry.sequence.to_string();
        table.row(&[
            &number,
            &time(entry.at),
            &entry.who,
            &entry.what,
            &entry.target,
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

/// Walks the chain in a database file. A chain that was cut at its end still holds: the head that is
/// printed is to be compared with one that was noted elsewhere.
async fn verify(database: &Path) -> Result<Answer, CtlError> {
    let store = Store::open(database).await.map_err(of(database))?;
    let walked = store.verify_audit().await;
    store.close().await;
    let head = walked.map_err(of(database))?;
    let hash = hex::encode(head.hash);
    let text = format!(
        "the audit trail holds: {} entries, head {hash}\n",
        head.sequence
    );
    let json = json!({ "holds": true, "entries": head.sequence, "head": hash });
    Ok(Answer { json, text })
}

fn of(database: &Path) -> impl Fn(StoreError) -> CtlError {
    |error| match error {
        StoreError::AuditBroken { .. } => CtlError::Audit(error.to_string()),
        error => CtlError::Document {
            path: database.to_owned(),
            source: error.into(),
        },
    }
}
