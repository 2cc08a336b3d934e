//! What the daemon may do: the capabilities that it works with, and no system call that it has no use for.
//!
//! Both hold whoever starts it, for all of its threads and for the programs that it runs. Under the unit of the package
//! systemd has limited it before.

use std::collections::BTreeMap;

use caps::{CapSet, Capability};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What the daemon works with, and what is lost without it. The unit of the package lists the same.
pub const NEEDED: [(Capability, &str); 9] = [
    (
        Capability::CAP_BPF,
        "eBPF programs are not loaded: connections, and processes that are gone at once, are not seen",
    ),
    (
        Capability::CAP_PERFMON,
        "eBPF programs may not look into the kernel: connections, and processes that are gone at once, are not seen",
    ),
    (
        Capability::CAP_SYS_ADMIN,
        "what is done to files, and mounts, are not seen",
    ),
    (
        Capability::CAP_NET_ADMIN,
        "this host cannot be isolated, and nobody blocked or cut off",
    ),
    (
        Capability::CAP_KILL,
        "processes of other users cannot be frozen or killed",
    ),
    (
        Capability::CAP_SYS_PTRACE,
        "images, working directories and open files of other users' processes are not seen",
    ),
    (
        Capability::CAP_DAC_READ_SEARCH,
        "files that only their owners may read are not hashed, and paths of changed files are not found",
    ),
    (
        Capability::CAP_DAC_OVERRIDE,
        "processes cannot be cut off: the uppermost cgroup takes no new one from who obeys its mode",
    ),
    (
        Capability::CAP_FOWNER,
        "samples of files leave a trace in their access times",
    ),
];

/// What it takes beside to put a file of somebody's back with owner, set-id bits and attributes, for an order. Under systemd
/// another process has them, for one file at a time; elsewhere the daemon keeps them.
pub const FOR_FILES: [Capability; 4] = [
    Capability::CAP_CHOWN,
    Capability::CAP_FSETID,
    Capability::CAP_SETFCAP,
    Capability::CAP_MAC_ADMIN,
];

/// Calls that neither the daemon, once its sensor has started, nor a program that it runs (`nft`, `systemctl`) makes, and
/// that would be of use to whoever took it over. They answer EPERM.
pub const DENIED: &[libc::c_long] = &[
    // Other code in the kernel, or another kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    // Other processes' memory.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    // Another view of files, names and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // The machine's memory, clocks and accounts.
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    // Much of the kernel's surface for those who look for a way up.
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Why something is not limited as it should be. The daemon goes on, and says so.
#[derive(Debug, thiserror::Error)]
pub enum Unlimited {
    /// The kernel refused.
    #[error("capabilities that the agent does not need could not be dropped")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The kernel has no seccomp, or refused.
    #[error("system calls that the agent does not need could not be denied")]
    Calls(#[from] seccompiler::Error),
    /// This machine's calls are not known.
    #[error("system calls could not be denied: this architecture is not known")]
    Architecture(#[from] seccompiler::BackendError),
}

/// Drops all capabilities but [`NEEDED`] and `beside`, for this thread and those that it makes: to be called before there
/// are others. No program that it runs gets any back.
pub fn drop_capabilities(beside: &[Capability]) -> Result<(), Unlimited> {
    let needed = NEEDED.iter().map(|(capability, _)| capability);
    let needed: caps::CapsHashSet = needed.chain(beside).copied().collect();
    let has = |set| caps::read(None, set);
    // Only who has this one may drop others from the bound; where systemd did it that is done.
    if has(CapSet::Effective)?.contains(&Capability::CAP_SETPCAP) {
        for capability in has(CapSet::Bounding)?.difference(&needed) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        let kept = has(set)?.intersection(&needed).copied().collect();
        caps::set(None, set, &kept)?;
    }
    Ok(())
}

/// Those that this process lacks, each with what is lost.
pub fn missing() -> Vec<(String, &'static str)> {
    let has = caps::read(None, CapSet::Effective).unwrap_or_default();
    let lacks = NEEDED.iter().filter(|(one, _)| !has.contains(one));
    lacks.map(|(one, lost)| (one.to_string(), *lost)).collect()
}

/// Denies [`DENIED`] to all threads of this process and to programs that it runs, and that any of them gains rights by
/// running a program. To be called when the sensor has started: it needs some of them for that.
pub fn deny_calls() -> Result<(), Unlimited> {
    let rules: BTreeMap<i64, Vec<_>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    // Sets no_new_privs as well.
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}
