//! Files that must stay where they are.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cordon_contain::Facts;
use cordon_sensor::{PackageOwner, owner_of};

use crate::config::Config;
use crate::identity::Identity;
use crate::policy_store::PolicyStore;

/// What must stay where it is.
pub struct Stays {
    of_package: bool,
    protected: Vec<String>,
    /// Device and inode of what the first process and the agent run.
    runs: Vec<(u64, u64)>,
}

impl Stays {
    /// `of_package`: what a package owns, or may own, is taken all the same.
    pub fn new(protected: Vec<String>, of_package: bool) -> Self {
        let image = |path| fs::metadata(path).ok().map(|is| (is.dev(), is.ino()));
        let runs = ["/proc/1/exe", "/proc/self/exe"].into_iter();
        Self {
            of_package,
            protected,
            runs: runs.filter_map(image).collect(),
        }
    }

    /// By the policy on disk.
    pub fn read(config: &Config, of_package: bool) -> Self {
        let identity = Identity::load(&config.state_dir).ok();
        let store = identity.map(|identity| PolicyStore::load(&config.state_dir, &identity));
        let policy = store.as_ref().and_then(PolicyStore::policy);
        let protected = policy.map_or_else(Vec::new, |policy| policy.protected_processes.clone());
        Self::new(protected, of_package)
    }

    /// Why a file must stay; nothing when it may be taken.
    pub fn why(&self, path: &Path, facts: &Facts) -> Option<String> {
        if self.runs.contains(&(facts.device, facts.inode)) {
            return Some("the first process of the system or the agent runs it".to_owned());
        }
        let text = path.to_str().unwrap_or_default();
        if self.protected.iter().any(|one| one == text) {
            return Some("protected by the policy".to_owned());
        }
        if self.of_package {
            return None;
        }
        let said = match owner_of(path) {
            PackageOwner::Nobody => return None,
            PackageOwner::Package(name) => format!("package {name} owns it"),
            PackageOwner::Unknown => "which package owns it cannot be told".to_owned(),
        };
        Some(format!(
            "{said}: `cordon-agent quarantine add --of-package` at the machine takes it all the same"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_owns_or_the_policy_protects_stays() {
        let facts = Facts {
            device: 1,
            inode: 2,
            bytes: 3,
            uid: 0,
            gid: 0,
            mode: 0o755,
            times: [(0, 0); 2],
            attributes: Vec::new(),
        };
        let mut stays = Stays {
            of_package: false,
            protected: vec!["/opt/payroll".into()],
            runs: Vec::new(),
        };
        // Whose it is, or that it cannot be told, is this machine's to say.
        let why = stays.why(Path::new("/usr/bin/env"), &facts).unwrap();
        assert!(why.contains("--of-package"), "{why}");
        stays.of_package = true;
        assert_eq!(stays.why(Path::new("/usr/bin/env"), &facts), None);
        let why = stays.why(Path::new("/opt/payroll"), &facts);
        assert_eq!(why.as_deref(), Some("protected by the policy"));
        stays.runs.push((1, 2));
        let why = stays.why(Path::new("/opt/other"), &facts).unwrap();
        assert!(why.contains("runs it"), "{why}");
    }
}
