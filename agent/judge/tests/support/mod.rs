//! Models made by hand, in the artifact's own format and loaded by its own loader: what each story
//! must score is plain to see.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{Device, Tensor};
use cordon_behavior::story::Story;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use cordon_model::artifact::Writer;
use cordon_model::calibration::{Blend, Calibration, Platt, Thresholds};
use cordon_model::facts::{FACTS, NAMES};
use cordon_model::network::Rows;
use cordon_model::reads::{Reads, Section};
use cordon_model::shape::{Shape, tensor_of};
use cordon_model::tokens::Field;

/// Log-odds: `bias`, and what each word in its field, and each fact, adds when it is there.
pub struct ByHand {
    pub bias: f32,
    pub words: &'static [(Field, &'static str, f32)],
    pub facts: &'static [(&'static str, f32)],
    /// Log-odds of the gate, and what facts add to them.
    pub gate: f32,
    pub gate_facts: &'static [(&'static str, f32)],
    /// What the last hidden unit, which nothing reads, holds.
    pub idle: f32,
}

impl Default for ByHand {
    fn default() -> Self {
        Self {
            bias: -4.0,
            words: &[],
            facts: &[],
            gate: 4.0,
            gate_facts: &[],
            idle: 0.0,
        }
    }
}

/// What most tests judge with: either of two things is suspicious, both are malicious.
pub const SHELLS: ByHand = ByHand {
    bias: -4.0,
    words: &[
        (Field::Argument, "-i", 2.0),
        (Field::Command, "curl", 5.0),
        (Field::Command, "nc", 9.0),
    ],
    facts: &[
        ("stdin_socket", 3.5),
        ("out_high_port", 3.0),
        ("parent_interpreter", 1.0),
    ],
    gate: 4.0,
    gate_facts: &[("stdin_tty", -12.0)],
    idle: 0.0,
};

const DIM: usize = 32;

impl ByHand {
    pub fn judge(&self, options: Options) -> Judge {
        Judge::new(self.model(), options)
    }

    pub fn model(&self) -> Arc<Model> {
        let shape = Shape {
            rows: 4096,
            dim: DIM,
            networks: 1,
            widths: vec![1],
            channels: DIM,
            hidden: 2 * DIM,
            gate_rows: 32,
            reads: Reads::new(vec![Section::ConnectionsOut]),
            ..Shape::standard(vec!["T1059.004".to_owned(), "T1105".to_owned()])
        };
        let dir = tempfile::tempdir().unwrap();
        let none = BTreeMap::new();
        let weights = self.weights(&shape);
        let writer = Writer {
            dir: dir.path(),
            shape: &shape,
            weights: &weights,
            data: &none,
            training: &none,
        };
        let calibration = Calibration {
            seen: Blend::NETWORK,
            text: Blend::NETWORK,
            gate: Platt::IDENTITY,
            thresholds: Thresholds {
                gate: 0.02,
                suspicious: 0.5,
                malicious: 0.9,
            },
            technique: 0.2,
        };
        Arc::new(writer.write(&calibration, "made by hand\n").unwrap())
    }

    /// Word n has dimension n of the embedding, channel n and hidden unit n; fact n has hidden unit
    /// `DIM` + n.
    fn weights(&self, shape: &Shape) -> Vec<u8> {
        let mut tensors: BTreeMap<String, Vec<f32>> = shape
            .tensors()
            .into_iter()
            .map(|(name, dims, _)| (name, vec![0.0; dims.iter().product()]))
            .collect();
        let mut set =
            |name: &str, at: usize, value: f32| tensors.get_mut(name).unwrap()[at] = value;
        let own = |name: &str| tensor_of(0, name);
        for (n, (field, word, adds)) in self.words.iter().enumerate() {
            let row = Rows::of(*field, word, shape.rows).rows[1] as usize;
            set(&own("embedding.weight"), row * DIM + n, 1.0);
            set(&own("conv1.weight"), n * DIM + n, 1.0);
            set(&own("hidden.weight"), n * shape.pooled() + n, 1.0);
            set("heads.weight", n, *adds);
        }
        for (n, (fact, adds)) in self.facts.iter().enumerate() {
            let unit = DIM + n;
            set(
                &own("hidden.weight"),
                (unit + 1) * shape.pooled() - FACTS + position(fact),
                1.0,
            );
            set("heads.weight", unit, *adds);
        }
        set(&own("hidden.bias"), 2 * DIM - 1, self.idle);
        set("heads.bias", 0, self.bias);
        set("heads.bias", 1, 2.0);
        set("gate.bias", 0, self.gate);
        for (fact, adds) in self.gate_facts {
            set("gate.facts", position(fact), *adds);
        }
        gguf(shape, &tensors)
    }
}

fn position(fact: &str) -> usize {
    let position = NAMES.iter().position(|name| *name == fact).unwrap();
    assert!(position < FACTS);
    position
}

fn gguf(shape: &Shape, tensors: &BTreeMap<String, Vec<f32>>) -> Vec<u8> {
    let quantized: Vec<(String, QTensor)> = shape
        .tensors()
        .into_iter()
        .map(|(name, dims, is_quantized)| {
            let tensor = Tensor::from_slice(&tensors[&name], dims, &Device::Cpu).unwrap();
            let dtype = if is_quantized {
                GgmlDType::Q8_0
            } else {
                GgmlDType::F32
            };
            let tensor = QTensor::quantize(&tensor, dtype).unwrap();
            (name, tensor)
        })
        .collect();
    let named: Vec<(&str, &QTensor)> = quantized
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &[], &named).unwrap();
    bytes.into_inner()
}

pub fn story(json: &str) -> Story {
    Story::from_json(json.as_bytes()).unwrap()
}

/// An interactive shell whose descriptors are a socket, below a script, connected to `address`.
pub fn shell(id: &str, address: &str, port: u16) -> Story {
    story(&format!(
        r#"{{"id":"{id}","process":{{"exe":"/usr/bin/bash","argv":["bash","-i"],"cwd":"/srv/www","uid":33,"euid":33,"tty":false,
        "stdin":"socket","stdout":"socket","stderr":"socket"}},
        "ancestors":[{{"exe":"/usr/bin/python3.11","argv":["python3","/srv/www/app.py"],"uid":33}},{{"exe":"/usr/lib/systemd/systemd","argv":["/sbin/init"],"uid":0}}],
        "connections":[{{"direction":"out","protocol":"tcp","address":"{address}","port":{port}}}]}}"#
    ))
}
