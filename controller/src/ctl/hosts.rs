//! Hosts and what they reported.

use serde_json::Value;

use super::client::{Client, read};
use super::show::{Table, time, time_or};
use super::{Answer, CtlError};
use crate::http::dto::{Event, Host};

const MOST_BODY_CHARS: usize = 120;

pub(super) async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get("/hosts").await?;
    let hosts: Vec<Host> = read("/hosts", &json)?;
    let mut table = Table::new(
        &[
            "HOST",
            "GROUP",
            "LINE",
            "ISOLATION",
            "SENSOR",
            "POLICY",
            "LAST SEEN",
            "ID",
        ],
        "no host is enrolled: make a token with `cordonctl token create`, then run `cordon-agent enroll`",
    );
    for host in &hosts {
        table.row(&[
            &host.name,
            &host.group,
            if host.online { "online" } else { "offline" },
            &isolation(host),
            host.sensor_mode.as_deref().unwrap_or(""),
            &host.policy_version.map_or(String::new(), |v| v.to_string()),
            &time_or(host.last_seen_at, "never"),
            &host.id.to_string(),
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

/// The host's newest word; an isolation that could not be made is not "isolated".
fn isolation(host: &Host) -> String {
    use cordon_proto::record::IsolationState::{Applied, Confirmed, Failed, Released, Unproven};
    let state = match host.isolation.as_ref().map(|report| report.state) {
        None | Some(Released) => "open",
        Some(Applied) => "isolated, proof pending",
        Some(Confirmed) => "isolated, proved",
        Some(Unproven) => "isolated, not proved",
        Some(Failed) => "open, isolation failed",
    };
    match &host.peers {
        None => state.to_owned(),
        Some(peers) => format!(
            "{state}; {} of {} peers block it",
            peers.blocking, peers.told
        ),
    }
}

/// The host that is meant by a name or an id.
pub(super) async fn find(client: &Client<'_>, wanted: &str) -> Result<Host, CtlError> {
    let json = client.get("/hosts").await?;
    let hosts: Vec<Host> = read("/hosts", &json)?;
    pick(hosts, wanted)
}

fn pick(hosts: Vec<Host>, wanted: &str) -> Result<Host, CtlError> {
    let is_meant = |host: &Host| host.name == wanted || host.id.to_string() == wanted;
    let mut found: Vec<Host> = hosts.into_iter().filter(is_meant).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CtlError::Host(format!(
            "there is no host {wanted:?}; `cordonctl hosts` lists them"
        ))),
        _ => {
            let ids: Vec<String> = found.iter().map(|host| host.id.to_string()).collect();
            let ids = ids.join(", ");
            Err(CtlError::Host(format!(
                "several hosts are called {wanted:?}; give the id: {ids}"
            )))
        }
    }
}

pub(super) async fn events(
    client: &Client<'_>,
    host: Option<&str>,
    limit: u32,
) -> Result<Answer, CtlError> {
    let mut path = format!("/events?limit={limit}");
    if let Some(host) = host {
        path = format!("{path}&host={}", find(client, host).await?.id);
    }
    let json = client.get(&path).await?;
    let events: Vec<Event> = read("/events", &json)?;
    let mut table = Table::new(
        &["AT", "HOST", "KIND", "SEQUENCE", "RECORD"],
        "nothing was reported",
    );
    for event in &events {
        let body: String = body_text(&event.body)
            .chars()
            .take(MOST_BODY_CHARS)
            .collect();
        let sequence = event.sequence.to_string();
        table.row(&[
            &time(event.at),
            &event.host.name,
            &event.kind,
            &sequence,
            &body,
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

fn body_text(body: &Value) -> String {
    body.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::id::HostId;

    fn host(name: &str) -> Host {
        Host {
            id: HostId::generate(),
            name: name.to_owned(),
            group: "servers".to_owned(),
            addresses: Vec::new(),
            online: true,
            last_seen_at: None,
            agent_version: None,
            kernel: None,
            os: None,
            sensor_mode: None,
            model: None,
            policy_version: None,
            isolation: None,
            peers: None,
            heartbeat: None,
        }
    }

    #[test]
    fn how_many_block_a_host_is_said_beside_its_own_word() {
        let mut host = host("web");
        assert_eq!(isolation(&host), "open");
        host.peers = Some(crate::http::dto::Peers {
            blocking: 2,
            told: 3,
        });
        assert_eq!(isolation(&host), "open; 2 of 3 peers block it");
    }

    #[test]
    fn a_host_is_found_by_name_or_id_and_never_guessed() {
        let hosts = || vec![host("web"), host("db"), host("db")];
        assert_eq!(pick(hosts(), "web").unwrap().name, "web");
        let one = host("x");
        let id = one.id.to_string();
        assert_eq!(pick(vec![host("x"), one], &id).unwrap().id.to_string(), id);
        let ambiguous = pick(hosts(), "db").unwrap_err().to_string();
        assert!(ambiguous.contains("several"), "{ambiguous}");
        assert!(pick(hosts(), "we").is_err());
    }
}
