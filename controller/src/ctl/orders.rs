//! Orders to hosts, and their life.

use std::time::{Duration, Instant};

use cordon_analyst::clean::plain;
use cordon_proto::id::HostId;
use cordon_proto::order::OrderState;
use serde_json::{Value, json};

use super::args::OrderArgs;
use super::client::{Client, read, segment};
use super::hosts::find;
use super::show::{Table, section, time};
use super::{Answer, CtlError};
use crate::http::dto::Order;

/// Between two looks at an order that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn isolate(
    client: &Client<'_>,
    host: &str,
    lease: Duration,
    beyond_cap: bool,
    order: &OrderArgs,
) -> Result<Answer, CtlError> {
    let mut body = json!({ "reason": order.reason, "lease_seconds": lease.as_secs() });
    // Written only when it is said, for a controller that does not know it.
    if beyond_cap {
        body["beyond_cap"] = true.into();
    }
    send(client, host, "isolate", &body, order).await
}

pub(super) async fn release(
    client: &Client<'_>,
    host: &str,
    order: &OrderArgs,
) -> Result<Answer, CtlError> {
    let body = json!({ "reason": order.reason });
    send(client, host, "release", &body, order).await
}

async fn send(
    client: &Client<'_>,
    host: &str,
    verb: &str,
    body: &Value,
    order: &OrderArgs,
) -> Result<Answer, CtlError> {
    let host = find(client, host).await?;
    let limit = order.wait.then_some(order.wait_limit);
    send_to(client, host.id, verb, body, limit).await
}

/// With a limit it is waited for the host's word.
pub(super) async fn send_to(
    client: &Client<'_>,
    host: HostId,
    verb: &str,
    body: &Value,
    limit: Option<Duration>,
) -> Result<Answer, CtlError> {
    post(client, &format!("/hosts/{host}/{verb}"), body, limit).await
}

/// Gives an order by its path; with a limit it is waited for the host's word.
pub(super) async fn post(
    client: &Client<'_>,
    path: &str,
    body: &Value,
    limit: Option<Duration>,
) -> Result<Answer, CtlError> {
    let json = client.post(path, body).await?;
    let sent: Order = read(path, &json)?;
    match limit {
        Some(limit) => wait(client, sent, limit).await,
        None => Ok(answer(&sent, json)),
    }
}

/// Until the host's signed word is there, or the order ends without it.
async fn wait(client: &Client<'_>, mut order: Order, limit: Duration) -> Result<Answer, CtlError> {
    let started = Instant::now();
    let path = format!("/orders/{}", order.id);
    let mut json = client.get(&path).await?;
    loop {
        order = read(&path, &json)?;
        if order.state == OrderState::Done {
            return Ok(answer(&order, json));
        }
        if order.state.is_final() {
            return Err(ended_badly(&order));
        }
        if started.elapsed() >= limit {
            return Err(CtlError::Timeout {
                id: order.id.to_string(),
                state: order.state,
                waited: limit,
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
        json = client.get(&path).await?;
    }
}

fn ended_badly(order: &Order) -> CtlError {
    let last = order.history.last().and_then(|step| step.detail.as_deref());
    CtlError::Order {
        id: order.id.to_string(),
        state: order.state,
        detail: plain(last.unwrap_or("the host gave no reason"), 300),
    }
}

pub(super) async fn tell(client: &Client<'_>, id: &str) -> Result<Answer, CtlError> {
    let path = format!("/orders/{}", segment(id));
    let json = client.get(&path).await?;
    let order: Order = read(&path, &json)?;
    Ok(answer(&order, json))
}

pub(super) async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get("/orders").await?;
    let orders: Vec<Order> = read("/orders", &json)?;
    let mut table = Table::new(
        &[
            "ISSUED", "VERB", "ON", "HOST", "STATE", "BY", "REASON", "ID",
        ],
        "no order was given",
    );
    for order in &orders {
        table.row(&[
            &time(order.issued_at),
            &order.verb,
            &order.subject,
            &order.host.name,
            &standing(order),
            &order.requested_by,
            &order.reason,
            &order.id.to_string(),
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

fn answer(order: &Order, json: Value) -> Answer {
    let steps = order.history.iter().map(|step| {
        let word = if step.signed {
            "signed by the host"
        } else {
            "controller"
        };
        let detail = step.detail.as_deref().unwrap_or("");
        let line = format!("{}  {:<9}  {word}", time(step.at), state_name(step.state));
        match detail {
            "" => line,
            detail => format!("{line}: {}", plain(detail, 300)),
        }
    });
    let steps: Vec<String> = steps.collect();
    let subject = match order.subject.as_str() {
        "" => String::new(),
        subject => format!(" {} on", plain(subject, 300)),
    };
    let undoes = order
        .undoes
        .map_or_else(String::new, |id| format!("undoes order {id}\n"));
    let undo = if order.can_undo {
        format!("`cordonctl undo {}` undoes it\n", order.id)
    } else {
        String::new()
    };
    let text = format!(
        "{}{subject} {}: {}\norder {} by {}: {}\n{undoes}{undo}{}",
        order.verb,
        plain(&order.host.name, 64),
        standing(order),
        order.id,
        plain(&order.requested_by, 64),
        plain(&order.reason, 500),
        section("Life", &steps),
    );
    Answer { json, text }
}

/// The state, and whether what was done still is.
fn standing(order: &Order) -> String {
    let state = state_name(order.state);
    match &order.undone_by {
        Some(undo) if undo.state == OrderState::Done => format!("{state}, undone"),
        _ => state.to_owned(),
    }
}

/// The state's name in JSON and on the screen.
pub(super) fn state_name(state: OrderState) -> &'static str {
    match state {
        OrderState::Queued => "queued",
        OrderState::Delivered => "delivered",
        OrderState::Started => "started",
        OrderState::Done => "done",
        OrderState::Failed => "failed",
        OrderState::Refused => "refused",
        OrderState::Expired => "expired",
    }
}
