//! What the agent knows of its host and of itself.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cordon_proto::process::ProcessName;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Facts that hold as long as the machine is up.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// `/proc/sys/kernel/random/boot_id`
    pub boot_id: String,
    /// Host name.
    pub hostname: String,
    /// Name and version of the distribution.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// `/etc/machine-id`; empty when there is none.
    pub machine_id: String,
}

impl HostFacts {
    /// Asks the system.
    pub fn read() -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            boot_id: boot_id.trim().to_owned(),
            hostname: hostname(),
            os: or_unknown(System::long_os_version()),
            kernel: or_unknown(System::kernel_version()),
            machine_id: first_line(Path::new("/etc/machine-id")),
        })
    }

    /// How a process tree is named in records: stable over the tree's life, unique over reboots.
    pub fn tree_name(&self, root: cordon_sensor::ProcessKey) -> String {
        self.process_name(root).to_string()
    }

    /// How orders name a process.
    pub fn process_name(&self, process: cordon_sensor::ProcessKey) -> ProcessName {
        ProcessName::new(&self.boot_id, process.pid, process.start_ns)
    }
}

fn hostname() -> String {
    let name = nix::unistd::gethostname();
    name.map_or_else(
        |_| "unknown".to_owned(),
        |n| n.to_string_lossy().into_owned(),
    )
}

fn or_unknown<E>(text: Result<String, E>) -> String {
    text.unwrap_or_else(|_| "unknown".to_owned())
}

fn first_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Addresses of the host, loopback and link-local ones left out.
pub fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(is_useful)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whom this host asks for names: behind a local resolver too.
pub fn resolvers() -> Vec<IpAddr> {
    const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    let texts = FILES
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    texts.flat_map(|text| name_servers(&text)).collect()
}

fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines();
    let named = lines.filter_map(|line| line.trim().strip_prefix("nameserver"));
    // A link-local one names its link behind a percent sign.
    let parsed = named.filter_map(|name| name.trim().split('%').next()?.parse().ok());
    parsed.collect()
}

fn is_useful(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !is_link_local
}

/// What this process costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time since the start.
    pub cpu_micros: u64,
    /// Threads; 0 where `/proc` is not readable.
    pub threads: u64,
}

fn threads() -> u64 {
    std::fs::read_dir("/proc/self/task").map_or(0, |threads| threads.count() as u64)
}

/// Measures this process.
#[derive(Debug)]
pub struct Meter {
    /// `None` where `/proc` is not readable.
    system: Mutex<Option<System>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            system: Mutex::new(System::new().ok()),
        }
    }
}

impl Meter {
    /// What the process costs now.
    pub fn read(&self) -> Usage {
        let own = Pid::from_u32(std::process::id());
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(system) = system.as_mut() else {
            return Usage::default();
        };
        let kinds = ProcessRefreshKind::nothing().with_memory().with_cpu();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, kinds);
        system
            .process(own)
            .map_or_else(Usage::default, |process| Usage {
                rss_bytes: process.memory(),
                cpu_micros: process.accumulated_cpu_time() * 1000,
                threads: threads(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_and_other_lines_are_not() {
        let text = "# nameserver 192.0.2.1\nsearch example\nnameserver 192.0.2.53\n  nameserver\tfe80::53%eth0\nnameserver\nnameserver x\noptions edns0\n";
        let found: Vec<String> = name_servers(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.53", "fe80::53"]);
    }
}
