//! `cordonctl`: the REST interface for people and scripts.
//!
//! Each command answers with both forms at once, JSON and text; `main` prints the one asked for.

mod accounts;
mod approvals;
pub mod args;
pub mod client;
mod error;
mod exceptions;
mod files;
mod history;
mod hosts;
mod incidents;
mod ioc;
mod labels;
mod model;
mod orders;
mod policy;
mod release;
mod rules;
mod show;
mod steps;
mod tokens;
mod trail;
mod tried;
pub mod trust;

use serde_json::Value;

use args::{Cli, Command};
use client::Client;
pub use error::CtlError;

/// What a command has to say.
#[derive(Debug)]
pub struct Answer {
    /// For programs.
    pub json: Value,
    /// For people, with a line break at the end.
    pub text: String,
}

/// Runs one command.
pub async fn run(cli: &Cli) -> Result<Answer, CtlError> {
    // Connects when it is first used: signing and verifying need no controller.
    let client = &Client::new(&cli.connection);
    match &cli.command {
        Command::Hosts => hosts::list(client).await,
        Command::Incidents(wanted) => incidents::run(client, wanted).await,
        Command::Labels(command) => labels::run(client, command).await,
        Command::Rules(command) => rules::run(client, command).await,
        Command::Ioc(command) => ioc::run(client, command).await,
        Command::Exception(command) => exceptions::run(client, command).await,
        Command::Events { host, limit } => hosts::events(client, host.as_deref(), *limit).await,
        Command::Isolate {
            host,
            lease,
            beyond_cap,
            order,
        } => orders::isolate(client, host, *lease, *beyond_cap, order).await,
        Command::Release { host, order } => orders::release(client, host, order).await,
        Command::Step(command) => steps::run(client, command).await,
        Command::Approvals => approvals::list(client).await,
        Command::Approve(answer) => approvals::approve(client, answer).await,
        Command::Refuse { reason, answer } => approvals::refuse(client, reason, answer).await,
        Command::ReleaseCode(wanted) => release::answer(client, wanted, &cli.connection.data).await,
        Command::StopCode(wanted) => release::stop(wanted, &cli.connection.data),
        Command::ReleaseKey { file } => release::new_key(file),
        Command::Order { id } => orders::tell(client, id).await,
        Command::Orders => orders::list(client).await,
        Command::Token(command) => tokens::run(client, command).await,
        Command::Model(command) => model::run(command),
        Command::Policy(command) => policy::run(client, command).await,
        Command::Audit(command) => trail::run(client, command, &cli.connection.data).await,
        Command::User(command) => accounts::run(client, command).await,
    }
}
