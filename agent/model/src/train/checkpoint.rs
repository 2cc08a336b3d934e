//! What a fit had reached after its last whole pass, so that one that was cut off goes on from there.
//!
//! The weights are kept, the optimizer's moments are not: they are found again within a few dozen batches. A
//! checkpoint belongs to one set of data and one set of arguments; anything else is begun anew.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, safetensors};
use serde::{Deserialize, Serialize};

use super::data::Data;
use super::float::{Architecture, Float};
use super::{Arguments, TrainError};
use crate::artifact::sha256;
use crate::shape::Shape;

/// Where one fit keeps its place.
pub struct Checkpoint {
    folder: PathBuf,
    /// Names data, arguments and shape.
    of: String,
}

#[derive(Serialize, Deserialize)]
struct Place {
    of: String,
    passes: usize,
}

impl Checkpoint {
    /// Of the fit of this network.
    pub fn new(
        arguments: &Arguments,
        data: &Data,
        shape: &Shape,
        (architecture, network): (Architecture, usize),
    ) -> Self {
        let shape = serde_json::to_string(shape).unwrap_or_default();
        let all = format!(
            "{:?} {} {} {} {:?} {shape} {architecture:?} {network}",
            data.hashes, arguments.seed, arguments.epochs, arguments.stories, arguments.without
        );
        Self {
            folder: arguments
                .checkpoints
                .join(format!("{}-{network}", architecture.name())),
            of: sha256(all.as_bytes()),
        }
    }

    /// Puts the weights back, and says how many passes they have seen. A place that is damaged, or another fit's, is
    /// none.
    pub fn restore(&self, network: &Float) -> usize {
        self.read(network).unwrap_or(0)
    }

    fn read(&self, network: &Float) -> Option<usize> {
        let place: Place = serde_json::from_slice(&fs::read(self.place()).ok()?).ok()?;
        if place.of != self.of {
            return None;
        }
        let weights = safetensors::load(self.weights(), &Device::Cpu).ok()?;
        network.set(&weights).then_some(place.passes)
    }

    /// Keeps the weights after `passes` of them. The old place is good until the new one is whole.
    pub fn keep(&self, network: &Float, passes: usize) -> Result<(), TrainError> {
        let fail = |source| TrainError::Write {
            path: self.folder.clone(),
            source,
        };
        fs::create_dir_all(&self.folder).map_err(fail)?;
        let fresh = self.folder.join("weights.new");
        let weights: HashMap<String, Tensor> = network.weights();
        safetensors::save(&weights, &fresh)?;
        let place = Place {
            of: self.of.clone(),
            passes,
        };
        let place = serde_json::to_vec(&place).map_err(|error| fail(error.into()))?;
        // First no place, then its weights, then the place: whatever is cut off is begun anew or is right.
        remove(&self.place()).map_err(fail)?;
        fs::rename(&fresh, self.weights()).map_err(fail)?;
        fs::write(self.place(), place).map_err(fail)
    }

    /// The fit is done.
    pub fn forget(&self) {
        let _gone = fs::remove_dir_all(&self.folder);
    }

    fn place(&self) -> PathBuf {
        self.folder.join("place.json")
    }

    fn weights(&self) -> PathBuf {
        self.folder.join("weights.safetensors")
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::train::draw::Draw;

    #[test]
    fn a_fit_goes_on_where_it_was_and_another_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = folder.path().to_str().unwrap();
        let arguments = |seed: &str| {
            Arguments::parse_from([
                "x",
                "--corpus",
                "c",
                "--checkpoints",
                checkpoints,
                "--seed",
                seed,
            ])
        };
        let shape = Shape::standard(vec!["T1059".to_owned()]);
        let kind = Architecture::Convolution;
        let fresh = |seed| Float::new(&shape, kind, &mut Draw::new(seed)).unwrap();
        let place = |seed| Checkpoint::new(&arguments(seed), &Data::default(), &shape, (kind, 0));
        let second = Checkpoint::new(&arguments("1"), &Data::default(), &shape, (kind, 1));
        let (fitted, other) = (fresh(1), fresh(2));
        assert_eq!(place("1").restore(&other), 0);
        place("1").keep(&fitted, 3).unwrap();
        second.keep(&other, 1).unwrap();
        assert_eq!(place("1").restore(&fitted), 3);
        second.forget();
        assert_eq!(place("2").restore(&other), 0);
        assert_eq!(second.restore(&other), 0);
        assert_eq!(place("1").restore(&other), 3);
        let flat = |network: &Float| -> Vec<f32> {
            let weights = network.weights();
            weights["hidden.weight"]
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap()
        };
        assert_eq!(flat(&fitted), flat(&other));
        fs::write(place("1").weights(), "cut").unwrap();
        assert_eq!(place("1").restore(&other), 0);
        place("1").forget();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
