//! Incidents, in the analyst's words, and what people say of them.

use cordon_analyst::clean::plain;
use serde_json::json;

use super::args::{IncidentsArgs, IncidentsCommand, VerdictArgs};
use super::client::{Client, read, segment};
use super::show::{Table, section, time};
use super::{Answer, CtlError};
use crate::http::dto::{AnalystVerdictView, DetectionView, Incident, IncidentRow};

const MOST_CHARS: usize = 3_000;
/// Of a process's path, in a list of detections.
const MOST_EXE_CHARS: usize = 160;

pub(super) async fn run(client: &Client<'_>, wanted: &IncidentsArgs) -> Result<Answer, CtlError> {
    match (&wanted.command, &wanted.id) {
        (Some(IncidentsCommand::Verdict(said)), _) => judge(client, said).await,
        (None, Some(id)) => tell(client, id).await,
        (None, None) => list(client).await,
    }
}

/// What somebody says of an incident.
async fn judge(client: &Client<'_>, said: &VerdictArgs) -> Result<Answer, CtlError> {
    let path = format!("/incidents/{}/verdict", segment(&said.id));
    let body = json!({
        "label": said.label(), "reason": said.reason, "detection": said.detection,
    });
    let json = client.post(&path, &body).await?;
    let kept: AnalystVerdictView = read(&path, &json)?;
    let text = format!(
        "{}\nThe incident stays as it is; `cordonctl labels export` writes what may be learned from.\n",
        in_words(&kept)
    );
    Ok(Answer { json, text })
}

async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
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

async fn tell(client: &Client<'_>, id: &str) -> Result<Answer, CtlError> {
    let path = format!("/incidents/{}", segment(id));
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
    let detections: Vec<String> = incident.detections.iter().map(detection).collect();
    if !detections.is_empty() {
        text.push_str(&section("Detections, by number", &detections));
    }
    let said: Vec<String> = incident.analyst_verdicts.iter().map(in_words).collect();
    if !said.is_empty() {
        text.push_str(&section("What people say of it, newest first", &said));
    }
    let processes = processes(incident);
    if !processes.is_empty() {
        text.push_str(&section(
            "Judged processes, as orders name them",
            &processes,
        ));
    }
    text.push_str(&section("Measures taken", measures));
    if !advice.is_empty() {
        text.push_str(&section("What to do next", &advice));
    }
    text
}

/// One detection, by the number that commands name it by.
fn detection(seen: &DetectionView) -> String {
    let process = seen.detection.story.process.as_ref();
    let exe = process.map_or("shell text", |process| process.exe.as_str());
    let verdict = serde_json::to_value(seen.detection.verdict.verdict);
    let verdict = verdict
        .ok()
        .and_then(|word| Some(word.as_str()?.to_owned()));
    let said = seen.analyst_verdict.as_ref();
    let said = said.map_or_else(String::new, |said| {
        format!("; {} says: {}", said.analyst, said.label.name())
    });
    let words = format!(
        "{}  {}  {} {:.2}  {}{said}",
        seen.key,
        time(seen.at),
        verdict.unwrap_or_default(),
        seen.detection.verdict.score,
        plain(exe, MOST_EXE_CHARS),
    );
    plain(&words, MOST_CHARS)
}

/// What somebody said, in one line.
fn in_words(said: &AnalystVerdictView) -> String {
    let about = said.detection;
    let about = about.map_or_else(String::new, |key| format!(" of detection {key}"));
    let words = format!(
        "{}  {}{about}, by {}: {}",
        time(said.at),
        said.label.name(),
        said.analyst,
        said.reason
    );
    plain(&words, MOST_CHARS)
}

/// Each process that was judged, once.
fn processes(incident: &Incident) -> Vec<String> {
    let detections = incident.detections.iter().map(|seen| &seen.detection);
    let mut processes: Vec<String> = Vec::new();
    for detection in detections {
        let Some(name) = &detection.process else {
            continue;
        };
        let process = detection.story.process.as_ref();
        let exe = process.map_or("", |process| process.exe.as_str());
        let line = plain(&format!("{name}  {exe}"), MOST_CHARS);
        if !processes.contains(&line) {
            processes.push(line);
        }
    }
    processes
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
