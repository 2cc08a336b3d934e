//! Models: tuned on a site's own labels, and signed away from the controller.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use cordon_analyst::clean::plain;
use cordon_model::Model;
use cordon_model::artifact::MANIFEST;
use cordon_model::tune::Tuner;
use cordon_proto::envelope::sign as seal;
use cordon_proto::model::{ModelStatement, SIGNATURE};
use jiff::Timestamp;
use serde_json::json;

use super::args::{ModelCommand, ModelKey};
use super::client::read_file;
use super::policy::{document, read_key};
use super::{Answer, CtlError};

/// Longest complaint about a label that is printed, characters.
const MOST_WHY: usize = 300;

pub(super) fn run(command: &ModelCommand) -> Result<Answer, CtlError> {
    match command {
        ModelCommand::Sign { key, model } => sign(key, model),
        ModelCommand::Tune {
            key,
            model,
            out,
            labels,
        } => tune(key, model, out, labels),
    }
}

/// Signs a model that loads, so that nobody vouches for what no agent would take.
fn sign(key: &ModelKey, dir: &Path) -> Result<Answer, CtlError> {
    let signing = read_key(&key.key)?;
    let model = Model::load(dir).map_err(|error| document(dir, error))?;
    let manifest = read_file(&dir.join(MANIFEST))?;
    let (site, id) = (key.site.clone(), model.id().to_owned());
    let statement = ModelStatement::new(site, id, &manifest, Timestamp::now());
    let path = dir.join(SIGNATURE);
    fs::write(&path, seal(&statement, &signing).to_json())
        .map_err(|error| document(&path, error))?;
    let text = format!(
        "{} is signed for site {}: {}\n",
        statement.model,
        statement.site,
        path.display()
    );
    Ok(Answer {
        json: json!(statement),
        text,
    })
}

/// As `cordon-agent tune`, and signs what comes of it.
fn tune(key: &ModelKey, model: &Path, out: &Path, labels: &Path) -> Result<Answer, CtlError> {
    // First, so that nothing is learned that could not be signed.
    read_key(&key.key)?;
    let mut tuner = Tuner::open(model).map_err(|error| document(model, error))?;
    let unreadable = |source| CtlError::Read {
        path: labels.to_owned(),
        source,
    };
    let mut skipped = Vec::new();
    let file = BufReader::new(File::open(labels).map_err(unreadable)?);
    let read = tuner.labels(file, |number, why| {
        skipped.push(json!({ "line": number, "why": plain(&why, MOST_WHY) }));
        Ok(())
    });
    read.map_err(unreadable)?;
    let report = tuner.finish(out).map_err(|error| document(labels, error))?;
    let signed = sign(key, out)?;
    let told = skipped.iter().map(|one| {
        let why = one["why"].as_str().unwrap_or_default();
        format!("line {} does not count: {why}\n", one["line"])
    });
    let text = format!(
        "{}{} was made from {}; of our own stories {} (before: {})\n{}",
        told.collect::<String>(),
        report.to,
        report.from,
        report.after,
        report.before,
        signed.text
    );
    let json = json!({ "tuned": report, "skipped": skipped, "signed": signed.json });
    Ok(Answer { json, text })
}
