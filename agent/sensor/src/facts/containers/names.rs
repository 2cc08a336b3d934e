//! Which container a cgroup is of, by its path.

use cordon_behavior::event::Container;

/// A container's cgroup is `PREFIX<id>`, and `.scope` after it where systemd makes it. The longer prefix goes first.
const PREFIXES: [(&str, &str); 7] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
    ("podman-", "podman"),
];

/// A container's cgroup is its bare id below one of these (a prefix of the folder's name).
const FOLDERS: [(&str, &str); 4] = [
    ("docker", "docker"),
    ("ecs", "docker"),
    ("actions_job", "docker"),
    ("libpod_parent", "podman"),
];

/// The container, the innermost where one runs in another; `None` when the path names none.
pub(super) fn container_of(path: &str) -> Option<Container> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    (0..parts.len()).rev().find_map(|at| {
        let (runtime, id) = by_id(&parts[..=at]).or_else(|| by_name(&parts, at))?;
        Some(Container {
            id: id.to_owned(),
            runtime: runtime.to_owned(),
            image: String::new(),
        })
    })
}

/// Runtimes that name a cgroup by the container's id.
fn by_id<'a>(parts: &[&'a str]) -> Option<(&'static str, &'a str)> {
    let (part, above) = parts.split_last()?;
    // systemd's driver without systemd: `kubepods-pod1.slice:cri-containerd:<id>`.
    if let Some((rest, id)) = part.rsplit_once(':') {
        let kind = rest.rsplit(':').next()?;
        let mut prefixes = PREFIXES.iter();
        let known = prefixes.find(|(prefix, _)| prefix.trim_end_matches('-') == kind);
        return is_id(id).then_some((known.map_or("", |(_, runtime)| *runtime), id));
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix)
            && is_id(id)
        {
            return Some((runtime, id));
        }
    }
    let folder = |(prefix, runtime)| {
        above
            .iter()
            .any(|part| part.starts_with(prefix))
            .then_some(runtime)
    };
    is_id(part).then(|| (FOLDERS.into_iter().find_map(folder).unwrap_or(""), *part))
}

/// Runtimes that name it by the container's name.
fn by_name<'a>(parts: &[&'a str], at: usize) -> Option<(&'static str, &'a str)> {
    let part = parts[at];
    let above = at.checked_sub(1).map(|above| parts[above]);
    if matches!(above, Some("lxc" | "lxc.payload")) {
        return Some(("lxc", part));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(("lxc", name));
    }
    // `supervisor` is systemd-nspawn itself, outside.
    let is_outside = parts.get(at + 1) == Some(&"supervisor");
    if let Some(name) = part
        .strip_prefix("systemd-nspawn@")
        .and_then(|name| name.strip_suffix(".service"))
    {
        return (!is_outside).then_some(("systemd-nspawn", name));
    }
    let name = part.strip_prefix("machine-")?.strip_suffix(".scope")?;
    // libvirt's virtual machines (`machine-qemu\x2d1\x2dname.scope`) are processes of the host.
    if name.starts_with("qemu") || is_outside {
        return None;
    }
    match name.strip_prefix("lxc\\x2d") {
        Some(name) => Some(("lxc", name)),
        None => Some(("systemd-nspawn", name)),
    }
}

/// Full ids only: shorter hexadecimal words are the names of many things.
fn is_id(text: &str) -> bool {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 64 && text.as_bytes().iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3dcd9a1ddb0e2d0d5a0c5b6a4d2b4bb2a1b3c4d5e6f708192a3b4c5d6e7f8091";

    /// Paths as they are met, `ID` for an id; runtime and id that they tell.
    #[rustfmt::skip]
    const CONTAINERS: &[(&str, &str, &str)] = &[
        // docker: cgroupfs and systemd driver, rootless, in docker, with a parent of one's own, ECS
        ("/docker/ID", "docker", "ID"),
        ("/docker/ID/init.scope", "docker", "ID"),
        ("/system.slice/docker-ID.scope", "docker", "ID"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", "docker", "ID"),
        ("/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/docker/ID", "docker", "ID"),
        ("/actions_job/ID", "docker", "ID"),
        ("/ecs/0123abcd-0123-0123-0123-0123456789ab/ID", "docker", "ID"),
        ("/my-parent/ID", "", "ID"),
        // containerd in Kubernetes: systemd driver, systemd driver without systemd, cgroupfs
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1c3b_4.slice/cri-containerd-ID.scope", "containerd", "ID"),
        ("/system.slice/containerd.service/kubepods-besteffort-pod1c3b.slice:cri-containerd:ID", "containerd", "ID"),
        ("/kubepods/burstable/pod1c3b0f7e-8a1b-4f0e-9d2e-1f2a3b4c5d6e/ID", "", "ID"),
        ("/kubepods.slice/kubepods-pod1c3b.slice/docker-ID.scope", "docker", "ID"),
        ("/system.slice/nerdctl-ID.scope", "containerd", "ID"),
        // CRI-O
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1c3b.slice/crio-ID.scope", "cri-o", "ID"),
        ("/kubepods.slice/kubepods-pod1c3b.slice/crio-ID.scope/container", "cri-o", "ID"),
        ("/kubepods/besteffort/pod1c3b/crio-ID", "cri-o", "ID"),
        // podman: root, rootless, cgroupfs, in a pod, in a unit
        ("/machine.slice/libpod-ID.scope", "podman", "ID"),
        ("/machine.slice/libpod-ID.scope/container", "podman", "ID"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", "podman", "ID"),
        ("/libpod_parent/libpod-ID", "podman", "ID"),
        ("/machine.slice/machine-libpod_pod_ffff.slice/libpod-ID.scope", "podman", "ID"),
        ("/system.slice/web.service/libpod-payload-ID", "podman", "ID"),
        // lxc, LXD, Proxmox
        ("/lxc/web", "lxc", "web"),
        ("/lxc/101/ns/system.slice/cron.service", "lxc", "101"),
        ("/lxc.payload/web", "lxc", "web"),
        ("/lxc.payload.web/system.slice", "lxc", "web"),
        ("/machine.slice/machine-lxc\\x2dweb.scope", "lxc", "web"),
        // systemd-nspawn
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice", "systemd-nspawn", "web"),
        ("/machine.slice/machine-web.scope", "systemd-nspawn", "web"),
        // docker in lxc
        ("/lxc.payload.web/docker/ID", "docker", "ID"),
    ];

    const HOST: &[&str] = &[
        "/",
        "",
        "/init.scope",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        "/docker",
        "/lxc",
        "/kubepods.slice/kubepods-burstable.slice",
        "/user.slice/user-1000.slice/session-3.scope",
        // the runtimes' helpers
        "/machine.slice/libpod-conmon-ID.scope",
        "/kubepods.slice/kubepods-pod1c3b.slice/crio-conmon-ID.scope",
        "/lxc.monitor.web",
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope",
        // other hexadecimal words
        "/build/0123456789abcdef0123456789abcdef",
        "/system.slice/run-r0123456789abcdef0123456789abcdef.scope",
    ];

    #[test]
    fn every_runtimes_paths_are_known() {
        for (path, runtime, id) in CONTAINERS {
            let path = path.replace("ID", ID);
            let container = container_of(&path).unwrap_or_default();
            let told = (container.runtime.as_str(), container.id);
            assert_eq!(told, (*runtime, id.replace("ID", ID)), "{path}");
        }
    }

    #[test]
    fn the_hosts_own_are_in_no_container() {
        for path in HOST {
            assert_eq!(container_of(&path.replace("ID", ID)), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_a_panic(path: String) {
            container_of(&path);
        }
    }
}
