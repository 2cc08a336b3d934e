//! The tensors of a GGUF file, held against the shape that they are of.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::PathBuf;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, gguf_file};

use super::ModelError;
use crate::gate::Gate;
use crate::network::{Convolution, Linear, Network, Networks};
use crate::shape::{Shape, tensor_of};

pub(super) struct Tensors {
    path: PathBuf,
    content: gguf_file::Content,
    bytes: Cursor<Vec<u8>>,
}

impl Tensors {
    /// Reads the header and holds it against the shape; no tensor is allocated yet.
    pub(super) fn open(path: PathBuf, bytes: Vec<u8>, shape: &Shape) -> Result<Self, ModelError> {
        let mut bytes = Cursor::new(bytes);
        let content = gguf_file::Content::read(&mut bytes).map_err(|source| ModelError::Gguf {
            path: path.clone(),
            source,
        })?;
        let wanted = shape.tensors();
        for (name, dims, quantized) in &wanted {
            let refuse = |why: String| {
                Err(ModelError::Tensor {
                    name: name.clone(),
                    why,
                })
            };
            let Some(info) = content.tensor_infos.get(name) else {
                return refuse("is missing".to_owned());
            };
            if info.shape.dims() != dims {
                return refuse(format!(
                    "has shape {:?}, wanted {dims:?}",
                    info.shape.dims()
                ));
            }
            let dtype = if *quantized {
                GgmlDType::Q8_0
            } else {
                GgmlDType::F32
            };
            if info.ggml_dtype != dtype {
                return refuse(format!("has type {:?}, wanted {dtype:?}", info.ggml_dtype));
            }
        }
        let known: BTreeSet<&str> = wanted.iter().map(|(name, ..)| name.as_str()).collect();
        if let Some(foreign) = content
            .tensor_infos
            .keys()
            .find(|name| !known.contains(name.as_str()))
        {
            return Err(ModelError::Tensor {
                name: foreign.clone(),
                why: "is not of this model".to_owned(),
            });
        }
        Ok(Self {
            path,
            content,
            bytes,
        })
    }

    fn floats(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        let read = |source| ModelError::Gguf {
            path: self.path.clone(),
            source,
        };
        let tensor = self
            .content
            .tensor(&mut self.bytes, name, &Device::Cpu)
            .map_err(read)?;
        let values: Vec<f32> = tensor
            .dequantize(&Device::Cpu)
            .and_then(|tensor| tensor.flatten_all()?.to_vec1())
            .map_err(read)?;
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(ModelError::NotFinite {
                name: name.to_owned(),
            })
        }
    }

    /// Weights and bias.
    fn layer(&mut self, name: &str) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let weights = self.floats(&format!("{name}.weight"))?;
        Ok((weights, self.floats(&format!("{name}.bias"))?))
    }

    fn linear(&mut self, name: &str) -> Result<Linear, ModelError> {
        let (weights, bias) = self.layer(name)?;
        Ok(Linear::new(&weights, bias))
    }

    pub(super) fn networks(&mut self, shape: &Shape) -> Result<Networks, ModelError> {
        let each = (0..shape.networks).map(|index| self.network(index, shape));
        Ok(Networks {
            each: each.collect::<Result<_, _>>()?,
            heads: self.linear("heads")?,
            shape: shape.clone(),
        })
    }

    fn network(&mut self, index: usize, shape: &Shape) -> Result<Network, ModelError> {
        let embedding = self.floats(&tensor_of(index, "embedding.weight"))?;
        let mut convolutions = Vec::with_capacity(shape.widths.len());
        for width in &shape.widths {
            let (weights, bias) = self.layer(&tensor_of(index, &format!("conv{width}")))?;
            convolutions.push(Convolution::new(*width, &weights, bias));
        }
        let hidden = self.linear(&tensor_of(index, "hidden"))?;
        Ok(Network::new(&embedding, convolutions, hidden))
    }

    pub(super) fn gate(&mut self) -> Result<Gate, ModelError> {
        Ok(Gate {
            weights: self.floats("gate.weight")?,
            facts: self.floats("gate.facts")?,
            bias: self.floats("gate.bias")?[0],
        })
    }
}
