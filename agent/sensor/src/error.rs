//! Why a sensor could not start.

use std::io;
use std::path::PathBuf;

/// Why a sensor could not start.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// The kernel or this process's rights do not allow the eBPF programs.
    #[error(
        "cannot {act}: eBPF needs Linux 5.17 or newer with BTF, and root or CAP_BPF and CAP_PERFMON"
    )]
    Ebpf {
        /// The failed step.
        act: &'static str,
        /// What libbpf said.
        #[source]
        source: libbpf_rs::Error,
    },
    /// The kernel does not describe its types, so no program can find its way in them.
    #[error(
        "this kernel has no /sys/kernel/btf/vmlinux: eBPF needs one built with CONFIG_DEBUG_INFO_BTF"
    )]
    NoBtf,
    /// The cgroup that the scope names.
    #[error("cannot look up cgroup {path} of the scope: it must exist in the cgroup2 tree")]
    Cgroup {
        /// As configured.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The namespace that the scope names.
    #[error("cannot read /proc/self/ns/pid: mount /proc for this namespace")]
    PidNamespace(#[source] io::Error),
    /// The fallback cannot tell cgroups apart as they happen.
    #[error(
        "cannot watch a cgroup without eBPF: use scope pidns or host, or give the agent eBPF rights"
    )]
    CgroupNeedsEbpf,
    /// `/proc` is not readable.
    #[error("cannot list /proc: mount it for this namespace")]
    Proc(#[source] io::Error),
    /// The thread, or the pipe that stops it, was refused.
    #[error("cannot start the sensor thread")]
    Thread(#[source] io::Error),
    /// The sensor thread ended before it said whether it works.
    #[error("sensor thread ended while starting: see its panic message above")]
    Died,
}

impl SensorError {
    /// The whole chain in one line, for reports.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
