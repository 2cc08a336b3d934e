//! The files of a model: `manifest.json` names the others with their sizes and SHA-256.
//!
//! Sizes are checked before a file is read, hashes before it is parsed, shapes before a tensor is allocated, and
//! every weight must be finite. Whatever is wrong, the caller keeps the model it has.

mod tensors;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::calibration::Calibration;
use crate::model::Model;
use crate::shape::Shape;

use tensors::Tensors;
pub use writer::Writer;

/// The weights.
pub const WEIGHTS: &str = "model.gguf";
/// [`Shape`].
pub const TOKENIZER: &str = "tokenizer.json";
/// [`Calibration`].
pub const CALIBRATION: &str = "calibration.json";
/// For people.
pub const CARD: &str = "card.md";
/// [`Manifest`].
pub const MANIFEST: &str = "manifest.json";

const MOST_JSON: u64 = 256 * 1024;
const MOST_WEIGHTS: u64 = 8 * 1024 * 1024;

/// What a model consists of and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// The files beside the manifest.
    pub files: BTreeMap<String, FileEntry>,
    /// SHA-256 of each file that training read.
    pub data: BTreeMap<String, String>,
    /// How it was trained: seed, epochs and the like.
    pub training: BTreeMap<String, String>,
}

/// One file of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its size.
    pub bytes: u64,
    /// Its hash, hex.
    pub sha256: String,
}

/// Why a model was refused. The one in use stays in use.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read model file {path}: install the model artifact there")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write model file {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not as large as the manifest says, or larger than any model may be.
    #[error("model file {path} has {found} bytes, wanted {wanted}: fetch the artifact again")]
    Size {
        /// Which.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// The manifest's size or the limit.
        wanted: String,
    },
    /// Not the file that the manifest names.
    #[error(
        "model file {path} has sha256 {found}, the manifest says {wanted}: fetch the artifact again"
    )]
    Hash {
        /// Which.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The manifest's.
        wanted: String,
    },
    /// The manifest lacks a file.
    #[error("manifest {path} does not name {file}")]
    Unnamed {
        /// The manifest.
        path: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// Not the JSON that it should be.
    #[error("model file {path} is not valid")]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Valid JSON, senseless numbers.
    #[error("model file {path} is refused: {why}")]
    Senseless {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Not GGUF.
    #[error("model file {path} is not a readable GGUF file")]
    Gguf {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: candle_core::Error,
    },
    /// A tensor is missing, foreign, of another shape or type.
    #[error("tensor {name} of the model {why}")]
    Tensor {
        /// Which.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A weight is NaN or infinite.
    #[error("tensor {name} of the model holds a value that is not finite")]
    NotFinite {
        /// Which.
        name: String,
    },
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn load(dir: &Path) -> Result<Model, ModelError> {
    let manifest_path = dir.join(MANIFEST);
    let manifest_bytes = read_bounded(&manifest_path, MOST_JSON)?;
    let manifest: Manifest = json(&manifest_path, &manifest_bytes)?;
    let shape: Shape = json(
        &dir.join(TOKENIZER),
        &verified(dir, &manifest, TOKENIZER, MOST_JSON)?,
    )?;
    shape.check().map_err(|why| ModelError::Senseless {
        path: dir.join(TOKENIZER),
        why,
    })?;
    let calibration: Calibration = json(
        &dir.join(CALIBRATION),
        &verified(dir, &manifest, CALIBRATION, MOST_JSON)?,
    )?;
    calibration.check().map_err(|why| ModelError::Senseless {
        path: dir.join(CALIBRATION),
        why,
    })?;
    verified(dir, &manifest, CARD, MOST_JSON)?;
    let weights = verified(dir, &manifest, WEIGHTS, MOST_WEIGHTS)?;
    let id = format!("{}@{}", manifest.name, &sha256(&manifest_bytes)[..12]);
    model(dir.join(WEIGHTS), weights, shape, calibration, id)
}

/// A model of weights that were read or made: their names, shapes and types, and that all are finite, is checked here.
pub(crate) fn model(
    path: PathBuf,
    weights: Vec<u8>,
    shape: Shape,
    calibration: Calibration,
    id: String,
) -> Result<Model, ModelError> {
    let mut tensors = Tensors::open(path, weights, &shape)?;
    let networks = tensors.networks(&shape)?;
    let gate = tensors.gate()?;
    Ok(Model {
        id,
        shape,
        calibration,
        networks,
        gate,
    })
}

/// What of an artifact is no part of a loaded model.
pub(crate) struct Parts {
    pub manifest: Manifest,
    pub weights: Vec<u8>,
    pub card: String,
}

pub(crate) fn parts(dir: &Path) -> Result<Parts, ModelError> {
    let path = dir.join(MANIFEST);
    let manifest: Manifest = json(&path, &read_bounded(&path, MOST_JSON)?)?;
    let weights = verified(dir, &manifest, WEIGHTS, MOST_WEIGHTS)?;
    let card = verified(dir, &manifest, CARD, MOST_JSON)?;
    Ok(Parts {
        manifest,
        weights,
        card: String::from_utf8_lossy(&card).into_owned(),
    })
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let fail = |source| ModelError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    if size > most {
        return Err(ModelError::Size {
            path: path.to_owned(),
            found: size,
            wanted: format!("at most {most}"),
        });
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // The file may grow between the two calls; what is beyond the bound is never read.
    file.take(most).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn verified(
    dir: &Path,
    manifest: &Manifest,
    file: &'static str,
    most: u64,
) -> Result<Vec<u8>, ModelError> {
    let path = dir.join(file);
    let Some(entry) = manifest.files.get(file) else {
        return Err(ModelError::Unnamed {
            path: dir.join(MANIFEST),
            file,
        });
    };
    let bytes = read_bounded(&path, most)?;
    if bytes.len() as u64 != entry.bytes {
        return Err(ModelError::Size {
            path,
            found: bytes.len() as u64,
            wanted: entry.bytes.to_string(),
        });
    }
    let found = sha256(&bytes);
    if found != entry.sha256 {
        return Err(ModelError::Hash {
            path,
            found,
            wanted: entry.sha256.clone(),
        });
    }
    Ok(bytes)
}

fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ModelError> {
    serde_json::from_slice(bytes).map_err(|source| ModelError::Json {
        path: path.to_owned(),
        source,
    })
}
