//! Incidents, in the analyst's words.

use super::client::{Client, read};
use super::show::{Table, section, time};
use super::{Answer, CtlError};
use crate::http::dto::{Incident, IncidentRow};
use cordon_analyst::clean::plain;

const MOST_CHARS: usize = 3_000;

pub(super) async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get("/incidents").await?;
    let incidents: Vec<IncidentRow> = read("/incidents", &json)?;
    let mut table = Table::new(
        &["OPENED", "SEVERITY", "STATUS", "HOST", "TITLE", "ID"],
        "no incident was reported; that does not mean that nothing happened",
    );
    for one in &incidents {
        table.row(&[
            &time(one.opened_at),
            one.severity.name(),
            &one.status,
            &one.host.name,
            &one.title,
            &one.id.to_string(),
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

pub(super) async fn tell(client: &Client<'_>, id: &str) -> Result<Answer, CtlError> {
    let path = format!("/incidents/{}", super::client::segment(id));
    let json = client.get(&path).await?;
    let incident: Incident = read(&path, &json)?;
    Ok(Answer {
        text: story(&incident),
        json,
    })
}

fn story(incident: &Incident) -> String {
    let row = &incident.row;
    let words = &row.text.en;
    let line = |text: &str| plain(text, MOST_CHARS);
    let measures = incident.measures.iter();
    let measures: Vec<String> = measures
        .map(|measure| format!("{}  {}", time(measure.at), line(&measure.en)))
        .collect();
    let advice: Vec<String> = words.advice.iter().map(|text| line(text)).collect();
    let mut text = format!(
        "{}\n{} · {} · {}\n\n{}\n\n{}\n",
        line(&row.title),
        row.severity,
        line(&row.status),
        time(row.opened_at),
        line(&row.summary),
        line(&words.risk),
    );
    let none = vec!["none".to_owned()];
    let measures = if measures.is_empty() {
        &none
    } else {
        &measures
    };
    let images = images(incident);
    if !images.is_empty() {
        text.push_str(&section("Images, by SHA-256", &images));
    }
    text.push_str(&section("Measures taken", measures));
    if !advice.is_empty() {
        text.push_str(&section("What to do next", &advice));
    }
    text
}

/// Each image that was judged, once.
fn images(incident: &Incident) -> Vec<String> {
    let detections = incident.detections.iter().map(|seen| &seen.detection);
    let mut images: Vec<String> = detections
        .filter_map(|detection| {
            let exe = &detection.story.process.as_ref()?.exe;
            let digest = detection.exe_sha256.as_ref()?;
            Some(plain(&format!("{digest}  {exe}"), MOST_CHARS))
        })
        .collect();
    images.sort_unstable();
    images.dedup();
    images
}
