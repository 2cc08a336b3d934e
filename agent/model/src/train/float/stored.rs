//! The weights of an artifact: matrices as Q8_0, the rest as they are.

use std::io::Cursor;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, Result, Tensor};

use super::Float;
use crate::gate::Gate;
use crate::shape::{BLOCK, HEADS_BIAS, HEADS_WEIGHT, tensor_of};

/// `networks`, all of one shape and of the architecture that the agent runs, as many as the shape says, and the gate.
pub fn gguf(networks: &[Float], gate: &Gate) -> Result<Vec<u8>> {
    let Some(first) = networks.first() else {
        candle_core::bail!("a model of no network")
    };
    let shape = &first.shape;
    if networks.len() != shape.networks {
        candle_core::bail!("{} networks, wanted {}", networks.len(), shape.networks)
    }
    let cpu = &Device::Cpu;
    let mut stored = Vec::new();
    for (name, dims, quantized) in shape.tensors() {
        let tensor = match name.as_str() {
            HEADS_WEIGHT | HEADS_BIAS => shared(networks, &name)?,
            "gate.weight" => {
                Tensor::from_slice(&gate.weights, (gate.weights.len() / BLOCK, BLOCK), cpu)?
            }
            "gate.facts" => Tensor::from_slice(&gate.facts, gate.facts.len(), cpu)?,
            "gate.bias" => Tensor::from_slice(&[gate.bias], 1, cpu)?,
            _ => own(networks, &name)?,
        };
        if tensor.dims() != dims {
            candle_core::bail!("{name} has shape {:?}, wanted {dims:?}", tensor.dims())
        }
        let dtype = if quantized {
            GgmlDType::Q8_0
        } else {
            GgmlDType::F32
        };
        let tensor = QTensor::quantize(&tensor.to_dtype(DType::F32)?, dtype)?;
        stored.push((name, tensor));
    }
    let tensors: Vec<(&str, &QTensor)> = stored
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let architecture = gguf_file::Value::String("cordon-behavior".to_owned());
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(
        &mut bytes,
        &[("general.architecture", &architecture)],
        &tensors,
    )?;
    Ok(bytes.into_inner())
}

/// The last layer over all: its rows are the networks' one after another, and what comes of it is the mean.
fn shared(networks: &[Float], name: &str) -> Result<Tensor> {
    let each: Vec<Tensor> = networks
        .iter()
        .map(|network| network.var(name).detach())
        .collect();
    let joined = if name == HEADS_BIAS {
        Tensor::stack(&each, 0)?.sum(0)?
    } else {
        Tensor::cat(&each, 1)?
    };
    joined / networks.len() as f64
}

fn own(networks: &[Float], name: &str) -> Result<Tensor> {
    for (index, network) in networks.iter().enumerate() {
        if let Some(own) = name.strip_prefix(&tensor_of(index, "")) {
            return Ok(network.var(own).detach());
        }
    }
    candle_core::bail!("no network has {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use crate::train::draw::Draw;
    use crate::train::float::Architecture;

    #[test]
    fn as_many_networks_are_stored_as_the_shape_says_and_no_others() {
        let shape = Shape {
            rows: 256,
            networks: 2,
            ..Shape::standard(vec!["T1059".to_owned()])
        };
        let gate = Gate::blank(shape.gate_rows);
        let fresh = |seed| Float::new(&shape, Architecture::Convolution, &mut Draw::new(seed));
        let [one, two, three] = [1, 2, 3].map(|seed| fresh(seed).unwrap());
        assert!(gguf(&[], &gate).is_err());
        let all = [one, two, three];
        assert!(gguf(&all[..1], &gate).is_err());
        assert!(gguf(&all, &gate).is_err());
        gguf(&all[..2], &gate).unwrap();
    }
}
