//! Steps against an attack, ordered, and undone.

use serde_json::{Value, json};

use super::args::OrderArgs;
use super::args::steps::{StepCommand, TreeArgs};
use super::client::Client;
use super::hosts::find;
use super::orders::{post, send_to};
use super::{Answer, CtlError};

pub(super) async fn run(client: &Client<'_>, command: &StepCommand) -> Result<Answer, CtlError> {
    let (host, order, body) = match command {
        StepCommand::Undo { id, order } => {
            let path = format!("/orders/{id}/undo");
            let body = json!({ "reason": order.reason });
            return post(client, &path, &body, limit(order)).await;
        }
        StepCommand::KillTree(args) => tree("kill_tree", args),
        StepCommand::FreezeTree(args) => tree("freeze_tree", args),
        StepCommand::ThawTree(args) => tree("thaw_tree", args),
        StepCommand::CutOff(args) => tree("cut_off", args),
        StepCommand::Rejoin(args) => tree("rejoin", args),
        StepCommand::BlockRemote {
            host,
            address,
            lasts,
            order,
        } => {
            let seconds = lasts.as_secs();
            let asks = json!({ "verb": "block_remote", "address": address, "seconds": seconds });
            (host, order, asks)
        }
        StepCommand::UnblockRemote {
            host,
            address,
            order,
        } => {
            let asks = json!({ "verb": "unblock_remote", "address": address });
            (host, order, asks)
        }
        StepCommand::QuarantineFile {
            host,
            path,
            sha256,
            order,
        } => {
            let asks = json!({ "verb": "quarantine_file", "path": path, "sha256": sha256 });
            (host, order, asks)
        }
        StepCommand::RestoreFile { host, held, order } => {
            (host, order, json!({ "verb": "restore_file", "held": held }))
        }
    };
    let mut body = body;
    body["reason"] = order.reason.clone().into();
    let host = find(client, host).await?;
    send_to(client, host.id, "orders", &body, limit(order)).await
}

fn tree<'a>(verb: &str, args: &'a TreeArgs) -> (&'a String, &'a OrderArgs, Value) {
    let asks = json!({ "verb": verb, "process": args.process });
    (&args.host, &args.order, asks)
}

fn limit(order: &OrderArgs) -> Option<std::time::Duration> {
    order.wait.then_some(order.wait_limit)
}
