//! Whether the site vouches for the model at hand.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cordon_model::{Model, ModelError};
use cordon_proto::envelope::{Envelope, EnvelopeError, MAX_ENVELOPE_BYTES};
use cordon_proto::model::{ModelStatement, ModelStatementError, SIGNATURE};

use crate::config::Config;
use crate::identity::Identity;

const MANIFEST: &str = "manifest.json";
const MOST_MANIFEST: u64 = 256 * 1024;

/// Why a model is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// Nobody signed it, and the configuration wants that.
    #[error("{0} is missing and model.signed is true: cordonctl model sign makes it")]
    Unsigned(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not an envelope.
    #[error("{path} cannot be used")]
    Form {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: EnvelopeError,
    },
    /// By another key, for another site or another model.
    #[error("{path} does not vouch for the model")]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ModelStatementError,
    },
    /// It does not load, signed or not.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The configured model, and whether the site vouches for it. A signature that is there and does not hold is never
/// passed over; none is taken for one only where the configuration wants none.
pub fn load(config: &Config, identity: &Identity) -> Result<(Model, bool), Untrusted> {
    let (dir, wanted) = (&config.model_dir, config.model_signed);
    let word = word(dir, identity)?;
    if wanted && word.is_none() {
        return Err(Untrusted::Unsigned(dir.join(SIGNATURE)));
    }
    Ok((Model::load(dir)?, word.is_some()))
}

fn word(dir: &Path, identity: &Identity) -> Result<Option<ModelStatement>, Untrusted> {
    let path = dir.join(SIGNATURE);
    let Some(signature) = read(&path, MAX_ENVELOPE_BYTES as u64)? else {
        return Ok(None);
    };
    // A model without a manifest does not load: that says so better.
    let manifest = read(&dir.join(MANIFEST), MOST_MANIFEST)?.unwrap_or_default();
    let envelope = Envelope::from_json(&signature).map_err(|source| Untrusted::Form {
        path: path.clone(),
        source,
    })?;
    let site = &identity.audience.site;
    let statement = ModelStatement::accept(&envelope, &identity.policy_key, site, &manifest);
    statement
        .map(Some)
        .map_err(|source| Untrusted::Refused { path, source })
}

/// At most one byte more than `most`: what is longer is refused by whoever parses it.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Untrusted> {
    let fail = |source| Untrusted::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fail)?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(Some(bytes))
}
