//! Writing an artifact.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{
    CALIBRATION, CARD, FileEntry, MANIFEST, Manifest, ModelError, TOKENIZER, WEIGHTS, sha256,
};
use crate::calibration::Calibration;
use crate::model::Model;
use crate::shape::Shape;

/// Writes an artifact. The manifest goes last: without it, or with an older one, nothing half written is accepted.
pub struct Writer<'a> {
    /// Where to.
    pub dir: &'a Path,
    /// `tokenizer.json`.
    pub shape: &'a Shape,
    /// `model.gguf`.
    pub weights: &'a [u8],
    /// Hashes of the training data.
    pub data: &'a BTreeMap<String, String>,
    /// How it was trained.
    pub training: &'a BTreeMap<String, String>,
}

impl Writer<'_> {
    /// Writes every file and loads the model back.
    pub fn write(&self, calibration: &Calibration, card: &str) -> Result<Model, ModelError> {
        std::fs::create_dir_all(self.dir).map_err(|source| ModelError::Write {
            path: self.dir.to_owned(),
            source,
        })?;
        let contents = [
            (WEIGHTS, self.weights.to_vec()),
            (TOKENIZER, pretty(self.shape)),
            (CALIBRATION, pretty(calibration)),
            (CARD, card.as_bytes().to_vec()),
        ];
        let mut files = BTreeMap::new();
        for (name, bytes) in contents {
            self.put(name, &bytes)?;
            files.insert(
                name.to_owned(),
                FileEntry {
                    bytes: bytes.len() as u64,
                    sha256: sha256(&bytes),
                },
            );
        }
        let manifest = Manifest {
            name: "behavior-1".to_owned(),
            files,
            data: self.data.clone(),
            training: self.training.clone(),
        };
        self.put(MANIFEST, &pretty(&manifest))?;
        Model::load(self.dir)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ModelError> {
        let path = self.dir.join(name);
        std::fs::write(&path, bytes).map_err(|source| ModelError::Write { path, source })
    }
}

fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(value).expect("artifact documents have string keys only");
    bytes.push(b'\n');
    bytes
}
