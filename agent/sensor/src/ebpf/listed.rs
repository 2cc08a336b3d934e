//! Which programs must not run, as the programs in the kernel look them up.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use cordon_behavior::event::FileIdentity;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::skel::SensorSkel;
use crate::SensorError;

/// What is done about programs that are listed: `enum listed_act` of `bpf/listed.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum ListedAct {
    /// Nothing; none is looked for.
    #[default]
    Nothing = 0,
    /// They are told.
    Tell = 1,
    /// They are killed; of those that might be listed by their content it is found out first.
    Kill = 2,
}

/// Programs that must not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecList {
    /// Absolute, as the process sees it from its own root, links followed, at most [`MOST_PATH_BYTES`].
    pub paths: BTreeSet<String>,
    /// Sizes, bytes, of the files that are known by their digest.
    pub sizes: BTreeSet<u64>,
    /// What is done.
    pub act: ListedAct,
}

impl ExecList {
    fn path_keys(&self) -> BTreeSet<Vec<u8>> {
        let keys = self.paths.iter().filter_map(|path| path_key(path));
        keys.collect()
    }

    fn size_keys(&self) -> BTreeSet<Vec<u8>> {
        let keys = self.sizes.iter().map(|size| size.to_ne_bytes().to_vec());
        keys.collect()
    }
}

const BYTES: usize = 256;
/// Longest path that can be listed: each of its names ends with a NUL in the kernel's table.
pub const MOST_PATH_BYTES: usize = BYTES - 1;
/// Most paths and sizes that can be listed.
pub const MOST_PATHS: usize = 1024;
/// As many sizes.
pub const MOST_SIZES: usize = 4096;

/// The kernel's tables of programs that must not run. They are emptied when the sensor ends, with its programs.
#[derive(Debug)]
pub struct ExecGate {
    acts: MapHandle,
    paths: MapHandle,
    sizes: MapHandle,
    images: MapHandle,
    cleared: MapHandle,
}

impl ExecGate {
    pub(super) fn of(skel: &SensorSkel<'_>) -> Option<Self> {
        let maps = &skel.maps;
        Some(Self {
            acts: MapHandle::try_from(&maps.listed_acts).ok()?,
            paths: MapHandle::try_from(&maps.listed_paths).ok()?,
            sizes: MapHandle::try_from(&maps.listed_sizes).ok()?,
            images: MapHandle::try_from(&maps.listed_images).ok()?,
            cleared: MapHandle::try_from(&maps.cleared_images).ok()?,
        })
    }

    /// From here on `list` is what must not run. A path or length that was listed before and is now is listed all the
    /// while; what was found out of files is forgotten, and found out again when they run.
    pub fn set(&self, list: &ExecList) -> Result<(), SensorError> {
        let fail = |source| SensorError::Ebpf {
            act: "list programs that must not run",
            source,
        };
        replace(&self.paths, &list.path_keys()).map_err(fail)?;
        replace(&self.sizes, &list.size_keys()).map_err(fail)?;
        replace(&self.images, &BTreeSet::new()).map_err(fail)?;
        replace(&self.cleared, &BTreeSet::new()).map_err(fail)?;
        let act = (list.act as u32).to_ne_bytes();
        let first = 0_u32.to_ne_bytes();
        self.acts.update(&first, &act, MapFlags::ANY).map_err(fail)
    }

    /// Whether the kernel still has this list, that was set. Root may have altered it.
    pub fn holds(&self, list: &ExecList) -> Result<bool, SensorError> {
        let first = 0_u32.to_ne_bytes();
        let act = self.acts.lookup(&first, MapFlags::ANY);
        let act = act.map_err(|source| SensorError::Ebpf {
            act: "look at the list of programs that must not run",
            source,
        })?;
        let keys = |table: &MapHandle| -> BTreeSet<Vec<u8>> { table.keys().collect() };
        Ok(act.as_deref() == Some(&(list.act as u32).to_ne_bytes()[..])
            && keys(&self.paths) == list.path_keys()
            && keys(&self.sizes) == list.size_keys())
    }

    /// The content of this file is listed, or is not.
    pub fn know(&self, image: &FileIdentity, is_listed: bool) -> Result<(), SensorError> {
        let table = if is_listed {
            &self.images
        } else {
            &self.cleared
        };
        put(table, &image_key(image)).map_err(|source| SensorError::Ebpf {
            act: "note a program that must not run",
            source,
        })
    }
}

fn put(table: &MapHandle, key: &[u8]) -> libbpf_rs::Result<()> {
    table.update(key, &1_u32.to_ne_bytes(), MapFlags::ANY)
}

/// Makes `keys` the keys of a table. New ones first: there is room for both, and so there is no gap.
fn replace(table: &MapHandle, keys: &BTreeSet<Vec<u8>>) -> libbpf_rs::Result<()> {
    for key in keys {
        put(table, key)?;
    }
    let gone: Vec<Vec<u8>> = table.keys().filter(|key| !keys.contains(key)).collect();
    for key in gone {
        match table.delete(&key) {
            Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Names from the leaf upwards, each with a NUL, as `walk()` of `bpf/image.h` writes them. `None` for what is no
/// absolute path, or too long.
fn path_key(path: &str) -> Option<Vec<u8>> {
    let names = path.strip_prefix('/')?;
    let mut key = Vec::with_capacity(BYTES);
    for name in names.rsplit('/') {
        key.extend_from_slice(OsStr::new(name).as_encoded_bytes());
        key.push(0);
    }
    if key.len() > MOST_PATH_BYTES {
        return None;
    }
    key.resize(BYTES, 0);
    Some(key)
}

/// `struct image_key`.
fn image_key(image: &FileIdentity) -> Vec<u8> {
    let device = (libc::major(image.device) << 20) | (libc::minor(image.device) & 0xf_ffff);
    let mut key = Vec::with_capacity(32);
    key.extend(image.inode.to_ne_bytes());
    key.extend(image.mtime_ns.to_ne_bytes());
    key.extend(image.size.to_ne_bytes());
    key.extend(device.to_ne_bytes());
    key.extend(0_u32.to_ne_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_keyed_from_the_leaf_upwards() {
        let key = path_key("/tmp/x/evil").unwrap();
        assert_eq!(key.len(), BYTES);
        assert!(key.starts_with(b"evil\0x\0tmp\0\0"));
        assert_eq!(path_key("tmp/x"), None);
        let longest = format!("/{}", "n".repeat(MOST_PATH_BYTES - 1));
        assert!(path_key(&longest).is_some());
        assert_eq!(path_key(&format!("{longest}n")), None);
    }

    #[test]
    fn devices_are_keyed_as_the_kernel_numbers_them() {
        let image = FileIdentity {
            device: libc::makedev(259, 0x1_1170),
            inode: 5,
            ..FileIdentity::default()
        };
        let key = image_key(&image);
        assert_eq!(key.len(), 32);
        assert_eq!(key[24..28], ((259_u32 << 20) | 0x1_1170).to_ne_bytes());
    }
}
