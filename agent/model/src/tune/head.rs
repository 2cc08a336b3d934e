//! The new last layer in the old artifact: all other weights stay as they are, bit by bit.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{Device, Tensor};

use super::FROM;
use super::report::Report;
use crate::artifact::{self, ModelError, Writer};
use crate::calibration::Calibration;
use crate::model::Model;
use crate::shape::HEADS_WEIGHT;

/// A model with what was learned.
pub(super) struct Tuned<'a> {
    /// The artifact of the old model.
    pub dir: &'a Path,
    /// The old model.
    pub model: &'a Model,
    /// Of the scaled hidden layer, then of the forms seen and text.
    pub step: &'a [f64],
    /// What the hidden layer was scaled by.
    pub scale: f64,
}

impl Tuned<'_> {
    /// The model as it would be loaded.
    pub fn trial(&self) -> Result<Model, ModelError> {
        let parts = artifact::parts(self.dir)?;
        let weights = self.weights(&parts.weights)?;
        let (path, shape) = (self.dir.join(artifact::WEIGHTS), self.model.shape.clone());
        let calibration = self.calibration();
        artifact::model(path, weights, shape, calibration, self.model.id.clone())
    }

    /// Writes the artifact beside `out` and then gives it that name: what is there is whole.
    pub fn write(&self, out: &Path, report: &Report) -> Result<Model, ModelError> {
        let parts = artifact::parts(self.dir)?;
        let (mut data, mut training) = (parts.manifest.data, parts.manifest.training);
        data.insert("site labels".to_owned(), report.labels_sha256.clone());
        training.insert(FROM.to_owned(), report.from.clone());
        training.insert("tuned by".to_owned(), report.in_short());
        let mut part = out.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let writer = Writer {
            dir: &part,
            shape: &self.model.shape,
            weights: &self.weights(&parts.weights)?,
            data: &data,
            training: &training,
        };
        let fail = |source| ModelError::Write {
            path: out.to_owned(),
            source,
        };
        let written = writer
            .write(&self.calibration(), &(parts.card + &report.card()))
            .and_then(|model| {
                std::fs::rename(&part, out).map_err(fail)?;
                Ok(model)
            });
        if written.is_err() {
            std::fs::remove_dir_all(&part).ok();
        }
        written
    }

    /// Offsets take up what was learned of a form as a whole.
    fn calibration(&self) -> Calibration {
        let mut calibration = self.model.calibration;
        let forms = &self.step[self.step.len() - 2..];
        calibration.seen.offset += forms[0] as f32;
        calibration.text.offset += forms[1] as f32;
        calibration
    }

    fn weights(&self, bytes: &[u8]) -> Result<Vec<u8>, ModelError> {
        let fail = |source| ModelError::Gguf {
            path: self.dir.join(artifact::WEIGHTS),
            source,
        };
        self.rewritten(bytes).map_err(fail)
    }

    fn rewritten(&self, bytes: &[u8]) -> candle_core::Result<Vec<u8>> {
        let mut bytes = Cursor::new(bytes);
        let content = gguf_file::Content::read(&mut bytes)?;
        let mut names: Vec<(&String, u64)> = content
            .tensor_infos
            .iter()
            .map(|(name, info)| (name, info.offset))
            .collect();
        names.sort_unstable_by_key(|(_, offset)| *offset);
        let mut tensors = Vec::with_capacity(names.len());
        for (name, _) in names {
            let mut tensor = content.tensor(&mut bytes, name, &Device::Cpu)?;
            if name == HEADS_WEIGHT {
                tensor = self.head(&tensor)?;
            }
            tensors.push((name.as_str(), tensor));
        }
        let mut metadata: Vec<(&str, &gguf_file::Value)> = content
            .metadata
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        metadata.sort_unstable_by_key(|(name, _)| *name);
        let stored: Vec<(&str, &QTensor)> = tensors
            .iter()
            .map(|(name, tensor)| (*name, tensor))
            .collect();
        let mut out = Cursor::new(Vec::new());
        gguf_file::write(&mut out, &metadata, &stored)?;
        Ok(out.into_inner())
    }

    /// The first row moves; rows are whole blocks, so the others come back as they were.
    fn head(&self, tensor: &QTensor) -> candle_core::Result<QTensor> {
        let dims = tensor.shape().dims().to_vec();
        let mut values: Vec<f32> = tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let hidden = &self.step[..self.step.len() - 2];
        for (value, step) in values.iter_mut().zip(hidden) {
            *value += (step * self.scale) as f32;
        }
        let moved = Tensor::from_vec(values, dims, &Device::Cpu)?;
        QTensor::quantize(&moved, GgmlDType::Q8_0)
    }
}
