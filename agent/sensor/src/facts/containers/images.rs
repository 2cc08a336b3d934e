//! The name of a container's image, from the files that its runtime keeps.
//!
//! Rootless podman and docker keep theirs in their user's home, which is not searched.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use cordon_behavior::event::Container;
use serde::Deserialize;

/// Longest file that is read, bytes; podman has one for all containers.
const FILE_BYTES: u64 = 8 << 20;
/// Longest name that is kept, bytes.
pub(super) const NAME_BYTES: usize = 256;
/// containerd's folders of running containers, one below for each of its namespaces.
const CONTAINERD: [&str; 2] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
];
/// The storage that podman and CRI-O share.
const STORAGE: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];
/// Annotations of an OCI configuration that name the image.
const ANNOTATIONS: [&str; 3] = [
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.Image",
];

/// The image's name, as far as a file below `root` tells it.
pub(crate) fn image_of(root: &Path, container: &Container) -> Option<String> {
    let id = container.id.as_str();
    // Ids come from paths; a name with a slash cannot, but nothing is lost by being sure.
    if id.contains('/') {
        return None;
    }
    let name = match container.runtime.as_str() {
        "docker" => docker(root, id),
        "containerd" => containerd(root, id),
        "cri-o" | "podman" => storage(root, id),
        "" => docker(root, id).or_else(|| containerd(root, id)),
        _ => None,
    }?;
    let fits = !name.is_empty() && name.len() <= NAME_BYTES;
    fits.then_some(name)
}

fn docker(root: &Path, id: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Config")]
        config: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Image")]
        image: String,
    }
    let path = root
        .join("var/lib/docker/containers")
        .join(id)
        .join("config.v2.json");
    let config: Config = read(&path)?;
    Some(config.config.image)
}

fn containerd(root: &Path, id: &str) -> Option<String> {
    let namespaces = CONTAINERD
        .iter()
        .filter_map(|place| fs::read_dir(root.join(place)).ok());
    namespaces
        .flatten()
        .filter_map(Result::ok)
        .find_map(|namespace| annotated(&namespace.path().join(id).join("config.json")))
}

fn storage(root: &Path, id: &str) -> Option<String> {
    STORAGE.iter().find_map(|place| {
        let containers = root.join(place).join("overlay-containers");
        let config = containers.join(id).join("userdata/config.json");
        annotated(&config).or_else(|| {
            LISTS
                .iter()
                .find_map(|list| listed(&containers.join(list), id))
        })
    })
}

fn annotated(path: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: HashMap<String, String>,
    }
    let mut config: Config = read(path)?;
    let mut names = ANNOTATIONS
        .iter()
        .filter_map(|key| config.annotations.remove(*key));
    names.next()
}

fn listed(path: &Path, id: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Listed {
        id: String,
        /// JSON in a string.
        #[serde(default)]
        metadata: String,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "image-name")]
        image_name: String,
    }
    let list: Vec<Listed> = read(path)?;
    let of_id = list.into_iter().find(|listed| listed.id == id)?;
    let metadata: Metadata = serde_json::from_str(&of_id.metadata).ok()?;
    Some(metadata.image_name)
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    if bytes.len() as u64 > FILE_BYTES {
        tracing::debug!(path = %path.display(), "a runtime's file is too long to look for an image's name");
        return None;
    }
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime, one of its files (`ID` for the container's id) and what it holds, and the image's name.
    #[rustfmt::skip]
    const FILES: &[(&str, &str, &str, &str)] = &[
        ("docker", "var/lib/docker/containers/ID/config.v2.json",
            r#"{"ID":"ID","Config":{"Hostname":"x","Image":"nginx:1.25"},"Image":"sha256:00"}"#, "nginx:1.25"),
        ("containerd", "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            r#"{"ociVersion":"1.0","annotations":{"io.kubernetes.cri.image-name":"registry.example/app:2"}}"#, "registry.example/app:2"),
        ("", "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            r#"{"annotations":{"io.kubernetes.cri.image-name":"app:3"}}"#, "app:3"),
        ("cri-o", "run/containers/storage/overlay-containers/ID/userdata/config.json",
            r#"{"annotations":{"io.kubernetes.cri-o.ImageName":"quay.example/app:4"}}"#, "quay.example/app:4"),
        ("podman", "var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"other"},{"id":"ID","image":"00","metadata":"{\"image-name\":\"docker.io/library/alpine:3\"}"}]"#, "docker.io/library/alpine:3"),
    ];

    #[test]
    fn each_runtimes_file_tells_the_image() {
        for (runtime, file, text, image) in FILES {
            let root = tempfile::tempdir().unwrap();
            let id = "5".repeat(64);
            let path = root.path().join(file.replace("ID", &id));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let container = Container {
                id: id.clone(),
                runtime: (*runtime).to_owned(),
                image: String::new(),
            };
            assert_eq!(image_of(root.path(), &container), None);
            fs::write(&path, text.replace("ID", &id)).unwrap();
            assert_eq!(
                image_of(root.path(), &container).as_deref(),
                Some(*image),
                "{file}"
            );
            fs::write(&path, "{").unwrap();
            assert_eq!(image_of(root.path(), &container), None, "damaged {file}");
        }
    }
}
